"""The generated schemas: what the codec takes they take, what it refuses they refuse."""

import json
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest
from jsonschema import Draft202012Validator

from protocol import commands as c
from protocol import events as e
from protocol.closes import Close
from protocol.codec import (
    SUBPROTOCOLS,
    MismatchError,
    decode_command,
    decode_hello,
    decode_server,
    encode,
)
from protocol.limits import LIMITS
from protocol.schema import (
    ADDRESS,
    CLIENT_MESSAGES,
    DURABLE_EVENTS,
    SERVER_MESSAGES,
    View,
    asyncapi,
    json_schema,
)
from tests.support.messages import SAMPLES

VIEWS = get_args(View)
SCHEMA = json_schema()


def validator(name: str) -> Any:
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]})


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():  # pyright: ignore[reportUnknownVariableType]
            if key == "$ref":
                yield str(each)  # pyright: ignore[reportUnknownArgumentType]
            else:
                yield from references(each)
    elif isinstance(value, list):
        for each in value:  # pyright: ignore[reportUnknownVariableType]
            yield from references(each)


def resolve(document: Any, reference: str) -> Any:
    assert reference.startswith("#/")
    for step in reference[2:].split("/"):
        document = document[step]
    return document


def test_it_is_a_schema_of_its_dialect_and_every_reference_resolves() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    found = list(references(SCHEMA))
    assert len(found) > len(SERVER_MESSAGES)
    for reference in found:
        resolve(SCHEMA, reference)


def test_the_samples_hold_every_message() -> None:
    assert {type(sample) for sample in SAMPLES} == {*CLIENT_MESSAGES, *SERVER_MESSAGES}
    assert {*CLIENT_MESSAGES} == {c.Hello, *get_args(c.Command)}
    assert {*SERVER_MESSAGES} == {*get_args(e.ServerMessage)}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_a_message_as_it_is_encoded_fits_its_schema_alone(sample: msgspec.Struct) -> None:
    wire = json.loads(encode(sample, "json"))
    assert wire == msgspec.msgpack.decode(encode(sample, "msgpack"))
    validator(type(sample).__name__).validate(wire)
    side = "Client" if type(sample) in CLIENT_MESSAGES else "Server"
    validator(f"{side}Message").validate(wire)
    whole: Any = Draft202012Validator(SCHEMA)
    whole.validate(wire)
    kinds = CLIENT_MESSAGES if side == "Client" else SERVER_MESSAGES
    fitting = [kind for kind in kinds if validator(kind.__name__).is_valid(wire)]
    assert fitting == [type(sample)]


def broken(wire: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Messages that differ in one fault each."""
    for name in wire:
        yield {key: value for key, value in wire.items() if key != name}
        yield {**wire, name: {"no": "such"}} if name != "clock" else {**wire, name: 1}
        yield {**wire, name: -1}
        yield {**wire, name: 2**53}
        yield {**wire, name: ""}
        yield {**wire, name: "a\0b"}
        yield {**wire, name: None}
    yield {**wire, "unknown": 1}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_schema_and_codec_agree_on_every_single_fault(sample: msgspec.Struct) -> None:
    """Mutants: each is right or wrong for both. An absent id is the codec's only leniency."""
    wire = json.loads(encode(sample, "json"))
    kind = type(sample)
    schema = validator("ServerMessage" if kind in SERVER_MESSAGES else "ClientMessage")
    refused = 0
    for mutant in broken(wire):
        taken = _takes(kind, json.dumps(mutant))
        if kind in DURABLE_EVENTS and "id" not in mutant:
            assert taken, mutant
            assert schema.is_valid(mutant) == (kind is e.RatingReady)
        else:
            assert schema.is_valid(mutant) == taken, mutant
        refused += not taken
    assert refused >= 3


def _takes(kind: type, frame: str) -> bool:
    decode = decode_server if kind in SERVER_MESSAGES else decode_command
    try:
        decode_hello(frame, "json") if kind is c.Hello else decode(frame, "json")
    except MismatchError:
        return False
    return True


def test_patterns_are_written_for_every_dialect() -> None:
    text = json.dumps(SCHEMA)
    assert r"\\A" not in text
    assert r"\\Z" not in text
    assert SCHEMA["$defs"]["AnswerSubmit"]["properties"]["id"]["pattern"].startswith("^")


# --- AsyncAPI ------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
def test_every_reference_of_the_document_resolves(view: View) -> None:
    document = asyncapi(view)
    assert document["asyncapi"] == "3.0.0"
    for reference in references(document):
        assert resolve(document, reference)


@pytest.mark.parametrize("view", VIEWS)
def test_the_channel_carries_every_message_with_its_schema(view: View) -> None:
    document = asyncapi(view)
    channel = document["channels"]["interview"]
    assert channel["address"] == ADDRESS
    assert list(channel["parameters"]) == ["interview_id"]
    kinds = {kind.__name__: kind for kind in (*CLIENT_MESSAGES, *SERVER_MESSAGES)}
    assert set(channel["messages"]) == set(kinds) == set(document["components"]["messages"])
    for name, message in document["components"]["messages"].items():
        assert message["name"] == kinds[name].__struct_config__.tag
        assert message["summary"] in " ".join(str(kinds[name].__doc__).replace("``", "").split())
        assert message["payload"] == {"$ref": f"#/components/schemas/{name}"}
    payloads = document["components"]["schemas"]
    assert set(payloads) | {"ClientMessage", "ServerMessage"} == set(SCHEMA["$defs"])


@pytest.mark.parametrize("view", VIEWS)
def test_what_one_side_sends_the_other_receives(view: View) -> None:
    document = asyncapi(view)
    told: dict[str, list[str]] = {"send": [], "receive": []}
    for name, operation in document["operations"].items():
        assert name.startswith(operation["action"])
        assert operation["channel"] == {"$ref": "#/channels/interview"}
        for reference in operation["messages"]:
            told[operation["action"]].append(reference["$ref"].rpartition("/")[2])
        reply = operation.get("reply", {"messages": ()})
        assert all("/SpeechPartial" not in each["$ref"] for each in reply["messages"])
    sent, received = (SERVER_MESSAGES, CLIENT_MESSAGES)
    if view == "client":
        sent, received = received, sent
    assert sorted(told["send"]) == sorted(kind.__name__ for kind in sent)
    assert sorted(told["receive"]) == sorted(kind.__name__ for kind in received)


def test_closes_limits_and_subprotocols_are_told() -> None:
    channel = asyncapi()["channels"]["interview"]
    codes = {row["code"]: row["reconnect"] for row in channel["x-close-codes"]}
    assert {int(close) for close in Close} <= set(codes)
    assert [code for code, reconnect in codes.items() if reconnect and code < 4000] == [
        1001,
        1006,
        1011,
        1012,
    ]
    assert all(row["reason"] for row in channel["x-close-codes"])
    assert channel["x-subprotocols"] == SUBPROTOCOLS
    assert channel["x-limits"].items() >= msgspec.structs.asdict(LIMITS).items()
    assert channel["x-limits"]["silence_ms"] == 33_750
