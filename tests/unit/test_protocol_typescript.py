"""The TypeScript types say what the Structs say."""

import re
from typing import Any

import msgspec
import pytest

from protocol import commands as c
from protocol import events as e
from protocol.schema import CLIENT_MESSAGES, DURABLE_EVENTS, SERVER_MESSAGES
from protocol.typescript import declarations

TEXT = declarations()
BUILT_IN = {"Array", "Record"}


def declared(name: str) -> list[str]:
    """The fields of an interface, as they are written."""
    found = re.search(rf"^export interface {name} \{{\n(.*?)^\}}$", TEXT, re.DOTALL | re.MULTILINE)
    assert found is not None
    return [line.strip() for line in found[1].splitlines()]


@pytest.mark.parametrize("kind", [*CLIENT_MESSAGES, *SERVER_MESSAGES])
def test_a_message_is_told_by_its_type_and_has_the_fields_of_its_struct(kind: type[Any]) -> None:
    tag, *fields = declared(kind.__name__)
    assert tag == f'type: "{kind.__struct_config__.tag}";'
    logged = kind in DURABLE_EVENTS and kind is not e.RatingReady
    assert [line.partition(":")[0] for line in fields] == [
        field.name if field.required or (logged and field.name == "id") else f"{field.name}?"
        for field in msgspec.structs.fields(kind)
    ]


def test_each_side_has_a_union_of_its_messages() -> None:
    for name, kinds in (("ClientMessage", CLIENT_MESSAGES), ("ServerMessage", SERVER_MESSAGES)):
        found = re.search(rf"^export type {name} =([^;]*);", TEXT, re.MULTILINE)
        assert found is not None
        assert re.findall(r"\w+", found[1]) == [kind.__name__ for kind in kinds]


def test_every_name_that_is_used_is_declared() -> None:
    made = re.findall(r"^export (?:type|interface) (\w+)", TEXT, re.MULTILINE)
    assert len(made) == len(set(made))
    code = re.sub(r"/\*.*?\*/|//[^\n]*|\"[^\"]*\"", "", TEXT, flags=re.DOTALL)
    assert set(re.findall(r"\b[A-Z]\w+", code)) - BUILT_IN == set(made)


def test_types_of_every_sort() -> None:
    fields = {
        line
        for kind in (c.Ping, e.Welcome, e.Snapshot, e.TurnStarted, e.RatingReady)
        for line in declared(kind.__name__)
    }
    assert fields >= {
        "nonce: string | number;",
        "recovered: boolean;",
        "role: Role;",
        "limits: Limits;",
        "snapshot?: Snapshot | null;",
        "turns: Array<TurnView>;",
        "speaker: Speaker;",
        "question_id?: string | null;",
        "ratings: Array<Record<string, unknown>>;",
    }


def test_lines_are_short() -> None:
    assert max(map(len, TEXT.splitlines())) <= 100
