"""What the tests of the interviewer share: a clock, a ledger, requests, a scripted model."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
from msgspec import Struct

from ai.budget import Budget
from ai.build import assemble
from ai.chunks import ChatReader, Reader, ResponsesReader
from ai.handles import ResponsePosition
from ai.http.body import Chunks, pumped
from ai.interviewer import Interviewer
from ai.provider import Body, Prompt
from ai.settings import AiSettings
from ai.speech import TurnRequest
from protocol.ledger import LedgerEntry
from protocol.plan import Plan
from protocol.scalars import Kind, Outcome, Source, Speaker
from protocol.session import Turn
from protocol.text import sha256

BANK_TEXT = "Tell me about a time when you changed your mind."

Step = bytes | float | Exception
"""What a scripted stream does: give bytes, wait seconds, break."""


class FixedClock:
    """The loop's time, a Unix time that runs along, and the chance it was given."""

    def __init__(self, chance: float = 0.5) -> None:
        self.chance = chance
        self._named = 0

    def now(self) -> int:
        return round(1_800_000_000_000 + self.monotonic() * 1000)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def random(self) -> float:
        return self.chance

    def nonce(self) -> str:
        self._named += 1
        return f"n{self._named}"


class Rows:
    """A ledger sink that keeps its rows."""

    def __init__(self) -> None:
        self.rows: list[LedgerEntry] = []

    def record(self, entry: LedgerEntry) -> None:
        self.rows.append(entry)

    @property
    def ends(self) -> list[tuple[str, str]]:
        return [(row.outcome, row.code) for row in self.rows]


class ScriptedCall(Struct):
    """How one call goes: waits, is refused or accepted, then does its steps."""

    steps: Sequence[Step] = ()
    refused: Exception | None = None
    open_delay_s: float = 0.0
    closed: bool = False
    position: ResponsePosition | None = None


@asynccontextmanager
async def _stream(call: ScriptedCall) -> AsyncGenerator[Chunks]:
    try:
        await asyncio.sleep(call.open_delay_s)
        if call.refused is not None:
            raise call.refused
        async with pumped(_chunks(call.steps)) as chunks:
            yield chunks
    finally:
        call.closed = True


async def _chunks(steps: Sequence[Step]) -> AsyncIterator[bytes]:
    for step in steps:
        if isinstance(step, bytes):
            yield step
        elif isinstance(step, Exception):
            raise step
        else:
            await asyncio.sleep(step)


class ScriptedModel:
    """A source of completions that does what it is told, call after call; the last repeats."""

    def __init__(self, *calls: ScriptedCall, stored: bool = False) -> None:
        self._plan = calls
        self.stored = stored
        self.calls: list[ScriptedCall] = []
        self.prompts: list[Prompt] = []
        self.forgotten: list[str] = []
        self.closed = False

    def create(self, prompt: Prompt) -> tuple[Body, Reader]:
        self.prompts.append(prompt)
        reader = ResponsesReader(strict=True) if self.stored else ChatReader()
        return self._next(None), reader

    def take_up(self, position: ResponsePosition) -> tuple[Body, Reader]:
        reader = ResponsesReader(
            response_id=position.response_id, after=position.sequence, strict=True
        )
        return self._next(position), reader

    async def forget(self, response_id: str) -> bool:
        self.forgotten.append(response_id)
        return True

    async def aclose(self) -> None:
        self.closed = True

    def _next(self, position: ResponsePosition | None) -> Body:
        script = self._plan[min(len(self.calls), len(self._plan) - 1)]
        call = ScriptedCall(script.steps, script.refused, script.open_delay_s, position=position)
        self.calls.append(call)
        return _stream(call)


def event(data: Any) -> bytes:
    """Return ``data`` as a server-sent event."""
    return b"data: " + (data if isinstance(data, bytes) else msgspec.json.encode(data)) + b"\n\n"


def delta(text: str) -> bytes:
    """Return a Chat Completions chunk with text."""
    return event({"choices": [{"index": 0, "delta": {"content": text}}]})


FINISH = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
USAGE = event(
    {
        "choices": [],
        "usage": {
            "prompt_tokens": 1000,
            "completion_tokens": 20,
            "prompt_tokens_details": {"cached_tokens": 600},
        },
    }
)
DONE = event(b"[DONE]")


def chat(*texts: str) -> ScriptedCall:
    """Return a whole, healthy Chat Completions stream."""
    return ScriptedCall([*map(delta, texts), FINISH, USAGE, DONE])


def turn(
    number: int,
    speaker: Speaker,
    kind: Kind,
    text: str,
    *,
    question_id: str | None = None,
    outcome: Outcome = "final",
    source: Source | None = None,
    unheard: str = "",
) -> Turn:
    """Return a finished turn."""
    return Turn(
        turn=number,
        speaker=speaker,
        kind=kind,
        question_id=question_id,
        text=text,
        sha256=sha256(text),
        outcome=outcome,
        source=source,
        started_at=0,
        ended_at=0,
        unheard=unheard,
    )


PLAN = Plan(type="technical", role="Backend engineer")
REQUEST = TurnRequest(
    interview_id="0190f7c2-0000-7000-8000-000000000001",
    user_id="u1",
    turn=3,
    attempt=1,
    kind="question",
    question_id="core-1",
    phase="core",
    plan=PLAN,
    turns=(
        turn(1, "interviewer", "question", "What brings you here?", question_id="warmup"),
        turn(2, "candidate", "answer", "I like queues.", question_id="warmup"),
    ),
)


def interviewer(
    model: ScriptedModel | None,
    rows: Rows,
    clock: FixedClock | None = None,
    settings: AiSettings | None = None,
    *,
    budget: Budget | None = None,
) -> Interviewer:
    """Return an interviewer over a scripted model, whose bank has one sentence."""
    return assemble(
        settings or AiSettings(api_key="k", model="gpt-5.4-mini", bank_words_per_second=0),
        rows,
        clock or FixedClock(),
        model,
        lambda _request: BANK_TEXT,
        budget=budget,
    )


class Words(Struct, frozen=True):
    """A piece of a turn that was heard."""

    text: str
    handle: str = ""


class Fallback(Struct, frozen=True):
    """The bank speaks from here on."""

    reason: str


class Low(Struct, frozen=True):
    """The budget runs low."""


class End(Struct, frozen=True):
    """The turn is complete."""

    source: Source


Spoken = Words | Fallback | Low | End


class Recorder:
    """A listener that keeps what it hears, and gives it on as it comes."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Spoken | None] = asyncio.Queue()

    def words(self, text: str, handle: str) -> None:
        assert text
        self.heard.put_nowait(Words(text, handle))

    async def fallback(self, reason: str) -> None:
        self.heard.put_nowait(Fallback(reason))

    async def low(self) -> None:
        self.heard.put_nowait(Low())


async def spoken(speaker: Interviewer, request: TurnRequest = REQUEST) -> AsyncGenerator[Spoken]:
    """Give what the interviewer says as it comes; closing this cancels the turn."""
    recorder = Recorder()
    task = asyncio.create_task(speaker.speak(request, recorder))
    task.add_done_callback(lambda _: recorder.heard.put_nowait(None))
    try:
        while (item := await recorder.heard.get()) is not None:
            yield item
        yield End(task.result())
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def listen(speaker: Interviewer, request: TurnRequest = REQUEST) -> list[Spoken]:
    """Return all that the interviewer says."""
    async with aclosing(spoken(speaker, request)) as speech:
        return [item async for item in speech]


def text_of(items: Sequence[Spoken]) -> str:
    """Return the words as one text."""
    return "".join(item.text for item in items if isinstance(item, Words))
