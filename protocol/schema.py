"""The contract for machines: JSON Schema of every message, AsyncAPI 3 document of the socket.

Both are generated from the Structs that the codec decodes with, so they cannot say something else.
They describe the wire: a durable event always carries its id there, patterns are written for
ECMA-262 (JSON Schema 2020-12, §6.3.3 of its validation part), and the server's messages may grow
fields that clients ignore while the client's may not.
"""

import re
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from protocol import commands as c
from protocol import events as e
from protocol.closes import STANDARD, Close, may_reconnect
from protocol.codec import SUBPROTOCOLS
from protocol.limits import HEARTBEAT_MS, HEARTBEATS_MISSED, HELLO_TIMEOUT_S, LIMITS

View = Literal["server", "client"]
"""Whose document it is: AsyncAPI's operations are what the described application does."""

Message = type[msgspec.Struct]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ADDRESS = "/api/interviews/{interview_id}/socket"

DURABLE_COMMANDS: tuple[Message, ...] = get_args(c.DurableCommand)
CLIENT_MESSAGES: tuple[Message, ...] = (c.Hello, *get_args(c.Command))
DURABLE_EVENTS: tuple[Message, ...] = get_args(e.DurableEvent)
SERVER_MESSAGES: tuple[Message, ...] = get_args(e.ServerMessage)

_SIGNALS = tuple(
    kind for kind in CLIENT_MESSAGES if kind is not c.Hello and kind not in DURABLE_COMMANDS
)
_CONTROLS = tuple(kind for kind in SERVER_MESSAGES if kind not in DURABLE_EVENTS)


class _Operation(NamedTuple):
    """One kind of thing that happens on the channel."""

    name: str
    sender: View
    messages: tuple[Message, ...]
    replies: tuple[Message, ...]
    summary: str


_OPERATIONS = (
    _Operation("Hello", "client", (c.Hello,), (e.Welcome,), "The first frame of every socket."),
    _Operation(
        "Command",
        "client",
        DURABLE_COMMANDS,
        (e.Accepted, e.Rejected),
        "A command with an effect that outlives the socket; its id makes repeating it harmless.",
    ),
    _Operation(
        "Signal",
        "client",
        _SIGNALS,
        (e.Pong,),
        "What has no lasting effect; only ping is answered.",
    ),
    _Operation(
        "Event",
        "server",
        DURABLE_EVENTS,
        (),
        "An event of the log: every client gets each of them once and in order.",
    ),
    _Operation("Control", "server", _CONTROLS, (), "A message to this socket alone."),
)


def json_schema() -> dict[str, Any]:
    """Return one JSON Schema, draft 2020-12, that holds every message of the contract.

    The document accepts any message; ``#/$defs/ClientMessage`` and ``#/$defs/ServerMessage``
    accept those of one direction, ``#/$defs/<Struct>`` a single one.
    """
    schemas = _schemas("#/$defs/{name}")
    for side, kinds in (("Client", CLIENT_MESSAGES), ("Server", SERVER_MESSAGES)):
        references = [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds]
        schemas[f"{side}Message"] = {
            "title": f"{side}Message",
            "description": f"Any message of the {side.lower()}, told apart by its type.",
            "oneOf": references,
        }
    return {
        "$schema": DIALECT,
        "$id": "urn:viva:interview.v1",
        "title": "Messages of interview.v1",
        "anyOf": [{"$ref": "#/$defs/ClientMessage"}, {"$ref": "#/$defs/ServerMessage"}],
        "$defs": schemas,
    }


def asyncapi(view: View = "server") -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of the socket, as the server or as a client sees it."""
    messages = (*CLIENT_MESSAGES, *SERVER_MESSAGES)
    return {
        "asyncapi": "3.0.0",
        "id": "urn:viva:interview.v1",
        "info": {
            "title": f"viva interview socket ({view})",
            "version": "1.0.0",
            "description": "A live interview over one WebSocket, resumable at any instance. "
            "Every message is one flat object with a type tag, as JSON in text frames or as "
            "MessagePack in binary frames, by the subprotocol.",
        },
        "defaultContentType": "application/json",
        "channels": {"interview": _channel(messages)},
        "operations": dict(_operation(view, told) for told in _OPERATIONS),
        "components": {
            "messages": {kind.__name__: _message(kind) for kind in messages},
            "schemas": _schemas("#/components/schemas/{name}"),
        },
    }


# --- AsyncAPI ------------------------------------------------------------------------------------


def _channel(messages: Iterable[Message]) -> dict[str, Any]:
    names = (kind.__name__ for kind in messages)
    protocols = {"type": "string", "enum": list(SUBPROTOCOLS)}
    return {
        "address": ADDRESS,
        "title": "The socket of one interview",
        "parameters": {"interview_id": {"description": "The interview's UUID."}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {
            "ws": {
                "method": "GET",
                "headers": {
                    "type": "object",
                    "properties": {"Sec-WebSocket-Protocol": protocols},
                    "required": ["Sec-WebSocket-Protocol"],
                },
                "bindingVersion": "0.1.0",
            }
        },
        "x-subprotocols": dict(SUBPROTOCOLS),
        "x-close-codes": _closes(),
        "x-limits": {
            **msgspec.structs.asdict(LIMITS),
            "hello_timeout_ms": round(HELLO_TIMEOUT_S * 1000),
            "heartbeat_ms": HEARTBEAT_MS,
            "silence_ms": round(HEARTBEAT_MS * HEARTBEATS_MISSED),
        },
    }


def _closes() -> list[dict[str, Any]]:
    named = {int(close): close.reason for close in Close}
    meanings = STANDARD | named
    return [
        {"code": code, "reason": meanings[code], "reconnect": may_reconnect(code)}
        for code in sorted(meanings)
    ]


def _operation(view: View, told: _Operation) -> tuple[str, dict[str, Any]]:
    action = "send" if told.sender == view else "receive"
    operation: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": "#/channels/interview"},
        "summary": told.summary,
        "messages": _on_channel(told.messages),
    }
    if told.replies:
        operation["reply"] = {
            "channel": {"$ref": "#/channels/interview"},
            "messages": _on_channel(told.replies),
        }
    return f"{action}{told.name}", operation


def _on_channel(messages: Iterable[Message]) -> list[dict[str, str]]:
    return [{"$ref": f"#/channels/interview/messages/{kind.__name__}"} for kind in messages]


def _message(kind: Message) -> dict[str, Any]:
    summary, _, rest = str(kind.__doc__).partition("\n\n")
    message: dict[str, Any] = {
        "name": kind.__struct_config__.tag,
        "title": kind.__name__,
        "summary": _line(summary),
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
    }
    if rest:
        message["description"] = _line(rest)
    if kind in DURABLE_COMMANDS:
        message["correlationId"] = {"location": "$message.payload#/id"}
    elif kind in (e.Accepted, e.Rejected):
        message["correlationId"] = {"location": "$message.payload#/command_id"}
    return message


# --- schemas -------------------------------------------------------------------------------------


def _schemas(template: str) -> dict[str, Any]:
    """Return the schema of every Struct on the wire by its name, references by ``template``."""
    _, schemas = msgspec.json.schema_components(
        (*CLIENT_MESSAGES, *SERVER_MESSAGES), ref_template=template
    )
    for kind in DURABLE_EVENTS:
        schema = schemas[kind.__name__]
        schema["properties"]["id"].pop("default")
        if kind is not e.RatingReady:  # in assessment mode it is no event of the log
            schema["required"].insert(0, "id")
    return {name: portable(schemas[name]) for name in sorted(schemas)}


def portable(schema: Any) -> Any:
    """Rewrite Python's patterns for ECMA-262, whose ``^`` and ``$`` are the text's very ends."""
    match schema:
        case dict():
            found: dict[str, Any] = {name: portable(value) for name, value in schema.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            if isinstance(found.get("pattern"), str):
                found["pattern"] = re.sub(r"^\\A|\\Z$", _anchor, found["pattern"])
            if isinstance(found.get("description"), str):
                found["description"] = _line(found["description"])
            return found
        case list() | tuple():
            return [portable(value) for value in schema]  # pyright: ignore[reportUnknownVariableType]
        case _:
            return schema


def _anchor(found: re.Match[str]) -> str:
    return "^" if found[0] == r"\A" else "$"


def _line(text: str) -> str:
    """Return a docstring as one line of prose."""
    return " ".join(text.replace("``", "").split())
