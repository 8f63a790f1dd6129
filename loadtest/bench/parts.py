"""What the parts of a token's way cost: `python -m loadtest.bench.parts REDIS_URL PID…`.

A process of its own, which prints its `Part`s as JSON. It calls storage itself, the one module of
the harness that does: a part is measured by itself, or it is not measured.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import uvloop
from msgspec.structs import replace

from loadtest.bench.arithmetic import median
from loadtest.bench.findings import Part
from loadtest.load.machine import cpu_of
from protocol.codec import Encoding, encode, event_body, event_frame
from protocol.commands import Consent, InterviewStart
from protocol.events import ServerMessage, TurnDelta
from protocol.ids import ORIGIN, EventId
from protocol.machine import Received, transition
from protocol.plan import Plan
from protocol.session import Session
from storage.live import Acquired, Append, Appended, Restore
from storage.redis import resp
from storage.redis.connect import Client, connect
from storage.redis.store import RedisStore

BATCHES = 7
TIMES = 5_000
GROUP = 100
GROUPS = 60
ALONE = 1_000
AT = 1_795_000_000_000
_TEXT = " because"
_ID = EventId(123, 4_503_599_627_370_495)
_LONG_MS = 600_000


def codec() -> list[Part]:
    """Measure encoding and decoding of a piece, beside bytes that are only put together."""
    delta = TurnDelta(turn=3, attempt=1, offset=120, text=_TEXT)
    body = event_body(delta)
    whole = replace(delta, id=str(_ID))
    parts = [
        Part(
            group="codec",
            name="bytes put together by hand",
            floor=True,
            us=_timed(lambda: b'{"type":"delta","turn":%d,"text":"%b"}' % (3, b" because")),
        ),
        Part(group="codec", name="event to the log's body", us=_timed(lambda: event_body(delta))),
    ]
    encodings: tuple[Encoding, ...] = ("json", "msgpack")
    for encoding in encodings:
        packed = encode(whole, encoding)
        kind = msgspec.json if encoding == "json" else msgspec.msgpack
        decoder: Any = kind.Decoder(ServerMessage)
        parts += [
            Part(
                group="codec",
                name=f"the log's body to a frame, {encoding}",
                us=_timed(lambda encoding=encoding: event_frame(body, _ID, encoding)),
            ),
            Part(
                group="codec",
                name=f"frame to message (a client's work), {encoding}",
                us=_timed(lambda decoder=decoder, packed=packed: decoder.decode(packed)),
            ),
        ]
    return parts


def _timed(work: Callable[[], object]) -> float:
    """Return the microseconds of one call: the median of some batches."""
    batches: list[float] = []
    for _ in range(BATCHES):
        begin = time.process_time()
        for _ in range(TIMES):
            work()
        batches.append(1e6 * (time.process_time() - begin) / TIMES)
    return median(batches) or 0.0


class _Redis:
    """Appends to interviews whose turns run, and the same number of bytes by XADD."""

    def __init__(self, client: Client, pids: Sequence[int]) -> None:
        self._client: Any = client  # redis-py's commands are not typed strictly
        self._store = RedisStore(client)
        self._wire = client.wire
        self._pids = pids
        self._fences: dict[str, str] = {}
        self._ordinals: Counter[str] = Counter()

    async def parts(self) -> list[Part]:
        """Measure them."""
        await self._store.prepare()
        for number in range(GROUP):
            await self._begin(f"0190a5c0-0000-7000-8000-{number:012d}")
        body = event_body(TurnDelta(turn=1, attempt=1, offset=0, text=_TEXT))
        streams = [f"bench:{number}" for number in range(GROUP)]

        async def xadd() -> None:
            await self._client.xadd(streams[0], {"b": body})

        async def piped() -> None:
            pipe = self._client.pipeline(transaction=False)
            for stream in streams:
                pipe.xadd(stream, {"b": body})
            await pipe.execute()

        async def packed() -> None:
            await self._wire.send(
                [resp.command(("XADD", stream, "*", "b", body)) for stream in streams]
            )

        async def alone() -> None:
            await self._append(1, body)

        async def grouped() -> None:
            await self._append(GROUP, body)

        return [
            await self._part("redis-py, one XADD a call", xadd, ALONE, 1),
            await self._part(f"redis-py, {GROUP} XADDs piped", piped, GROUPS, GROUP),
            await self._part(
                f"{GROUP} XADDs packed by hand, one write", packed, GROUPS, GROUP, floor=True
            ),
            await self._part("one append alone", alone, ALONE, 1),
            await self._part(f"group commit of {GROUP} appends", grouped, GROUPS, GROUP),
        ]

    async def _begin(self, name: str) -> None:
        """Make an interview whose first turn runs."""
        plan = Plan(type="technical", role="Engineer")
        session = Session(interview_id=name, user_id="bench", created_at=AT, plan=plan)
        start = InterviewStart(id="start", consent=Consent(version="1", at=AT))
        begun = transition(session, Received(command=start, at=AT)).session
        await self._store.create(Restore(session=begun, version=1, head=ORIGIN, tick=AT + 10**12))
        held = await self._store.acquire(name, "bench", _LONG_MS)
        assert isinstance(held, Acquired)  # noqa: S101 - nobody else is there
        self._fences[name] = held.fence

    async def _append(self, count: int, body: bytes) -> None:
        names = list(self._fences)[:count]
        self._ordinals.update(names)
        appended = await self._store.append(
            [
                Append(
                    id=name,
                    fence=self._fences[name],
                    ordinal=self._ordinals[name],
                    handle="h",
                    body=body,
                )
                for name in names
            ]
        )
        assert all(isinstance(each, Appended) for each in appended)  # noqa: S101 - or it is nothing

    async def _part(
        self, name: str, work: Any, times: int, operations: int, *, floor: bool = False
    ) -> Part:
        ours: list[float] = []
        redis_before = sum(map(cpu_of, self._pids))
        for _ in range(BATCHES):
            begin = time.process_time()
            for _ in range(times):
                await work()
            ours.append(1e6 * (time.process_time() - begin) / (times * operations))
        redis_s = sum(map(cpu_of, self._pids)) - redis_before
        return Part(
            group="redis",
            name=name,
            us=median(ours) or 0.0,
            redis_us=1e6 * redis_s / (BATCHES * times * operations),
            floor=floor,
        )


async def _run(url: str, pids: Sequence[int]) -> list[Part]:
    client = connect(url)
    try:
        return [*codec(), *await _Redis(client, pids).parts()]
    finally:
        await client.aclose()


if __name__ == "__main__":
    found = uvloop.run(_run(sys.argv[1], [int(word) for word in sys.argv[2:]]))
    sys.stdout.buffer.write(msgspec.json.encode(found))
