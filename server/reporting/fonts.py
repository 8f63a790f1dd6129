"""Which font a PDF writes a text in: one for Latin, Greek and Cyrillic, and others as needed.

All come from packages of the Python index under the SIL Open Font License. A font is opened only
where a text holds characters of its script: the one for Chinese, Japanese and Korean takes
a second.
"""

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple


class Font(NamedTuple):
    """A file of an installed package, and the characters that call for it."""

    name: str
    package: str
    path: str
    wanted: str

    @property
    def file(self) -> Path:
        """Where the file is."""
        return Path(str(files(self.package) / self.path))


FAMILY = "Fira Sans"
BASE = {
    "": Font(FAMILY, "fontpkg_fira_sans", "files/FiraSans-Regular.ttf", ""),
    "B": Font(FAMILY, "fontpkg_fira_sans", "files/FiraSans-SemiBold.ttf", ""),
    "I": Font(FAMILY, "fontpkg_fira_sans", "files/FiraSans-Italic.ttf", ""),
}
SCRIPTS = (
    Font(
        "Arabic",
        "fontpkg_noto_sans_arabic",
        "files/NotoSansArabic[wdth,wght].ttf",
        "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufefc",
    ),
    Font("Hebrew", "fontpkg_heebo", "files/Heebo[wght].ttf", "\u0590-\u05ff\ufb1d-\ufb4f"),
    Font(
        "Devanagari",
        "fontpkg_noto_sans_devanagari",
        "files/NotoSansDevanagari[wdth,wght].ttf",
        "\u0900-\u097f\ua8e0-\ua8ff",
    ),
    Font(
        "Bengali",
        "fontpkg_hind_siliguri",
        "files/HindSiliguri-Regular.ttf",
        "\u0980-\u09ff",
    ),
    Font("Thai", "fontpkg_noto_sans_thai", "files/NotoSansThai[wdth,wght].ttf", "\u0e00-\u0e7f"),
    Font(
        "CJK",
        "noto_cjk_sans_otc",
        "NotoSansCJK-Regular.ttc",
        "\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef"
        "\U00020000-\U0003ffff",
    ),
)
BOX = "\u25af"
"""What stands for a character that no font here has, such as an emoji."""

_JOINERS = re.compile("[\u200c\u200d\ufe00-\ufe0f\U000e0000-\U000e007f]")
_SHAPED = re.compile(
    "[\u0590-\u08ff\u0900-\u0dff\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\ufb1d-\ufefc]"
)
_ENDLESS = re.compile(r"[\W_]{500}")
"""So many signs without a letter: fpdf looks for the letters beside them by recursion."""
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufefc]")
_LETTER = re.compile(r"[^\W\d_]")


def needed(texts: Iterable[str]) -> tuple[Font, ...]:
    """Return the fonts that some texts call for, beyond the base."""
    text = "".join(sorted(set("".join(texts))))
    return tuple(font for font in SCRIPTS if _calls_for(font).search(text))


@cache
def _calls_for(font: Font) -> re.Pattern[str]:
    return re.compile(f"[{font.wanted}]")


def drawable(text: str, known: frozenset[int]) -> str:
    """Return text with what no font has shown as a box, one for each such character."""
    text = text.replace("\t", " ")  # no font has it, and it would be left out
    if text.isascii():
        return text
    out: list[str] = []
    for character in text:
        if ord(character) in known or character == "\n":
            out.append(character)
        elif not _JOINERS.match(character):
            out.append(BOX)
    return re.sub(f"(?<={BOX}){_JOINERS.pattern}+", "", "".join(out))


def shaped(text: str) -> bool:
    """Whether letters of the text change by their neighbours, or run from right to left.

    A text whose signs do not end is drawn letter by letter all the same.
    """
    return not text.isascii() and bool(_SHAPED.search(text)) and not _ENDLESS.search(text)


def leans_right(text: str) -> bool:
    """Whether a text's first letter is of a script that runs from right to left."""
    first = _LETTER.search(text)
    return first is not None and _RIGHT_TO_LEFT.match(first[0]) is not None
