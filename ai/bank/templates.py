"""Sentences with slots such as ``{role}``: found, checked and filled.

Filling is one pass over the sentence from the bank. What goes into a slot is never looked at again,
so that braces in a candidate's answer or in a role's name stay the characters they are.
"""

import re
from collections.abc import Mapping
from functools import cache

_SLOT = re.compile(r"( ?)\{([a-z]+)\}")
_BRACED = re.compile(r"\{([^{}]*)\}")


@cache
def slots(template: str) -> frozenset[str]:
    """Return the names of the slots in a sentence of the bank.

    Raises:
        ValueError: a brace stands alone.
    """
    if set("{}") & set(_BRACED.sub("", template)):
        raise ValueError("a brace stands alone")
    return frozenset(_BRACED.findall(template))


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put ``values`` into the slots; an empty value takes the space before its slot away.

    Raises:
        KeyError: a slot has no value.
    """

    def put(match: re.Match[str]) -> str:
        value = values[match[2]]
        return match[1] + value if value else ""

    return _SLOT.sub(put, template)
