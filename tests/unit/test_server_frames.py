"""Frames that are written past the protocol's state machine: the same bytes that it would write."""

from types import SimpleNamespace
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from server.frames import Frames, frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
@pytest.mark.parametrize("text", [True, False])
def test_a_frame_is_what_rfc_6455_says(size: int, text: bool) -> None:  # noqa: FBT001
    payload = b"x" * size
    opcode = Opcode.TEXT if text else Opcode.BINARY
    assert frame(payload, text=text) == Frame(opcode, payload).serialize(mask=False)


class _Transport:
    def __init__(self, *, closing: bool) -> None:
        self.closing = closing
        self.written = b""

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.written += data


@pytest.mark.parametrize("state", ["open", "full", "close_sent", "closing"])
def test_only_an_open_socket_that_flows_takes_one_at_once(state: str) -> None:
    transport = _Transport(closing=state == "closing")
    socket: Any = SimpleNamespace(
        writable=SimpleNamespace(is_set=lambda: state != "full"),
        close_sent=state == "close_sent",
        transport=transport,
    )
    assert Frames.send_now(socket, b"hello", text=True) is (state == "open")
    assert transport.written == (b"\x81\x05hello" if state == "open" else b"")
