"""Interviews for the suite: made by the state machine, kept by a store."""

from typing import Any

from msgspec.structs import replace

from protocol.codec import event_body
from protocol.commands import AnswerSubmit, Consent, DurableCommand, InterviewStart, SpeechFinal
from protocol.events import TurnDelta
from protocol.ids import ORIGIN
from protocol.machine import Finished, Input, Lost, Received, transition
from protocol.plan import Plan
from protocol.session import Session
from storage.answers import digest_of
from storage.commits import commit_of
from storage.live import (
    Acquired,
    Append,
    Appended,
    Committed,
    LiveStore,
    Restore,
    State,
    partition_of,
)

AT = 1_700_000_000_000
LONG_MS = 600_000
"""A lease that outlasts every test; it lapses when a test says so."""
NAME = "0190a5c0-0000-7000-8000-000000000001"
OTHER = "0190a5c0-0000-7000-8000-000000000002"


def restore_of(name: str = NAME, **changes: Any) -> Restore:
    session = Session(
        interview_id=name,
        user_id="user-1",
        created_at=AT,
        plan=Plan(type="technical", role="Löwenbändiger 🦁"),
    )
    restore = Restore(session=session, version=1, head=ORIGIN, tick=AT + 10**12)
    return replace(restore, **changes)


def start(command_id: str = "start") -> InterviewStart:
    return InterviewStart(id=command_id, consent=Consent(version="1", at=AT))


def answer(command_id: str, text: str = "An answer.") -> AnswerSubmit:
    return AnswerSubmit(id=command_id, text=text)


def spoken(command_id: str) -> SpeechFinal:
    return SpeechFinal(id=command_id, utterance_id=command_id, revision=1, text="Some words.")


async def found(store: LiveStore, name: str = NAME, **options: Any) -> State:
    state = await store.load(name, **options)
    assert isinstance(state, State), state
    return state


async def command(store: LiveStore, given: DurableCommand, name: str = NAME) -> Any:
    """Decide a command and commit it; return what the store says."""
    before = await found(store, name)
    received = Received(command=given, at=AT)
    commit = commit_of(before, transition(before.session, received), received, now=AT + 10**12)
    return await store.commit(replace(commit, command=given.id, digest=digest_of(given)))


async def apply(store: LiveStore, happened: Input, fence: str = "", name: str = NAME) -> Any:
    """Decide an input that is no command and commit it; return what the store says."""
    before = await found(store, name)
    done = transition(before.session, happened)
    return await store.commit(commit_of(before, done, happened, now=AT + 10**12, fence=fence))


async def started(store: LiveStore, name: str = NAME) -> State:
    """An interview that began, with nothing left in its outbox."""
    assert await store.create(restore_of(name)) == "ok"
    assert isinstance(await command(store, start(), name), Committed)
    begun = await store.take(partition_of(name), "beginning", 10, 0)
    await store.settle(partition_of(name), [entry.id for entry in begun])
    return await found(store, name)


async def acquired(store: LiveStore, nonce: str = "a", name: str = NAME) -> Acquired:
    result = await store.acquire(name, nonce, LONG_MS)
    assert isinstance(result, Acquired), result
    return result


def piece(
    fence: str,
    ordinal: int,
    text: str = "word ",
    *,
    attempt: int = 1,
    turn: int = 1,
    name: str = NAME,
    hears: bool = False,
) -> Append:
    delta = TurnDelta(turn=turn, attempt=attempt, offset=0, text=text)
    return Append(
        id=name,
        fence=fence,
        ordinal=ordinal,
        handle=f"h{ordinal}",
        body=event_body(delta),
        hears=hears,
    )


async def said(store: LiveStore, append: Append) -> Any:
    (result,) = await store.append([append])
    return result


async def speak(store: LiveStore, fence: str, count: int, *, turn: int = 1, first: int = 1) -> None:
    for start_at in range(first, first + count, 100):
        stop = min(start_at + 100, first + count)
        results = await store.append([piece(fence, n, turn=turn) for n in range(start_at, stop)])
        assert all(isinstance(result, Appended) for result in results)


def finished(text: str, *, turn: int = 1, attempt: int = 1) -> Finished:
    return Finished(turn=turn, attempt=attempt, text=text, at=AT, source="model")


def lost(*, turn: int = 1, attempt: int = 1) -> Lost:
    return Lost(turn=turn, attempt=attempt, reason="instance_lost", at=AT)
