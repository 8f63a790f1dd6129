"""Words in and out of the terminal: commands typed, text made inert, codes told in sentences."""

import unicodedata
from typing import Literal

from msgspec import Struct

from protocol.closes import Close
from protocol.scalars import EndReason, Kind

Order = Literal["hint", "pause", "resume", "end", "quit", "help"]
ORDERS: tuple[Order, ...] = ("hint", "pause", "resume", "end", "quit", "help")

HELP = """\
Type your answer and press Enter. Alt-Enter begins a new line.
While the interviewer speaks, Enter on an empty line (or Ctrl-C) interrupts.
/hint    ask for a hint (practice interviews)
/pause   stop the clock          /resume  go on
/end     end the interview now   /quit    leave; you can come back later"""

KINDS: dict[Kind, str] = {
    "question": "Question",
    "probe": "Follow-up",
    "hint": "Hint",
    "reply": "Reply",
    "closing": "Closing",
    "answer": "You",
}
ENDS: dict[EndReason, str] = {
    "completed": "The interview is over. Thank you.",
    "abandoned": "The interview was left for too long and is over.",
    "expired": "The interview's time has run out.",
    "terminated": "The interview was ended before it began.",
}
_CLOSES: dict[int, str] = {
    Close.FORBIDDEN: "There is no such interview, or it is not yours.",
    Close.OVER: "The interview is over.",
    Close.REPLACED: "The interview was opened in another place; it goes on there.",
    Close.NO_SUBPROTOCOL: "The server speaks another version of viva.",
    Close.ABUSE: "The server did not understand this client; update viva.",
    Close.UNDECODABLE: "The server did not understand this client; update viva.",
    Close.NO_HELLO: "The server had no word from this client in time; try again.",
}


class Typed(Struct, frozen=True):
    """A line that was typed: an order, or else an answer."""

    order: Order | None
    text: str


class UnknownOrderError(ValueError):
    """A slash and a word that is no order."""


def parse(line: str) -> Typed:
    """Read a line. Two slashes begin an answer that begins with a slash.

    Raises:
        UnknownOrderError: with a sentence for whoever typed it.
    """
    text = line.strip()
    if text.startswith("//"):
        return Typed(None, text[1:])
    if not text.startswith("/"):
        return Typed(None, text)
    word = text[1:].split(" ", 1)[0].lower()
    for order in ORDERS:
        if word == order:
            return Typed(order, "")
    raise UnknownOrderError(f"/{inert(word)} is no order; /help lists them")


def inert(text: str) -> str:
    """Return text that cannot steer a terminal: control characters are shown, not obeyed."""
    return "".join(_inert(char) for char in text)


def _inert(char: str) -> str:
    if char in "\n\t":
        return char
    kind = unicodedata.category(char)
    if kind == "Cc":
        return chr(0x2400 + ord(char)) if ord(char) < 32 else "\u241b"
    # Characters that turn the direction of text could make it read as something else.
    return "\ufffd" if "\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069" else char


def closed(code: int) -> str:
    """Tell why a socket was closed for good."""
    return _CLOSES.get(code) or f"The server closed the connection for good (code {code})."


def clock(ms: int) -> str:
    """Return minutes and seconds."""
    seconds = max(0, -(-ms // 1000))
    return f"{seconds // 60}:{seconds % 60:02d}"
