"""The contract for TypeScript: a type for every message, told apart by ``type``.

Taken from the JSON Schemas, so that they cannot say anything else. They describe what may come and
what may be sent, not its bounds: those stand in the schemas.
"""

import json
import textwrap
from collections.abc import Iterable
from typing import Any, Literal, get_args, get_origin

from protocol import scalars
from protocol.schema import (
    CLIENT_MESSAGES,
    DURABLE_COMMANDS,
    DURABLE_EVENTS,
    SERVER_MESSAGES,
    Message,
    json_schema,
)

_HEAD = """\
// The messages of interview.v1. Written by `python -m server.reference` from the Structs that the
// server decodes with: do not edit it.
//
// A client ignores fields that it does not know; the server refuses them.
"""

_UNIONS: dict[str, tuple[Message, ...]] = {
    "ClientMessage": CLIENT_MESSAGES,
    "DurableCommand": DURABLE_COMMANDS,
    "ServerMessage": SERVER_MESSAGES,
    "DurableEvent": DURABLE_EVENTS,
}
_WORDS: dict[tuple[str, ...], str] = {
    get_args(kind): name for name, kind in vars(scalars).items() if get_origin(kind) is Literal
}
"""The words that a field may choose from, and what they are called together."""
_NAMES = {frozenset(words): name for words, name in _WORDS.items()}
_WIDTH = 100
_SCALARS = {
    "boolean": "boolean",
    "integer": "number",
    "null": "null",
    "number": "number",
    "object": "Record<string, unknown>",
    "string": "string",
}


def declarations() -> str:
    """Return the declarations, as a module without code."""
    schemas: dict[str, Any] = json_schema()["$defs"]
    messages = [kind.__name__ for kind in (*CLIENT_MESSAGES, *SERVER_MESSAGES)]
    parts = [name for name in schemas if name not in (*messages, *_UNIONS)]
    shapes = [_interface(name, schemas[name]) for name in (*messages, *parts)]
    unions = [_union(name, (kind.__name__ for kind in kinds)) for name, kinds in _UNIONS.items()]
    words = [_union(name, map(json.dumps, chosen)) for chosen, name in _WORDS.items()]
    return "\n".join([_HEAD, *unions, *words, *shapes])


def _interface(name: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    fields = [
        f"  {field}{'' if field in required else '?'}: {_type(kind)};"
        for field, kind in schema["properties"].items()
    ]
    lines = [*_comment(schema["description"]), f"export interface {name} {{", *fields, "}", ""]
    return "\n".join(lines)


def _comment(text: str) -> list[str]:
    line = f"/** {text} */"
    if len(line) <= _WIDTH:
        return [line]
    return [
        "/**",
        *textwrap.wrap(text, _WIDTH, initial_indent=" * ", subsequent_indent=" * "),
        " */",
    ]


def _union(name: str, options: Iterable[str]) -> str:
    begun, options = f"export type {name} =", list(options)
    line = f"{begun} {' | '.join(options)};"
    return f"{line}\n" if len(line) <= _WIDTH else "\n  | ".join([begun, *options]) + ";\n"


def _type(schema: dict[str, Any]) -> str:
    match schema:
        case {"$ref": str(reference)}:
            return reference.rpartition("/")[2]
        case {"enum": [*words]}:
            return _NAMES.get(frozenset(words)) or " | ".join(map(json.dumps, words))
        case {"anyOf": [*options]}:
            return " | ".join(dict.fromkeys(_type(option) for option in options))
        case {"type": "array"}:
            return f"Array<{_type(schema['items'])}>"
        case _:
            return _SCALARS[schema["type"]]
