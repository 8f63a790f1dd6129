"""Both encodings carry every message whole, and nothing that is sent can raise anything else."""

import json
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from protocol import commands as c
from protocol import events as e
from protocol.codec import (
    SUBPROTOCOLS,
    Encoding,
    MismatchError,
    UndecodableError,
    decode_command,
    decode_hello,
    decode_server,
    encode,
    event_body,
    event_frame,
    plain_pong,
    read_body,
)
from protocol.ids import EventId
from protocol.schema import CLIENT_MESSAGES, DURABLE_EVENTS, SERVER_MESSAGES
from tests.support.messages import COMMANDS, EVENTS, SAMPLES
from tests.support.strategies import ANYTHING, messages

ENCODINGS = get_args(Encoding)
DECODERS = (decode_command, decode_hello, decode_server)
PATIENT = settings(deadline=None, database=None, max_examples=40)
EAGER = settings(deadline=None, database=None, max_examples=1_000)


def framed(message: Any, encoding: Encoding) -> str | bytes:
    raw = encode(message, encoding)
    return raw.decode() if encoding == "json" else raw


def decoder(kind: type) -> Any:
    if kind is c.Hello:
        return decode_hello
    return decode_server if kind in SERVER_MESSAGES else decode_command


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", [*CLIENT_MESSAGES, *SERVER_MESSAGES])
def test_every_message_comes_back_as_it_went(kind: type[Any], encoding: Encoding) -> None:
    @PATIENT
    @given(messages(kind))
    def there_and_back(message: Any) -> None:
        assert decoder(kind)(framed(message, encoding), encoding) == message

    there_and_back()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", DURABLE_EVENTS)
def test_every_event_comes_out_of_the_log_with_its_id(kind: type[Any], encoding: Encoding) -> None:
    @PATIENT
    @given(messages(kind), st.integers(1, 2**53 - 1), st.integers(0, 2**52 - 1))
    def through_the_log(event: Any, seq: int, check: int) -> None:
        event, event_id = replace(event, id=""), EventId(seq, check)
        body = event_body(event)
        whole = replace(event, id=str(event_id))
        assert b'"id"' not in body[:5]
        assert read_body(body, event_id) == whole
        frame = event_frame(body, event_id, encoding)
        assert decode_server(frame.decode() if encoding == "json" else frame, encoding) == whole

    through_the_log()


def test_an_event_that_has_an_id_is_not_logged_again() -> None:
    with pytest.raises(ValueError, match="gets its id from the log"):
        event_body(EVENTS[0])


def check(frame: str | bytes) -> None:
    for encoding in ENCODINGS:
        for decode in DECODERS:
            try:
                message = decode(frame, encoding)
            except (UndecodableError, MismatchError):
                continue
            again = framed(message, encoding)
            assert decode(again, encoding) == message


@EAGER
@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_known_fault(frame: bytes) -> None:
    check(frame)


@EAGER
@given(st.text(max_size=200))
def test_any_text_is_a_message_or_a_known_fault(frame: str) -> None:
    """Lone surrogates included, though no socket hands them over."""
    check(frame)


@EAGER
@given(st.dictionaries(st.sampled_from(("type", "id", "text", "turn", "nonce", "x")), ANYTHING))
def test_any_object_is_a_message_or_a_known_fault(value: dict[str, Any]) -> None:
    check(json.dumps(value))
    check(msgspec.msgpack.encode(value))


@EAGER
@given(st.sampled_from(SAMPLES), st.randoms(use_true_random=False), st.integers(1, 4))
def test_a_damaged_message_is_a_message_or_a_known_fault(
    message: msgspec.Struct, draw: Any, faults: int
) -> None:
    for encoding in ENCODINGS:
        raw = bytearray(encode(message, encoding))
        for _ in range(faults):
            place = draw.randrange(len(raw) + 1)
            raw[place : place + draw.randrange(3)] = draw.randbytes(draw.randrange(3))
        check(bytes(raw))
        check(raw.decode("utf-8", "replace"))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_message_cut_anywhere_is_no_message(encoding: Encoding) -> None:
    for message in SAMPLES:
        raw = encode(message, encoding)
        for end in range(len(raw)):
            cut = raw[:end].decode("utf-8", "replace") if encoding == "json" else raw[:end]
            with pytest.raises(UndecodableError):
                decoder(type(message))(cut, encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        (
            {"consent": {"version": "1.0", "at": 1_790_000_000_000.0}},
            c.InterviewStart(id="c", consent=c.Consent(version="1.0", at=1_790_000_000_000)),
        ),
        (
            {"utterance_id": "1.0", "revision": 3.0, "text": "1e0", "end_ms": 2.0**53 - 1}
            | {"start_ms": -0.0, "confidence": 1.0},
            c.SpeechFinal(
                id="c",
                utterance_id="1.0",
                revision=3,
                text="1e0",
                start_ms=0,
                end_ms=2**53 - 1,
                confidence=1.0,
            ),
        ),
    ],
)
def test_a_whole_number_may_be_written_as_a_float(
    fields: dict[str, Any], meant: c.DurableCommand, encoding: Encoding
) -> None:
    """Some encoders of MessagePack know no other form for integers above 2^32."""
    written = {"type": meant.__struct_config__.tag, "id": "c", **fields}
    read: Any = decode_command(framed(written, encoding), encoding)
    assert encode(read, "json") == encode(meant, "json")  # for Python 3.0 is 3
    with pytest.raises(MismatchError) as caught:
        decode_command(framed({**written, "colour": [1.0]}, encoding), encoding)
    read = caught.value.extended
    assert encode(read, "json") == encode(meant, "json")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("nonce", [0, 17, 1_790_000_000_000.0, 1234.5, 2.0**53 - 1])
def test_a_nonce_may_be_any_number_and_comes_back_as_it_went(
    nonce: float, encoding: Encoding
) -> None:
    ping = decode_command(framed({"type": "ping", "nonce": nonce}, encoding), encoding)
    assert isinstance(ping, c.Ping)
    pong = framed(e.Pong(nonce=ping.nonce, server_time=7), encoding)
    assert pong == framed({"type": "pong", "nonce": nonce, "server_time": 7}, encoding)


def test_optional_fields_that_say_nothing_are_left_out() -> None:
    assert encode(e.Thinking(turn=1), "json") == b'{"type":"thinking","turn":1}'
    delta = e.TurnDelta(turn=1, attempt=1, offset=0, text="")
    assert event_body(delta) == b'{"type":"turn.delta","turn":1,"attempt":1,"offset":0,"text":""}'


def test_the_encodings_have_a_subprotocol_each() -> None:
    assert tuple(SUBPROTOCOLS.values()) == ENCODINGS
    assert list(SUBPROTOCOLS) == ["interview.v1.json", "interview.v1.msgpack"]


def test_who_may_send_what() -> None:
    allowed = {
        role: {type(command) for command in COMMANDS if c.permitted(role, command)}
        for role in ("candidate", "transcriber", "observer")
    }
    assert allowed["candidate"] == {type(command) for command in COMMANDS}
    assert allowed["transcriber"] == {
        c.SpeechPartial,
        c.SpeechFinal,
        c.TurnCancel,
        c.AnswerSubmit,
        c.Ack,
        c.Ping,
    }
    assert allowed["observer"] == {c.Ack, c.Ping}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "nonce", ["beat", "1790000000000", "", "a b", "\u00e9", '"', "\\u0041", "x" * 70, 17]
)
def test_a_plain_pong_is_what_the_ping_would_get_anyway(
    nonce: str | int, encoding: Encoding
) -> None:
    frame = framed(c.Ping(nonce=nonce), encoding)
    assert plain_pong(frame, encoding, 1_790_000_000_000) in (
        None,
        encode(e.Pong(nonce=nonce, server_time=1_790_000_000_000), encoding),
    )


@EAGER
@given(messages(c.Ping) | messages(c.Ack), st.integers(0, 2**53), st.sampled_from(ENCODINGS))
def test_a_plain_pong_is_for_pings_alone(message: Any, now: int, encoding: Encoding) -> None:
    pong = plain_pong(framed(message, encoding), encoding, now)
    if pong is not None:
        assert pong == encode(e.Pong(nonce=message.nonce, server_time=now), encoding)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("nonce", ["beat", "1790000000000", "3f2b8a1c-5d7e-4a90-8c11-b6f0e2d94713"])
def test_a_ping_that_is_written_as_usual_gets_a_plain_pong(
    nonce: str, separators: tuple[str, str]
) -> None:
    written = json.dumps({"type": "ping", "nonce": nonce}, separators=separators)
    assert plain_pong(written, "json", 7) == encode(e.Pong(nonce=nonce, server_time=7), "json")


@given(ANYTHING | st.text())
@PATIENT
def test_what_is_no_ping_gets_no_plain_pong(frame: str | bytes) -> None:
    for encoding in ENCODINGS:
        assert plain_pong(frame, encoding, 7) is None


@pytest.mark.parametrize(
    "frame",
    [
        '{"type":"ping","nonce":"a"} ',
        '{"type":"ping","nonce":"a"}\n',
        '{"type":"ping","nonce":"a","x":1}',
        '{"type":"ping","nonce":"a","nonce":"b"}',
        '{"type":"pings","nonce":"a"}',
        '{"type":"ping","nonce":""}',
        '{"type":"ping","nonce":17}',
        '{"nonce":"a","type":"ping"}',
        '{"type":"ping"}',
        r'{"type":"ping","nonce":"\u0041"}',
        r'{"type":"ping","nonce":"\u0000"}',
        r'{"type":"ping","nonce":"\q"}',
        '{"type":"ping","nonce":"a\nb"}',
        '{"type":"ping","nonce":"\x00"}',
        '{"type":"ping","nonce":"\u0661"}',
    ],
)
def test_what_is_nearly_a_plain_ping_is_decoded(frame: str) -> None:
    assert plain_pong(frame, "json", 7) is None


def test_a_plain_pong_is_for_text_in_json() -> None:
    frame = '{"type":"ping","nonce":"a"}'
    assert plain_pong(frame.encode(), "json", 7) is None
    assert plain_pong(frame, "msgpack", 7) is None


def test_half_a_surrogate_pair_gets_no_plain_pong() -> None:
    assert plain_pong('{"type":"ping","nonce":"\ud800"}', "json", 7) is None
