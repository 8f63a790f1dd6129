"""What the instances tell each other of the model: that its provider wants to be left alone.

It is best effort: what is lost is found again by whoever calls next, at the price of one call.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct


class Finding(Struct, frozen=True):
    """Why a model is left alone, and for how many milliseconds more."""

    code: str
    left_ms: int


class SharedCircuits(Protocol):
    """The findings of all instances. Every method may raise `StorageError`."""

    async def tell(self, name: str, finding: Finding) -> None:
        """Tell the others; a finding lapses by itself."""
        ...

    async def ask(self, names: Sequence[str]) -> Mapping[str, Finding]:
        """Return what was told of ``names`` and holds still."""
        ...
