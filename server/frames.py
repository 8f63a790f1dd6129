"""uvicorn's WebSocket protocol with a short way out, for what is sent most: the deltas.

A frame of a server is not masked and stands for itself, so that it can be written without asking
the protocol's state machine, which learns nothing from it. ASGI's `send` goes through an event, a
coroutine and some layers for each. Source: RFC 6455, §5.2.
"""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

EXTENSION = "viva.frames"
"""The key under a scope's ``extensions`` where `Frames` is found."""
_TEXT, _BINARY = 0x81, 0x82  # with FIN


def frame(payload: bytes, *, text: bool) -> bytes:
    """Return ``payload`` as one whole frame of a server."""
    opcode, size = _TEXT if text else _BINARY, len(payload)
    if size < 126:
        return b"%c%c%b" % (opcode, size, payload)
    if size < 65_536:
        return b"%c\x7e%b%b" % (opcode, size.to_bytes(2, "big"), payload)
    return b"%c\x7f%b%b" % (opcode, size.to_bytes(8, "big"), payload)


class Frames(WebSocketsSansIOProtocol):
    """One WebSocket, to which whole messages can be written at once."""

    def handle_connect(self, event: Request) -> None:
        """See uvicorn: from here on the app finds this in its scope."""
        super().handle_connect(event)
        if not self.close_sent:
            extensions: Any = self.scope.setdefault("extensions", {})
            extensions[EXTENSION] = self

    def send_now(self, payload: bytes, *, text: bool) -> bool:
        """Write a message if the transport takes it without waiting; tell whether it was written.

        Only for the app, and only after it accepted the socket.
        """
        if not self.writable.is_set() or self.close_sent or self.transport.is_closing():
            return False
        self.transport.write(frame(payload, text=text))
        return True
