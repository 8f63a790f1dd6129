"""Frames that are no good: which cost the socket, which an error, which a rejection."""

import json
from typing import Any, get_args

import msgspec
import pytest

from protocol import commands as c
from protocol.codec import (
    Encoding,
    MismatchError,
    UndecodableError,
    decode_command,
    decode_hello,
    decode_server,
)

ENCODINGS = get_args(Encoding)
GOOD: dict[str, dict[str, Any]] = {
    "interview.start": {"consent": {"version": "1", "at": 1}},
    "speech.final": {"utterance_id": "u", "revision": 1, "text": "t"},
    "answer.submit": {},
    "turn.cancel": {"turn": 1, "attempt": 1},
    "hint.request": {},
    "interview.pause": {},
    "interview.resume": {},
    "interview.end": {},
}
DEEP = 100_000


def frame(value: Any, encoding: Encoding) -> str | bytes:
    return json.dumps(value) if encoding == "json" else msgspec.msgpack.encode(value)


def misfit(value: Any, encoding: Encoding) -> Any:
    """Return the `MismatchError`."""
    with pytest.raises(MismatchError) as caught:
        decode_command(frame(value, encoding), encoding)
    return caught.value


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("tag", GOOD)
def test_a_durable_command_with_unknown_fields_is_named(tag: str, encoding: Encoding) -> None:
    good = {"type": tag, "id": "c-1", **GOOD[tag]}
    assert decode_command(frame(good, encoding), encoding).__struct_config__.tag == tag
    assert misfit({**good, "colour": {"deep": [1]}}, encoding).extended.id == "c-1"
    assert misfit({"colour": None, "hue": 2, **good}, encoding).extended.id == "c-1"


def test_every_durable_command_is_tried() -> None:
    assert set(GOOD) == {kind.__struct_config__.tag for kind in get_args(c.DurableCommand)}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "good",
    [
        {"type": "speech.partial", "utterance_id": "u", "revision": 1, "text": "t"},
        {"type": "ping", "nonce": 1},
        {"type": "ack", "event_id": "1-1"},
    ],
)
def test_so_is_a_command_without_an_id(good: dict[str, Any], encoding: Encoding) -> None:
    extended: Any = misfit({**good, "id": "c"}, encoding).extended
    assert isinstance(extended, type(decode_command(frame(good, encoding), encoding)))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", ["\0x", "long" * 10_000])
def test_what_is_told_of_a_misfit_is_text_and_short(name: str, encoding: Encoding) -> None:
    told = str(misfit({"type": "interview.pause", "id": "c", name: 1}, encoding))
    assert name[1:5] in told
    assert "\0" not in told
    assert len(told) <= 300


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_unknown_fields_inside_consent_count_alike(encoding: Encoding) -> None:
    value = {"type": "interview.start", "id": "c", "consent": {"version": "1", "at": 1, "by": "me"}}
    assert misfit(value, encoding).extended.id == "c"


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "value",
    [
        {"type": "interview.pause", "id": "bad id", "x": 1},
        {"type": "interview.pause", "id": "c\n", "x": 1},
        {"type": "interview.pause", "id": "c" * 65, "x": 1},
        {"type": "interview.pause", "id": "", "x": 1},
        {"type": "interview.pause", "id": 7, "x": 1},
        {"type": "interview.pause", "x": 1},
        {"type": "interview.pause"},
        {"type": "turn.cancel", "id": "c", "x": 1},
        {"type": "turn.cancel", "id": "c", "turn": 0, "attempt": 1},
        {"type": "turn.cancel", "id": "c", "turn": 1, "attempt": 1, "heard": -1, "x": 1},
        {"type": "turn.cancel", "id": "c", "turn": 2**53, "attempt": 1},
        {"type": "turn.cancel", "id": "c", "turn": 2**64 - 1, "attempt": 1},
        {"type": "turn.cancel", "id": "c", "turn": True, "attempt": 1},
        {"type": "turn.cancel", "id": "c", "turn": 1.5, "attempt": 1},
        {"type": "turn.cancel", "id": "c", "turn": 0.0, "attempt": 1},
        {"type": "turn.cancel", "id": "c", "turn": 2.0**53, "attempt": 1},
        {"type": "turn.cancel", "id": "c", "turn": 1e300, "attempt": 1},
        {"type": "turn.cancel", "id": "c", "turn": "1", "attempt": 1},
        {"type": "turn.cancel", "id": 1.0, "turn": 1, "attempt": 1},
        {"type": "answer.submit", "id": "c", "text": "a\0b"},
        {"type": "answer.submit", "id": "c", "text": "a\0b", "x": 1},
        {"type": "answer.submit", "id": "c", "text": ["a"]},
        {"type": "interview.start", "id": "c", "consent": {"version": "1", "x": 1}},
        {"type": "speech.final", "id": "c", "utterance_id": "u", "revision": 1, "text": "t"}
        | {"confidence": 1.5},
        {"type": "speech.final", "id": "c", "utterance_id": "", "revision": 1, "text": "t"},
        {"type": "speech.final", "id": "c", "utterance_id": "u" * 129, "revision": 1, "text": "t"},
        {"type": "speech.partial", "utterance_id": "u", "revision": 1, "id": "c"},
        {"type": "ping", "nonce": [1], "id": "c"},
        {"type": "ping", "nonce": -1},
        {"type": "ping", "nonce": 2**53},
        {"type": "ping", "nonce": "a\0b"},
        {"type": "ack", "event_id": 1, "id": "c"},
        {"type": "hello", "credential": "t", "id": "c"},
        {"type": "interview.started", "id": "c"},
        {"type": None, "id": "c"},
        {"type": ["interview.pause"], "id": "c"},
        {"id": "c"},
        {},
        [],
        "ping",
        7,
        None,
        True,
    ],
)
def test_every_other_misfit_is_charged_to_the_socket(value: Any, encoding: Encoding) -> None:
    assert misfit(value, encoding).extended is None


@pytest.mark.parametrize("half", [b"\xed\xa0\x80", b"\xed\xbf\xbf"])
def test_half_a_surrogate_pair_is_a_misfit_in_both_encodings(half: bytes) -> None:
    packed = b"\x82\xa4type\xa4ping\xa5nonce\xa3" + half
    escaped = f'{{"type":"ping","nonce":"\\u{ord(half.decode("utf-8", "surrogatepass")):04x}"}}'
    for sent, encoding in ((packed, "msgpack"), (escaped, "json")):
        with pytest.raises(MismatchError):
            decode_command(sent, encoding)  # type: ignore[arg-type]  # one of the two
    for broken in (packed[:-1], packed + b"\0", packed.replace(half, b"\xff\xff\xff")):
        with pytest.raises(UndecodableError):
            decode_command(broken, "msgpack")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        "nonsense",
        '{"type":"ping"',
        '{"type":"ping","nonce":NaN}',
        '{"type":"ping","nonce":Infinity}',
        '{"type":"ping","nonce":-Infinity}',
        '{"type":"ping","nonce":"a\0"}',
        '{"type":"ping","nonce":01}',
        '{"type":"ping","nonce":1}{}',
        "{'type':'ping'}",
        "\ufeff{}",
        "{\0}\0",
    ],
)
def test_what_is_no_json_is_undecodable(text: str) -> None:
    for decode in (decode_command, decode_hello, decode_server):
        with pytest.raises(UndecodableError):
            decode(text, "json")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc1",
        b"\x81",
        b"\x81\xa4type",
        b"\x80\x80",
        b"\x82\xa4type\xa4ping\xa5nonce\xa1\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
    ],
)
def test_what_is_no_messagepack_is_undecodable(raw: bytes) -> None:
    for decode in (decode_command, decode_hello, decode_server):
        with pytest.raises(UndecodableError):
            decode(raw, "msgpack")


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"ping","nonce":"\\ud83d"}',
        '{"type":"ping","nonce":"\\ude00\\ud83d"}',
        '{"type":"ping","nonce":' + "1" * 5_000 + "}",
        '{"type":"turn.cancel","id":"c","turn":1' + "0" * 30 + ',"attempt":1}',
        '{"type":"ping","nonce":1e999}',
        '{"type":"ping","nonce":-1.5}',
        '{"type":"ping","nonce":9007199254740992.0}',
        '{"type":"ping","nonce":' + "[" * DEEP + "]" * DEEP + "}",
        "[" * DEEP + "]" * DEEP,
    ],
)
def test_json_beyond_the_contract_is_a_misfit(text: str) -> None:
    with pytest.raises(MismatchError) as caught:
        decode_command(text, "json")
    assert caught.value.extended is None


@pytest.mark.parametrize(
    "raw",
    [
        b"\x91" * DEEP + b"\x01",
        b"\x82\xa4type\xa4ping\xa5nonce\xc4\x01a",
        b"\x82\xa4type\xa4ping\xa5nonce\xd6\xff\0\0\0\0",
        b"\x82\xa4type\xa4ping\xa5nonce\xcf" + b"\xff" * 8,
        b"\x82\xa4type\xa4ping\xa5nonce\xcb\x7f\xf8" + b"\0" * 6,  # no number
        b"\x81\x01\x02",
    ],
)
def test_messagepack_beyond_the_contract_is_a_misfit(raw: bytes) -> None:
    with pytest.raises(MismatchError) as caught:
        decode_command(raw, "msgpack")
    assert caught.value.extended is None


def test_each_encoding_comes_in_its_own_kind_of_frame() -> None:
    good = {"type": "ping", "nonce": 1}
    for decode in (decode_command, decode_hello, decode_server):
        with pytest.raises(UndecodableError):
            decode(json.dumps(good).encode(), "json")
        with pytest.raises(UndecodableError):
            decode(json.dumps(good), "msgpack")


def test_of_a_field_that_comes_twice_the_last_counts() -> None:
    assert decode_command('{"type":"ping","nonce":1,"nonce":2}', "json") == c.Ping(nonce=2)
    twice = b"\x83\xa4type\xa4ping\xa5nonce\x01\xa5nonce\x02"
    assert decode_command(twice, "msgpack") == c.Ping(nonce=2)
    with pytest.raises(MismatchError):
        decode_command('{"type":"ping","type":"interview.end","nonce":1,"id":"c"}', "json")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_hello_is_strict_and_the_server_may_say_more_than_clients_know(encoding: Encoding) -> None:
    with pytest.raises(MismatchError) as caught:
        decode_hello(
            frame({"type": "hello", "credential": "t", "id": "c", "x": 1}, encoding), encoding
        )
    assert caught.value.extended is None
    live = frame({"type": "live", "id": "1-1", "new": [1]}, encoding)
    assert decode_server(live, encoding) == decode_server(
        frame({"type": "live", "id": "1-1"}, encoding), encoding
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("value", [{"credential": "t"}, {"type": "ping", "nonce": 1}])
def test_only_a_message_that_says_hello_is_one(value: Any, encoding: Encoding) -> None:
    with pytest.raises(MismatchError):
        decode_hello(frame(value, encoding), encoding)
