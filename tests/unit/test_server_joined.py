"""Writes of one turn of the loop leave together, in their order, and before an end."""

import asyncio
from typing import Any, cast

import pytest

from server.joined import Joined

pytestmark = pytest.mark.anyio


class Wire:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def write(self, data: bytes) -> None:
        self.seen.append(data)

    def write_eof(self) -> None:
        self.seen.append("eof")

    def close(self) -> None:
        self.seen.append("closed")

    def abort(self) -> None:
        self.seen.append("aborted")

    def is_closing(self) -> bool:
        return "closed" in self.seen


def joined() -> tuple[Joined, Wire]:
    wire = Wire()
    return Joined(cast("asyncio.Transport", wire), asyncio.get_running_loop()), wire


async def test_what_is_written_in_one_turn_is_one_write() -> None:
    transport, wire = joined()
    transport.write(b"head ")
    transport.write(b"body")
    assert wire.seen == []
    await asyncio.sleep(0)
    assert wire.seen == [b"head body"]
    transport.write(b"next")
    await asyncio.sleep(0)
    assert wire.seen == [b"head body", b"next"]


@pytest.mark.parametrize(("end", "told"), [("close", "closed"), ("write_eof", "eof")])
async def test_an_end_comes_behind_what_was_written(end: str, told: str) -> None:
    transport, wire = joined()
    transport.write(b"bye")
    getattr(transport, end)()
    assert wire.seen == [b"bye", told]
    await asyncio.sleep(0)
    assert wire.seen == [b"bye", told]
    assert transport.is_closing() is (end == "close")


async def test_what_is_aborted_is_not_sent() -> None:
    transport, wire = joined()
    transport.write(b"bye")
    transport.abort()
    await asyncio.sleep(0)
    assert wire.seen == ["aborted"]
