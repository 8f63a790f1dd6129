"""What was consumed, call by call."""

from collections import Counter, deque
from typing import Literal

from msgspec import Struct

CALLS_KEPT = 100_000


class Call(Struct, kw_only=True):
    """One call on the bill. Tokens are words, near enough."""

    id: str
    api: Literal["chat", "responses"]
    model: str
    prompt_tokens: int
    tokens: int = 0
    text: str = ""
    outcome: Literal["running", "completed", "aborted", "failed"] = "running"
    taken_up: int = 0
    """How often a stored response was taken up again."""
    batch: str = ""
    """The batch that the call is a line of."""


class Bill:
    """All calls, the newest `CALLS_KEPT` of them."""

    def __init__(self) -> None:
        self.calls: deque[Call] = deque(maxlen=CALLS_KEPT)
        self.refused = 0

    def open(self, call: Call) -> Call:
        """Put a call on the bill."""
        self.calls.append(call)
        return call

    @property
    def running(self) -> int:
        """How many calls generate now."""
        return sum(call.outcome == "running" for call in self.calls)

    def totals(self) -> dict[str, int]:
        """Return the sums of all calls that are kept."""
        outcomes = Counter(call.outcome for call in self.calls)
        return {
            **outcomes,
            "calls": len(self.calls),
            "refused": self.refused,
            "prompt_tokens": sum(call.prompt_tokens for call in self.calls),
            "tokens": sum(call.tokens for call in self.calls),
        }
