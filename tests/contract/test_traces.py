"""Random traces: the same steps on the twin and on a real server, compared one by one.

The real server keeps the time; a lease lapses when a step says so. `VIVA_TRACE_SEED` repeats a run,
`VIVA_TRACES` sets how many traces are run on each server.
"""

import os
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from protocol.codec import event_body
from protocol.commands import (
    AnswerSubmit,
    DurableCommand,
    HintRequest,
    InterviewEnd,
    InterviewPause,
    InterviewResume,
    SpeechFinal,
    TurnCancel,
)
from protocol.effects import Reject
from protocol.events import TurnDelta
from protocol.ids import ORIGIN, EventId
from protocol.machine import Arrived, Finished, Left, Lost, Received, transition
from storage.answers import digest_of, rejection
from storage.commits import commit_of
from storage.errors import StorageError
from storage.live import (
    Acquired,
    Append,
    Attendant,
    Join,
    Joined,
    Restore,
    State,
    Unstored,
    partition_of,
)
from tests.contract.backends import COMPARED, RedisBackend, TwinBackend
from tests.contract.interviews import AT, LONG_MS, NAME, OTHER, restore_of, start

pytestmark = pytest.mark.anyio

STEPS = 150
TRACES = int(os.environ.get("VIVA_TRACES", "6"))
SEED = int(os.environ.get("VIVA_TRACE_SEED", "1"))
TEXTS = ("word ", "é", "🦁", "\u2028", '"}', "x" * 2_000)
NAMES = (NAME, OTHER)

Step = Callable[["Trace"], Awaitable[None]]


class Trace:
    """One run of random steps on two backends that must answer alike."""

    def __init__(self, twin: TwinBackend, real: RedisBackend, draw: random.Random) -> None:
        max_log = draw.choice((16, 64, 4096))
        self.backends = (twin, real)
        self.stores: tuple[Any, Any] = (twin.store(max_log=max_log), real.store(max_log=max_log))
        self.draw = draw
        self.fences: dict[str, list[str]] = {name: [""] for name in NAMES}
        self.numbers: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.entries: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self.taken: dict[int, list[tuple[Any, Any]]] = defaultdict(list)
        self.commands: dict[str, list[Any]] = {name: [] for name in NAMES}
        self.appends: dict[str, list[Append]] = {name: [] for name in NAMES}
        self.heads: dict[str, list[EventId]] = {name: [ORIGIN, EventId(3, 3)] for name in NAMES}
        self.counts: Counter[str] = Counter()

    @property
    def name(self) -> str:
        return self.draw.choice((NAME, NAME, NAME, OTHER))

    async def both(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Make the same call on both, compare the answers, return the real one's."""
        answers: list[Any] = []
        for side, store in enumerate(self.stores):
            given = tuple(a[side] if isinstance(a, Sides) else a for a in arguments)
            try:
                answer = await getattr(store, method)(*given, **options)
            except StorageError as error:
                answer = type(error)
            answers.append(answer)
        plain = [self._plain(side, answer) for side, answer in enumerate(answers)]
        assert plain[0] == plain[1], (method, arguments, options)
        self.counts[f"{method} {_kind(plain[1])}"] += 1
        return Sides(answers) if method in ("take", "attend") else answers[1]

    def _plain(self, side: int, answer: Any) -> Any:
        """Take out what the two may differ in: times, names of outbox entries, what a pulse was."""
        match answer:
            case State():
                return replace(answer, touched=0, heard=0)
            case Acquired():
                return replace(answer, state=self._plain(side, answer.state))
            case Joined():
                numbers = self.numbers[side]
                number = numbers.setdefault(answer.number, len(numbers))
                return replace(answer, number=number, state=self._plain(side, answer.state))
            case Unstored():
                return (self._plain(side, answer.state), sorted(answer.commands))
            case list():
                return [self._plain(side, each) for each in answer]  # type: ignore[misc]
            case _:
                return self._plain_small(side, answer)

    def _plain_small(self, side: int, answer: Any) -> Any:
        if hasattr(answer, "sockets"):
            ranks = {s: self.numbers[side][n] for s, n in answer.sockets.items()}
            return replace(answer, sockets=ranks, raw=b"", head=ORIGIN)  # see `_look`
        if hasattr(answer, "oldest"):
            return replace(answer, oldest=None)
        if hasattr(answer, "lapsed"):
            return (answer.away, sorted(name for name, _ in answer.lapsed))
        if hasattr(answer, "ledger"):
            entries, key = self.entries[side], f"{answer.interview_id} {answer.id}"
            return replace(answer, id=str(entries.setdefault(key, len(entries))))
        return answer

    async def state(self, name: str) -> State | None:
        state = await self.both("load", name, turns=True, entries=True, command="c1")
        if isinstance(state, State):
            self.heads[name].append(state.head)
            return state
        return None


class Sides(list[Any]):
    """What differs between the two backends, such as the names of outbox entries."""


def _kind(answer: Any) -> str:
    if isinstance(answer, list | tuple):
        return "some" if answer else "none"
    return answer if isinstance(answer, str) else type(answer).__name__


async def _create(trace: Trace) -> None:
    name = trace.name
    restored = restore_of(name, tick=trace.draw.choice((AT, AT + 10**13)))
    state = await trace.state(name)
    if state is None and trace.commands[name]:
        restored = Restore(
            session=restored.session,
            version=trace.draw.randrange(1, 50),
            head=EventId(trace.draw.randrange(1, 99), trace.draw.randrange(2**52)),
            tick=AT,
            commands=(("c1", "d a1-1"),),
        )
    await trace.both("create", restored)


async def _command(trace: Trace) -> None:
    name, draw = trace.name, trace.draw
    state = await trace.state(name)
    if state is None:
        return
    given = _draw_command(trace, state)
    received = Received(command=given, at=AT, logged=state.logged)
    done = transition(state.session, received)
    reject = next((effect for effect in done.effects if isinstance(effect, Reject)), None)
    commit = replace(
        commit_of(state, done, received, now=AT),
        command=given.id,
        digest=digest_of(given),
        answer=rejection(reject) if reject else "",
        max_commands=draw.choice((10_000, 10_000, 12)),
        grace=LONG_MS,
    )
    trace.commands[name].append(commit)
    await trace.both("commit", commit)


def _draw_command(trace: Trace, state: State) -> DurableCommand:
    draw = trace.draw
    name, number = f"c{draw.randrange(40)}", draw.randrange(3)
    opened = state.session.open
    if state.session.status == "created":
        return start(name)
    if opened is not None and opened.speaker == "interviewer" and number == 0:
        heard = draw.randrange(9)
        return TurnCancel(id=name, turn=opened.turn, attempt=opened.attempt, heard=heard)
    texts = draw.choice(TEXTS)
    return draw.choice(
        (
            AnswerSubmit(id=name, text=texts),
            AnswerSubmit(id=name),
            SpeechFinal(id=name, utterance_id=f"u{number}", revision=number, text=texts),
            SpeechFinal(id=name, utterance_id=f"v{number}", revision=1, text=texts, confidence=0.5),
            HintRequest(id=name),
            InterviewPause(id=name),
            InterviewResume(id=name),
            start(name),
            *((InterviewEnd(id=name),) if draw.random() < 0.1 else ()),
        )
    )


async def _repeat(trace: Trace) -> None:
    name = trace.name
    if trace.commands[name]:
        await trace.both("commit", trace.draw.choice(trace.commands[name]))
    if trace.appends[name]:
        await trace.both("append", trace.draw.sample(trace.appends[name], 1))


async def _acquire(trace: Trace) -> None:
    name = trace.name
    got = await trace.both("acquire", name, trace.draw.choice("abc"), LONG_MS)
    if isinstance(got, Acquired):
        trace.fences[name].append(got.fence)


def _fence(trace: Trace, name: str) -> str:
    return trace.draw.choice((*trace.fences[name], *trace.fences[name][-1:] * 8))


async def _append(trace: Trace) -> None:
    name, draw = trace.name, trace.draw
    state = await trace.state(name)
    opened = state.session.open if state else None
    turn, attempt = (opened.turn, opened.attempt) if opened else (1, 1)
    ordinal = (state.ordinal if state else 0) + draw.choice((1, 1, 1, 1, 0, 2))
    fence = _fence(trace, name)
    appends = [
        Append(
            id=name,
            fence=fence,
            ordinal=ordinal + n,
            handle=f"h{n}",
            body=event_body(
                TurnDelta(
                    turn=turn,
                    attempt=max(1, attempt - (draw.random() < 0.1)),
                    offset=0,
                    text=draw.choice(TEXTS),
                )
            ),
        )
        for n in range(draw.choice((1, 2, 30)))
    ]
    trace.appends[name] += appends[:3]
    await trace.both("append", appends)


async def _speak(trace: Trace) -> None:
    """Say word by word, as an instance does, while other things happen."""
    name = trace.name
    got = await trace.both("acquire", name, trace.draw.choice("abc"), LONG_MS)
    if not isinstance(got, Acquired):
        return
    trace.fences[name].append(got.fence)
    opened, ordinal = got.state.session.open, got.state.ordinal
    assert opened is not None
    for _ in range(trace.draw.choice((2, 5, 70))):
        ordinal += 1
        delta = TurnDelta(
            turn=opened.turn, attempt=opened.attempt, offset=0, text=trace.draw.choice(TEXTS)
        )
        said = Append(
            id=name, fence=got.fence, ordinal=ordinal, handle="h 1", body=event_body(delta)
        )
        await trace.both("append", [said])
        if trace.draw.random() < 0.05:
            trace.appends[name].append(said)
            await trace.both("append", [said])
        if trace.draw.random() < 0.1:
            await trace.draw.choice((_command, _end_turn, _lapse, _hold, _look, _join, _store))(
                trace
            )


async def _end_turn(trace: Trace) -> None:
    name = trace.name
    state = await trace.state(name)
    opened = state.session.open if state else None
    if state is None or opened is None:
        return
    if trace.draw.random() < 0.7:
        happened: Any = Finished(
            turn=opened.turn, attempt=opened.attempt, text=state.logged, at=AT, source="model"
        )
    else:
        happened = Lost(turn=opened.turn, attempt=opened.attempt, reason="stalled", at=AT)
    done = transition(state.session, happened)
    fence = _fence(trace, name)
    await trace.both("commit", commit_of(state, done, happened, now=AT, fence=fence))


async def _lapse(trace: Trace) -> None:
    name = trace.name
    if await trace.state(name) is not None:
        for backend in trace.backends:
            await backend.lapse(name)


async def _hold(trace: Trace) -> None:
    name = trace.name
    leases = [(each, _fence(trace, each)) for each in NAMES]
    await trace.both("renew", leases, LONG_MS)
    if trace.draw.random() < 0.3:
        await trace.both("release", name, _fence(trace, name))


async def _look(trace: Trace) -> None:
    name, draw = trace.name, trace.draw
    await trace.both("read", name, draw.choice(trace.heads[name]), draw.choice((1, 5, 500)))
    state = await trace.state(name)
    (pulse, _) = await trace.both("pulse", [name, OTHER])
    if state is not None and pulse.head != state.head:  # words since the lease was renewed
        opened = state.session.open
        assert opened is not None
        assert opened.speaker == "interviewer"
        assert pulse.head.seq < state.head.seq
    await trace.both("load", name, seen=draw.choice(trace.heads[name]))
    await trace.both("due", draw.choice((1, 10)))
    await trace.both("unstored", name)


async def _join(trace: Trace) -> None:
    name, draw = trace.name, trace.draw
    await trace.both(
        "join",
        Join(
            id=name,
            slot=draw.choice(("candidate", "transcriber", "observer:x", "")),
            last_event_id=draw.choice((None, EventId(2, 1), *trace.heads[name][-3:])),
            issued=draw.choice((None, AT, AT + draw.randrange(1000))),
            now=AT + draw.randrange(2000),
            nonce=draw.choice("stuvw"),
            age_ms=draw.choice((0, 0, 100, 3_600_000)),
            grace_ms=500,
        ),
    )


async def _store(trace: Trace) -> None:
    name, draw = trace.name, trace.draw
    state = await trace.state(name)
    names = [f"c{n}" for n in range(draw.choice((0, 20, 40)))]
    heads = trace.heads[name][-4:]
    believed = draw.choice((None, state.stored if state else None, *heads))
    await trace.both("mark_stored", name, draw.choice(heads), names, believed=believed)
    await trace.both("enqueue_ledger", name, draw.randbytes(8))
    seen = draw.choice((None, state.version, state.version - 1)) if state else None
    await trace.both("postpone", name, draw.choice((AT, AT + 10**13)), seen)


async def _deliver(trace: Trace) -> None:
    draw, partition = trace.draw, partition_of(trace.name)
    idle, count = draw.choice((0, LONG_MS)), draw.choice((1, 3))
    taken: Sides = await trace.both("take", partition, draw.choice("vw"), count, idle)
    pairs = list(zip(*taken, strict=True))
    known = trace.taken[partition]
    known += pairs
    for pair in (*pairs, *draw.sample(known, min(2, len(known)))):
        if draw.random() < 0.4:
            await trace.both("settle", partition, Sides([entry.id] for entry in pair))
        elif draw.random() < 0.8:
            await trace.both("bury", partition, Sides(pair), "x")


async def _leave(trace: Trace) -> None:
    name, draw = trace.name, trace.draw
    state = await trace.state(name)
    idle = draw.choice((0, LONG_MS))
    await trace.both("park", name, state.version if state else 1, idle, draw.choice((0, LONG_MS)))
    if draw.random() < 0.05:
        await trace.both("erase", name)
    await trace.both("redeem", name, draw.choice("tu"), draw.choice("mn"), 60)


async def _attend(trace: Trace) -> None:
    """Tell who is where, and now and then that one of the missing is missing."""
    draw = trace.draw
    told = {
        partition_of(name): [Attendant(name, draw.random() < 0.6, draw.choice((0, 5_000)))]
        for name in NAMES
    }
    lapse, limit = draw.choice((0, 0, LONG_MS)), 10
    found: Sides = await trace.both("attend", told, lapse, limit)
    seen = [{n: at for each in side for n, at in each.lapsed} for side in found]
    name = trace.name
    state = await trace.state(name)
    if state is None or name not in seen[0] or draw.random() < 0.3:
        return
    left = Left(since=AT, grace_ms=LONG_MS, at=AT + 1)
    late = draw.choice((0, 0, 1))
    commits = [
        commit_of(state, transition(state.session, left), left, now=AT, seen=side[name] - late)
        for side in seen
    ]
    await trace.both("commit", Sides(commits))


async def _arrive(trace: Trace) -> None:
    state = await trace.state(trace.name)
    if state is not None:
        arrived = Arrived(at=AT + 2)
        done = transition(state.session, arrived)
        if done.effects:
            await trace.both("commit", commit_of(state, done, arrived, now=AT))


async def _choke(trace: Trace) -> None:
    twin, real = trace.backends
    async with twin.full(), real.full():
        await trace.draw.choice((_command, _append, _end_turn, _store, _create, _deliver))(trace)


STEPS_DRAWN: dict[Step, int] = {
    _create: 3,
    _command: 10,
    _repeat: 3,
    _acquire: 6,
    _append: 12,
    _speak: 6,
    _end_turn: 8,
    _lapse: 2,
    _hold: 3,
    _look: 3,
    _join: 3,
    _store: 3,
    _deliver: 3,
    _leave: 2,
    _attend: 3,
    _arrive: 1,
    _choke: 1,
}


@pytest.mark.parametrize("number", range(TRACES))
async def test_twin_and_server_answer_alike(real: RedisBackend, number: int) -> None:
    seed = SEED + number
    print(f"VIVA_TRACE_SEED={seed}")  # noqa: T201  # pytest shows it where the trace fails
    draw = random.Random(seed)
    trace = Trace(TwinBackend(), real, draw)
    await trace.state(NAME)  # loads the functions, which a server without memory would refuse
    for _ in range(STEPS):
        (step,) = draw.choices(tuple(STEPS_DRAWN), tuple(STEPS_DRAWN.values()))
        await step(trace)
    for name in NAMES:
        await trace.both("read", name, ORIGIN, 5_000)
        await trace.state(name)
    assert trace.counts.total() > STEPS
    COMPARED.update(trace.counts)
