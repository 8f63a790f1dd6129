"""What never changes of an interview, apart from what each step of it changes.

The plan, with the candidate's documents, and the guide are most of a session, and fixed when it is
created. So both stores write them once, beside the rest, which is a few hundred bytes.
"""

from typing import Any

import msgspec
from msgspec import NODEFAULT, Struct

from protocol.guide import Guide
from protocol.plan import Plan
from protocol.session import Session


class Given(Struct, frozen=True):
    """What an interview was created with."""

    plan: Plan
    guide: Guide | None = None


_decoder = msgspec.json.Decoder(Given)
_changing = tuple(
    (field.name, field.default)
    for field in msgspec.structs.fields(Session)
    if field.name not in Given.__struct_fields__
)


def given_of(session: Session) -> Given:
    """Return what never changes of a session."""
    return Given(session.plan, session.guide)


def given_text(session: Session) -> str:
    """Return what never changes of a session, in JSON."""
    return msgspec.json.encode(given_of(session)).decode()


def read_given(text: bytes | str) -> Given:
    """Read what `given_text` wrote.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _decoder.decode(text)


def changing_text(session: Session) -> str:
    """Return the rest of a session, in JSON, without what is as it is by default."""
    rest: dict[str, Any] = {}
    for name, default in _changing:
        value = getattr(session, name)
        if default is NODEFAULT or value != default:
            rest[name] = value
    return msgspec.json.encode(rest).decode()


def whole(changing: bytes | str, given: Given) -> Session:
    """Put a session together again from what `changing_text` wrote and what is given.

    Raises:
        msgspec.ValidationError: this version cannot read it.
        msgspec.DecodeError: it is no JSON.
    """
    fields: dict[str, Any] = msgspec.json.decode(changing, type=dict[str, Any])
    return msgspec.convert(fields | {"plan": given.plan, "guide": given.guide}, Session)
