"""What goes wrong, as data: which call, and how."""

from collections import Counter
from typing import Annotated, Literal

from msgspec import Meta, Struct

Kind = Literal[
    "status", "quota", "slow", "stall", "cut", "no_end", "malformed", "surrogate", "nul", "empty",
    "refused", "failed", "forged_quote", "bad_schema", "score_without_quote", "leak",
]  # fmt: skip


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule; the first that fits a call is applied.

    ``status``: an HTTP error of ``status`` with ``retry_after``. ``quota``: 429
    insufficient_quota. ``slow``: the first token after ``seconds``. ``stall``: silence for
    ``seconds`` behind ``tokens``. ``cut``: the connection is reset behind ``tokens``. ``no_end``:
    the body ends behind ``tokens`` as if it were whole. ``malformed``: a chunk that is no JSON.
    ``surrogate``: an emoji split in two halves. ``nul``: a NUL in the text. ``empty``: no token at
    all. ``refused``: stopped by the content filter. ``failed``: an error event in the stream.

    Of the rater only: ``forged_quote`` has a quote that nobody said, ``bad_schema`` lacks a field,
    ``score_without_quote`` has a score alone, ``leak`` the mark of the rules.
    """

    kind: Kind
    every: Annotated[int, Meta(ge=1)] = 1
    """Each so many calls; 1 is all."""
    count: Annotated[int, Meta(ge=0)] | None = None
    """At most so often; None is without end."""
    prompt: str = ""
    """Only calls whose prompt holds this; they are counted apart."""
    tokens: int = 0
    seconds: float = 30.0
    status: int = 500
    retry_after: str | None = None


class Faults:
    """The rules in force."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []
        self._met: list[int] = []
        self.applied: Counter[str] = Counter()

    def set(self, rules: list[Fault]) -> None:
        """Replace all rules."""
        self._rules = rules
        self._met = [0] * len(rules)

    def of(self, prompt: str) -> Fault | None:
        """Return what happens to a call."""
        for place, rule in enumerate(self._rules):
            if rule.prompt not in prompt:
                continue
            self._met[place] += 1
            met = self._met[place]
            if met % rule.every == 0 and (rule.count is None or met <= rule.count * rule.every):
                self.applied[rule.kind] += 1
                return rule
        return None
