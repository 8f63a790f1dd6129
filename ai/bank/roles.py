"""The families of roles: read from ``roles.toml``, and found in a role's free text."""

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib import resources

import msgspec
from msgspec import Struct

from ai.bank.entries import Family, RoleFamily


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    families: dict[RoleFamily, Family]


@cache
def load_families() -> Mapping[RoleFamily, Family]:
    """Return the families that come with the package, by their ids; read once."""
    file = resources.files("ai.bank").joinpath("roles.toml")
    return msgspec.toml.decode(file.read_bytes(), type=_File).families


@lru_cache(maxsize=1024)
def families_of(role: str) -> frozenset[RoleFamily]:
    """Return the families whose cues stand in ``role``; none for a role that no family knows.

    Cues are found as whole words, whatever their case. One that lies within a longer one says
    nothing: a product designer is no product manager.
    """
    text = " ".join(role.casefold().split())
    found = [
        (*match.span(), family)
        for family, pattern in _patterns()
        for match in pattern.finditer(text)
    ]
    return frozenset(
        family
        for start, end, family in found
        if not any(a <= start and end <= b and b - a > end - start for a, b, _ in found)
    )


@cache
def _patterns() -> tuple[tuple[RoleFamily, re.Pattern[str]], ...]:
    return tuple((name, _pattern(family)) for name, family in load_families().items())


def _pattern(family: Family) -> re.Pattern[str]:
    """Return what finds any cue of ``family``, the longest first; a ``*`` takes the word's rest."""
    cues = sorted((cue.casefold() for cue in family.cues), key=len, reverse=True)
    ends = (
        re.escape(cue.removesuffix("*")) + (r"\w*" if cue.endswith("*") else "") for cue in cues
    )
    return re.compile(rf"(?<!\w)(?:{'|'.join(ends)})(?!\w)")
