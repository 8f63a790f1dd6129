"""What tokens cost: the table in ``prices.toml``."""

import math
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, NamedTuple

from ai.chunks import Usage

UNBOUNDED = 2**31
"""More tokens than any call brings: what a model pays for whose output is free."""
_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}\Z")


class Price(NamedTuple):
    """Millionths of a US dollar per token."""

    input: float
    cached: float
    output: float

    def cost(self, usage: Usage) -> int:
        """Return what ``usage`` costs in millionths of a US dollar, rounded up."""
        fresh = max(0, usage.input_tokens - usage.cached_tokens)
        cost = fresh * self.input + usage.cached_tokens * self.cached
        return math.ceil(round(cost + usage.output_tokens * self.output, 6))

    def times(self, share: float) -> "Price":
        """Return the price at ``share`` of it."""
        return Price(self.input * share, self.cached * share, self.output * share)

    def most(self, input_tokens: int, output_tokens: int) -> int:
        """Return what so many tokens cost at most: nothing is cached."""
        return self.cost(Usage(input_tokens, 0, output_tokens))

    def pays(self, amount: int, input_tokens: int) -> int:
        """Return how many tokens of output ``amount`` pays for, behind so many of input."""
        if not self.output:
            return UNBOUNDED
        return max(0, math.floor(round((amount - input_tokens * self.input) / self.output, 6)))


def load_prices(own: Mapping[str, Price] = MappingProxyType({})) -> Mapping[str, Price]:
    """Read the table that comes with the package; ``own`` prices go before it."""
    table = {model: Price(*numbers) for model, numbers in _file()["models"].items()}
    return table | dict(own)


def load_batch_share() -> float:
    """Return which share of its price a call costs as a line of a batch."""
    return float(_file()["batch"])


@cache
def _file() -> dict[str, Any]:
    return tomllib.loads(resources.files("ai").joinpath("prices.toml").read_text(encoding="utf-8"))


def price_of(model: str, prices: Mapping[str, Price]) -> Price | None:
    """Return the price of ``model`` or of the model it is a snapshot of, None where unknown."""
    return prices.get(model) or prices.get(_SNAPSHOT.sub("", model))


def dearest(prices: Mapping[str, Price]) -> Price:
    """Return the highest price known: what a model without a price is held for in budgets."""
    return Price(*(max(column) for column in zip(*prices.values(), strict=True)))


def estimate_tokens(size: int) -> int:
    """Return roughly how many tokens a text of ``size`` bytes of UTF-8 is: one for 4, rounded up.

    Good to about a fifth for English prose; only used where the provider's count is missing.
    """
    return -(-size // 4)
