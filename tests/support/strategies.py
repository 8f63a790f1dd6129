"""Hypothesis strategies for the messages of the contract, read off their Structs."""

from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

WORDS = st.text(st.characters(codec="utf-8"), max_size=40)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=8,
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**53 - 1) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


def messages(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Instances of a Struct whose fields are within their bounds."""
    return _of(inspect.type_info(kind))


def _of(kind: inspect.Type) -> st.SearchStrategy[Any]:
    match kind:
        case inspect.StructType(cls=made, fields=fields):
            needed = {field.name: _of(field.type) for field in fields}
            return st.fixed_dictionaries(needed).map(lambda values: made(**values))
        case inspect.UnionType(types=types):
            return st.one_of([_of(each) for each in types])
        case inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case inspect.VarTupleType(item_type=item):
            return st.lists(_of(item), max_size=3).map(tuple)
        case inspect.ListType(item_type=item):
            return st.lists(_of(item), max_size=3)
        case _:
            return _scalar(kind)


def _scalar(kind: inspect.Type) -> st.SearchStrategy[Any]:
    match kind:
        case inspect.IntType(ge=least, le=most):
            return st.integers(least, most)
        case inspect.FloatType(ge=least, le=most):
            return st.floats(least, most)
        case inspect.StrType(pattern=str(pattern)) if "x00" not in pattern:
            return st.from_regex(pattern, alphabet=st.characters(codec="ascii"))
        case inspect.StrType(pattern=pattern, min_length=least, max_length=most):
            allowed = st.characters(codec="utf-8", exclude_characters="\0" if pattern else "")
            return st.text(allowed, min_size=least or 0, max_size=most or 40)
        case inspect.BoolType() | inspect.NoneType():
            return st.booleans() if isinstance(kind, inspect.BoolType) else st.none()
        case inspect.DictType():
            return st.dictionaries(WORDS, PLAIN, max_size=3)
        case _:
            raise AssertionError(f"no strategy for {kind}")
