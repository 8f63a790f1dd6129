"""How many tokens a text is where the provider did not say: learned from where it did.

A call that was cut is billed, and its usage is never told. How many tokens a byte comes to depends
on the model's tokenizer, on the language, and on what a model thinks without saying it, so that a
fixed rule is off by much; the calls around it are of the same kind.
"""

from ai.chunks import Usage
from ai.prices import estimate_tokens

PRIOR = 4_000
"""Bytes that speak for the rule of thumb, until that many were counted."""
KEPT = 0.98
"""What is left of the weight of earlier calls with each later one: some fifty count."""
LEAST, MOST = 1 / 16, 8.0
"""Tokens a byte: a wrong count of one provider's must not make every later estimate absurd."""


class _Rate:
    """Tokens a byte, of texts of one kind."""

    def __init__(self) -> None:
        self._bytes = float(PRIOR)
        self._tokens = float(estimate_tokens(PRIOR))

    def learn(self, size: int, tokens: int) -> None:
        self._bytes = KEPT * self._bytes + size
        self._tokens = KEPT * self._tokens + tokens

    def of(self, size: int) -> int:
        return round(size * min(max(self._tokens / self._bytes, LEAST), MOST))


class Estimates:
    """What texts of one model and kind of call come to. Sizes in bytes of UTF-8."""

    def __init__(self) -> None:
        self._asked = _Rate()
        self._said = _Rate()

    def learn(self, asked: int, said: int, usage: Usage) -> None:
        """Take in what the provider counted for a call that came to its end."""
        if asked and usage.input_tokens:
            self._asked.learn(asked, usage.input_tokens)
        if said and usage.output_tokens:
            self._said.learn(said, usage.output_tokens)

    def usage(self, asked: int, said: int) -> Usage:
        """Return what a call probably came to; nothing of it counts as cached."""
        return Usage(self._asked.of(asked), 0, self._said.of(said))
