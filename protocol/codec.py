"""Frames to messages and back, in the two encodings of the contract.

A frame fails in one of two ways, and the difference decides what happens to the socket: one that
is no JSON or MessagePack at all cannot be trusted further (close 4500); one that is well formed
but fits no schema costs an ``error``, and the third within a minute the socket (4510).
"""

import json
import re
from typing import Any, Literal, NoReturn, Protocol, TypeVar, Union, get_args

import msgspec

from protocol.commands import Command, Hello
from protocol.events import DurableEvent, Event, ServerMessage
from protocol.ids import EventId
from protocol.scalars import MAX_INTEGER

Encoding = Literal["json", "msgpack"]

SUBPROTOCOLS: dict[str, Encoding] = {
    "interview.v1.json": "json",
    "interview.v1.msgpack": "msgpack",
}
"""The WebSocket subprotocols, by preference, and the encoding each stands for."""


class UndecodableError(ValueError):
    """The frame is not well-formed JSON or MessagePack, or came as the wrong kind of frame."""


class MismatchError(ValueError):
    """The frame is well formed but fits no message.

    ``extended`` is the command where its only fault is that it has fields the contract does not
    know. That is no abuse, it may be a newer client: it is refused with ``unknown_field``, and the
    socket is not charged for it. The text may be told to the client: it may hold words of theirs.
    """

    def __init__(self, message: str, extended: Command | None = None) -> None:
        told = message.replace("\0", "�")
        super().__init__(told if len(told) <= _LONGEST else f"{told[: _LONGEST - 1]}…")
        self.extended = extended


_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class _Decoder(Protocol[_T_co]):
    def decode(self, buf: bytes, /) -> _T_co: ...


def _lenient(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """Return ``kind`` as it would be if it took unknown fields, nested ones included."""
    nested = [
        (field.name, _lenient(field.type))
        for field in msgspec.structs.fields(kind)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
    ]
    return msgspec.defstruct(
        kind.__name__,
        nested,
        bases=(kind,),
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=False,
        tag=kind.__struct_config__.tag,
    )


_LONGEST = 300
"""Of what is told of a misfit, in characters: fields are named as they came."""

_HALF = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
"""A lone surrogate, as some encoders write it: no UTF-8 (RFC 3629, §3)."""

_PLAIN_PING = re.compile(
    r'\{"type": ?"ping", ?"nonce": ?"([A-Za-z0-9_-]{1,64})"\}'  # stands for itself: no escapes
).fullmatch

_LENIENT: Any = Union[tuple(_lenient(kind) for kind in get_args(Command))]  # noqa: UP007

_lenient_json = msgspec.json.Decoder(_LENIENT)
_lenient_msgpack = msgspec.msgpack.Decoder(_LENIENT)
_commands_json = msgspec.json.Decoder[Command](Command)
_commands_msgpack = msgspec.msgpack.Decoder[Command](Command)
# All that a client may send: of a single Struct msgspec would not ask for the type.
_first_json = msgspec.json.Decoder[Hello | Command](Hello | Command)
_first_msgpack = msgspec.msgpack.Decoder[Hello | Command](Hello | Command)
_durable_json = msgspec.json.Decoder[DurableEvent](DurableEvent)
_server_json = msgspec.json.Decoder[ServerMessage](ServerMessage)
_server_msgpack = msgspec.msgpack.Decoder[ServerMessage](ServerMessage)
_encode_json = msgspec.json.Encoder().encode
_encode_msgpack = msgspec.msgpack.Encoder().encode


def decode_hello(frame: str | bytes, encoding: Encoding) -> Hello:
    """Read a socket's first frame.

    Raises:
        UndecodableError: close 4500.
        MismatchError: answer ``error``; a hello may still follow in time.
    """
    decoder = _first_json if encoding == "json" else _first_msgpack
    message = _decode(decoder, frame, encoding)
    if not isinstance(message, Hello):
        raise MismatchError("the first message of a socket is hello")
    return message


def decode_command(frame: str | bytes, encoding: Encoding) -> Command:
    """Read a command.

    Raises:
        UndecodableError: close 4500.
        MismatchError: answer ``rejected`` where it has the id of a command, ``error`` otherwise.
    """
    decoder = _commands_json if encoding == "json" else _commands_msgpack
    try:
        return _decode(decoder, frame, encoding)
    except MismatchError as error:
        raise MismatchError(str(error), _extended(frame, encoding)) from None


def decode_server(frame: str | bytes, encoding: Encoding) -> ServerMessage:
    """Read a message of the server, as clients do.

    Raises:
        UndecodableError: the frame is not well formed.
        MismatchError: the frame is no message of the contract.
    """
    decoder = _server_json if encoding == "json" else _server_msgpack
    return _decode(decoder, frame, encoding)


def encode(message: msgspec.Struct, encoding: Encoding) -> bytes:
    """Encode any message for the wire."""
    return _encode_json(message) if encoding == "json" else _encode_msgpack(message)


def plain_pong(frame: str | bytes, encoding: Encoding, server_time: int) -> bytes | None:
    """Return the ``pong`` to a JSON ``ping`` as JavaScript and Python write it; else None.

    ``server_time`` is in milliseconds. What this returns is what decoding and encoding would, with
    less code: thousands of silent clients send little else, and by the time the next life sign
    comes, all that the last one ran has gone from the processor's cache.
    """
    if encoding != "json" or not isinstance(frame, str):
        return None
    ping = _PLAIN_PING(frame)
    if ping is None:
        return None
    return b'{"type":"pong","nonce":"%b","server_time":%d}' % (ping[1].encode(), server_time)


def event_body(event: Event) -> bytes:
    """Return what the log keeps of an event: its JSON without the id."""
    if event.id:
        raise ValueError("an event gets its id from the log")
    return _encode_json(event)


def read_body(body: bytes, event_id: EventId) -> DurableEvent:
    """Return the event that the log keeps under ``event_id``."""
    event = _durable_json.decode(body)
    msgspec.structs.force_setattr(event, "id", str(event_id))
    return event


def event_frame(body: bytes, event_id: EventId, encoding: Encoding) -> bytes:
    """Return a logged event as the clients get it.

    For JSON the id is spliced in front of the body, which is never decoded: this is the relay path.
    """
    if encoding == "json":
        return b'{"id":"%d-%d",%s' % (event_id.seq, event_id.check, body[1:])
    return _encode_msgpack(read_body(body, event_id))


def _decode(decoder: "_Decoder[_T]", frame: str | bytes, encoding: Encoding) -> _T:
    if isinstance(frame, str) != (encoding == "json"):
        raise UndecodableError(f"{encoding} messages do not come in this kind of frame")
    try:
        raw = _raw(frame)
        try:
            return decoder.decode(raw)
        except msgspec.ValidationError:
            return decoder.decode(_with_integers(raw, encoding))
    except (ValueError, RecursionError) as error:
        _classify(frame, error)


def _raw(frame: str | bytes) -> bytes:
    return frame.encode("utf-8", "surrogatepass") if isinstance(frame, str) else frame


def _with_integers(raw: bytes, encoding: Encoding) -> bytes:
    """Return a frame with its whole numbers as integers, in whatever form they came.

    ``1.0`` is an integer for JSON Schema, and some encoders of MessagePack write integers above
    2^32 as floats.
    """
    if encoding == "json":
        return _encode_json(_integral(msgspec.json.decode(raw)))
    return _encode_msgpack(_integral(msgspec.msgpack.decode(raw)))


def _integral(value: Any) -> Any:
    match value:
        case float() if value.is_integer() and abs(value) <= MAX_INTEGER:
            return int(value)
        case dict():
            return {name: _integral(each) for name, each in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case _:
            return value


def _classify(frame: str | bytes, error: Exception) -> NoReturn:
    """Tell broken frames from misfit messages: msgspec stops at the first fault of either sort."""
    try:
        if isinstance(frame, str):
            # Numbers are not converted: one of 5,000 digits is JSON, but Python refuses to read it.
            json.loads(frame, parse_int=len, parse_constant=_refuse_constant)
        else:
            _unpack(frame)
    except RecursionError:
        raise MismatchError("the message is nested too deeply") from None
    except ValueError:
        encoding = "JSON" if isinstance(frame, str) else "MessagePack"
        raise UndecodableError(f"the frame is not well-formed {encoding}") from None
    if isinstance(error, msgspec.ValidationError):
        raise MismatchError(str(error)) from None
    raise MismatchError("a number or a text is beyond what the contract allows") from None


def _unpack(frame: bytes) -> None:
    """Decode MessagePack in which half a surrogate pair may stand for a character, as in JSON."""
    try:
        msgspec.msgpack.decode(frame)
    except UnicodeDecodeError:
        msgspec.msgpack.decode(_HALF.sub(b"???", frame))


def _extended(frame: str | bytes, encoding: Encoding) -> Command | None:
    """Return a command that would be right but for fields it has too many."""
    decoder = _lenient_json if encoding == "json" else _lenient_msgpack
    try:
        return _decode(decoder, frame, encoding)
    except MismatchError:
        return None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
