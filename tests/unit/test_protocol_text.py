"""Text: whatever a provider cuts in two comes out whole and clean."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.text import Joiner, clip, sha256, unhidden

PATIENT = settings(deadline=None, database=None, max_examples=500)
CLEAN = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
UNITS = st.lists(
    st.sampled_from(("a", "é", "\0", "\ud83e", "\udd81", "\ud800", "\udfff", "🦁", "\ufffd")),
    max_size=12,
)


def joined(pieces: list[str]) -> str:
    joiner = Joiner()
    given_out = [joiner.feed(piece) for piece in pieces]
    for piece in given_out:
        piece.encode()  # what may be logged is whole by itself
        assert "\0" not in piece
    return "".join(given_out) + joiner.close()


def utf16_units(text: str) -> list[str]:
    """The text as UTF-16 units, one string each: pairs are torn apart."""
    raw = text.encode("utf-16-le", "surrogatepass")
    return [raw[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(raw), 2)]


@PATIENT
@given(CLEAN, st.data())
def test_any_split_between_utf16_units_gives_the_text(text: str, data: st.DataObject) -> None:
    units = utf16_units(text)
    cuts = data.draw(st.lists(st.integers(0, len(units)), max_size=6).map(sorted))
    ends = [*cuts, len(units)]
    pieces = ["".join(units[a:b]) for a, b in zip([0, *cuts], ends, strict=True)]
    assert joined(pieces) == text


@PATIENT
@given(UNITS, st.data())
def test_the_split_never_matters(units: list[str], data: st.DataObject) -> None:
    """Also for text that is broken: lone halves and NUL in any order."""
    whole = joined(["".join(units)])
    assert joined(units) == whole
    cut = data.draw(st.integers(0, len(units)))
    assert joined(["".join(units[:cut]), "".join(units[cut:])]) == whole
    assert joined([each for unit in units for each in ("", unit, "")]) == whole


@PATIENT
@given(CLEAN, st.data())
def test_nul_anywhere_is_dropped(text: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(text)))
    assert joined([text[:place] + "\0", "\0", text[place:]]) == text


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([], ""),
        ([""], ""),
        (["\ud83e", "\udd81"], "🦁"),
        (["\ud83e", "", "\udd81"], "🦁"),
        (["\ud83e", "a"], "\ufffda"),
        (["\ud83e"], "\ufffd"),
        (["a\udd81"], "a\ufffd"),
        (["\udd81\ud83e"], "\ufffd\ufffd"),
        (["\ud83e\ud83e\udd81"], "\ufffd🦁"),
        (["\ud83e", "\0", "\udd81"], "\ufffd\ufffd"),
        (["a\0b"], "ab"),
    ],
)
def test_halves_and_nul(pieces: list[str], expected: str) -> None:
    assert joined(pieces) == expected


def test_a_joiner_that_was_closed_begins_anew() -> None:
    joiner = Joiner()
    assert joiner.feed("\ud83e") == ""
    assert joiner.close() == "\ufffd"
    assert joiner.close() == ""
    assert joiner.feed("\udd81") == "\ufffd"


def test_sha256_is_of_the_text_as_it_is() -> None:
    assert sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sha256("é") != sha256("e\u0301")
    assert sha256("é") == hashlib.sha256(b"\xc3\xa9").hexdigest()


@PATIENT
@given(CLEAN, st.integers(1, 40))
def test_clip_keeps_to_the_limit(text: str, limit: int) -> None:
    clipped = clip(text, limit)
    assert len(clipped) <= limit
    assert clipped == text or (clipped.endswith("…") and text.startswith(clipped[:-1]))
    assert (clipped == text) == (len(text) <= limit) or text.endswith("…")


def tags(text: str) -> str:
    """ASCII that nobody sees."""
    return "".join(chr(0xE0000 + ord(char)) for char in text)


SCOTLAND, TEXAS = (f"\U0001f3f4{tags(region)}\U000e007f" for region in ("gbsct", "ustx"))


@pytest.mark.parametrize(
    "text",
    [
        f"Saluton {SCOTLAND} {SCOTLAND}!",
        "\u845b\U000e0100\u98fe\U000e0101",  # as Japanese names are told apart
        "\u2764\ufe0f 1\ufe0f\u20e3 \U0001f468\u200d\U0001f4bb",
        "\u0645\u06cc\u200c\u0631\u0648\u0645 \u1780\u17b6\u200b\u179a \u1820\u180e\u1820",
    ],
    ids=["flags", "ideographs", "emoji", "joiners and word boundaries"],
)
def test_what_readers_see_stays(text: str) -> None:
    assert unhidden(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Hi{tags('hire')}!", "Hi????!"),
        (f"{TEXAS}.", "\U0001f3f4?????."),
        (f"{SCOTLAND[:-1]}.", "\U0001f3f4?????."),
        (f"{SCOTLAND}{tags('a')}", f"{SCOTLAND}?"),
        ("\u845b\U000e0100\U000e0158", "\u845b\U000e0100?"),
        ("\U0001f600\U000e0158\U000e0159", "\U0001f600??"),
    ],
    ids=["tags", "no flag", "no end of a flag", "behind a flag", "two variants", "bytes"],
)
def test_hidden_letters_are_shown_one_by_one(text: str, shown: str) -> None:
    assert unhidden(text) == shown.replace("?", "\ufffd")
    assert unhidden(text, "") == shown.replace("?", "")
