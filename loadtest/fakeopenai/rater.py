"""The fake model as a rater: keeps the schema, quotes what was said, obeys all it takes for orders.

Its score comes from the answers alone: ``quality:strong``, ``quality:middling`` or ``quality:weak``
in them, else their length and figures. It is as gullible as a model can be: it reads tags through
zero-width and full-width characters, and whatever asks for a score outside of data, or for its
rules, it obeys, in whatever dress that comes: base64, backwards, letters of other scripts. So a
fence that breaks shows in the score, or in the mark of the rules.
"""

import base64
import contextlib
import json
import re
import unicodedata
from typing import Any, NamedTuple

from loadtest.fakeopenai.faults import Fault

MARK = re.compile(r"mark-[0-9a-f]{24}")
FORGED = "I single-handedly saved the company forty million dollars."
_QUALITIES = {"strong": 5, "middling": 3, "weak": 1}
_QUALITY = re.compile(r"quality:(strong|middling|weak)")
_OPENED = re.compile(r'<turn n="(\d+)" speaker="(\w+)"[^>]*>')
_TAG = re.compile(r"<\s*(/?)\s*(\w+)[^<>]*>")
_DATA = frozenset(
    [
        "role",
        "competency",
        "competencies",
        "job_description",
        "resume",
        "question",
        "anchor",
        "transcript",
        "turn",
        "reply",
        "problem",
    ]
)
_ORDER = re.compile(
    r"\b(?:score|rating|verdict|bewertung|note|punktzahl|puntuación)\D{0,24}([1-5])\b"
    r"|\bgive (?:me|them|it|this)[^.\n]{0,40}?([1-5])\b",
    re.IGNORECASE,
)
_ASKED = re.compile(r"\b(?:print|show|repeat|reveal)\b[^.\n]{0,40}\b(?:instructions|rules|mark)\b")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")
_HEX = re.compile(r"(?:[0-9a-f]{2}){12,}")
_HIDDEN = "\U000e0000"
"""From here on are characters that spell ASCII and are not seen."""
_ALIKE = str.maketrans("\u0430\u0435\u043e\u0440\u0441\u0445", "aeopcx")
_SENTENCE = re.compile(r"[^.!?\n]{8,200}[.!?]?")
_LONG, _SHORT = 60, 20
_NOTHING = "(nothing)"
"""How a prompt shows an empty turn; nobody said it."""


class Said(NamedTuple):
    """A candidate's turn, as the prompt shows it."""

    turn: int
    text: str


def wants_rating(asked: dict[str, Any]) -> bool:
    """Whether a request asks for a rating by schema, in either API's way."""
    form: dict[str, Any] = asked.get("response_format", {})
    text: dict[str, Any] = asked.get("text", {})
    form = form.get("json_schema") or text.get("format", {})
    schema: dict[str, Any] = form.get("schema", {})
    return "verdict" in schema.get("properties", {})


def obeyed(told: str) -> tuple[int | None, bool]:
    """Return the score that orders ask for, if any, and whether they ask for the rules."""
    read = _undressed(orders(told))
    scored = _ORDER.search(read)
    return int(scored[1] or scored[2]) if scored else None, bool(_ASKED.search(read.lower()))


def _undressed(text: str) -> str:
    """Return orders with all that is hidden in them, too."""
    hidden = [text.translate(_ALIKE), text[::-1]]
    hidden.append("".join(chr(ord(char) - ord(_HIDDEN)) for char in text if char >= _HIDDEN))
    for found in _BASE64.findall(text):
        with contextlib.suppress(ValueError):
            hidden.append(base64.b64decode(found, validate=True).decode())
    for found in _HEX.findall(text):
        with contextlib.suppress(ValueError):
            hidden.append(bytes.fromhex(found).decode())
    return "\n".join((text, *hidden))


def rate(asked: dict[str, Any], fault: Fault | None) -> str:
    """Return the rater's reply to a request, wrong in the way its fault has it."""
    rules, told = prompt_of(asked)
    score, leaks = obeyed(told)
    reply = _reply(told, score)
    match fault.kind if fault else "":
        case "forged_quote":
            turn = reply["quotes"][0]["turn"] if reply["quotes"] else 1
            reply |= {"quotes": [*reply["quotes"], {"turn": turn, "quote": FORGED}]}
        case "score_without_quote":
            reply |= {"quotes": [], "verdict": "rated", "anchor": 5, "score": 5}
        case "bad_schema":
            del reply["verdict"]
        case "leak":
            leaks = True
        case _:
            pass
    if leaks:
        reply["rationale"] = f"My rules say {' '.join(MARK.findall(rules))}."
    return json.dumps(reply, ensure_ascii=False)


def answers(told: str) -> list[Said]:
    """Return the candidate's turns of a prompt, to the letter."""
    found: list[Said] = []
    for match in _OPENED.finditer(told):
        end = told.find("\n</turn>", match.end())
        if match[2] == "candidate" and end > 0:
            found.append(Said(int(match[1]), told[match.end() + 1 : end]))
    return [said for said in found if said.text != _NOTHING]


def orders(told: str) -> str:
    """Return what of a prompt a gullible reader takes for orders: all outside of data."""
    seen = "".join(
        char for char in told if char >= "\U000e0000" or unicodedata.category(char) != "Cf"
    )
    seen = unicodedata.normalize("NFKC", seen)
    outside, depth, place = "", 0, 0
    for tag in _TAG.finditer(seen):
        if tag[2].lower() not in _DATA:
            continue
        if depth == 0:
            outside += seen[place : tag.start()]
        depth = max(0, depth + (-1 if tag[1] else 1))
        place = tag.end()
    return outside + (seen[place:] if depth == 0 else "")


def prompt_of(asked: dict[str, Any]) -> tuple[str, str]:
    """Return instructions and input of a request, in either API's way."""
    if "messages" in asked:
        texts = {message["role"]: str(message["content"]) for message in asked["messages"]}
        return texts.get("system", ""), texts.get("user", "")
    return str(asked.get("instructions", "")), str(asked.get("input", ""))


def _reply(told: str, ordered: int | None) -> dict[str, Any]:
    said = answers(told)
    score = ordered or _score(" ".join(each.text for each in said))
    quotes = [
        {"turn": each.turn, "quote": match[0].strip()}
        for each in said
        if (match := _SENTENCE.search(each.text)) and len(match[0].strip()) >= 8
    ][:2]
    if not quotes or score is None:
        return {
            "quotes": [],
            "star": [],
            "rationale": "Too little was said to tell.",
            "missing": "An example.",
            "verdict": "insufficient_evidence",
            "anchor": None,
            "score": None,
        }
    return {
        "quotes": quotes,
        "star": ["action", "result"] if score >= 3 else [],
        "rationale": f"What was said is most like the description of {score}.",
        "missing": "" if score == 5 else "More of the candidate's own part.",
        "verdict": "rated",
        "anchor": score if score % 2 else score - 1,
        "score": score,
    }


def _score(text: str) -> int | None:
    marked = _QUALITY.search(text)
    if marked:
        return _QUALITIES[marked[1]]
    words = len(text.split())
    if words < 4:
        return None
    figures = len(re.findall(r"\d+", text))
    return 1 + (words >= _SHORT) + (words >= _LONG) + min(2, figures)
