"""Frames to messages and back, in the two encodings of the contract.

A frame fails in one of two ways, and the difference decides what happens to the socket: one that
is no JSON or MessagePack at all cannot be trusted further (close 4500); one that is well formed
but fits no schema costs an ``error``, and the third within a minute the socket (4510).
"""

import json
from typing import Literal, NoReturn, Protocol, TypeVar

import msgspec

from protocol.commands import Command, Hello
from protocol.events import DurableEvent, Event, ServerMessage
from protocol.ids import EventId
from protocol.scalars import CommandId

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

    ``command_id`` names the command where it is known, so that its sender can be told.
    """

    def __init__(self, message: str, command_id: str | None = None) -> None:
        super().__init__(message)
        self.command_id = command_id


class _Reference(msgspec.Struct, frozen=True):
    """As much of a misfit command as is needed to answer it."""

    id: CommandId


_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class _Decoder(Protocol[_T_co]):
    def decode(self, buf: bytes, /) -> _T_co: ...


_reference_json = msgspec.json.Decoder(_Reference).decode
_reference_msgpack = msgspec.msgpack.Decoder(_Reference).decode
_commands_json = msgspec.json.Decoder[Command](Command)
_commands_msgpack = msgspec.msgpack.Decoder[Command](Command)
_hello_json = msgspec.json.Decoder(Hello)
_hello_msgpack = msgspec.msgpack.Decoder(Hello)
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
    decoder = _hello_json if encoding == "json" else _hello_msgpack
    return _decode(decoder, frame, encoding)


def decode_command(frame: str | bytes, encoding: Encoding) -> Command:
    """Read a command.

    Raises:
        UndecodableError: close 4500.
        MismatchError: answer ``rejected`` where it names a command, ``error`` otherwise.
    """
    decoder = _commands_json if encoding == "json" else _commands_msgpack
    return _decode(decoder, frame, encoding)


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
    raw = frame.encode("utf-8", "surrogatepass") if isinstance(frame, str) else frame
    try:
        return decoder.decode(raw)
    except (ValueError, RecursionError) as error:
        _classify(raw, encoding, error)


def _classify(raw: bytes, encoding: Encoding, error: Exception) -> NoReturn:
    """Tell broken frames from misfit messages: msgspec stops at the first fault of either sort."""
    try:
        if encoding == "json":
            json.loads(raw, parse_constant=_refuse_constant)
        else:
            msgspec.msgpack.decode(raw)
    except RecursionError:
        raise MismatchError("the message is nested too deeply") from None
    except ValueError:
        raise UndecodableError(f"the frame is not well-formed {encoding}") from None
    if not isinstance(error, msgspec.ValidationError):
        raise MismatchError("text holds a lone surrogate") from None
    raise MismatchError(str(error), _command_id(raw, encoding)) from None


def _command_id(raw: bytes, encoding: Encoding) -> str | None:
    decode = _reference_json if encoding == "json" else _reference_msgpack
    try:
        return decode(raw).id
    except (ValueError, RecursionError):
        return None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
