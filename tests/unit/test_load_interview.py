"""A simulated candidate, without a network: what it gives, and what it counts."""

import asyncio
import random
import time
from typing import cast

import msgspec
import pytest

from loadtest.fakeopenai.faults import Fault
from loadtest.load.crowd import Crowd
from loadtest.load.interview import Interview
from loadtest.load.scenario import Provider, Scenario, Script, Users
from loadtest.load.stored import Stored
from loadtest.load.wire import Socket
from loadtest.stamps import stamp
from protocol import events as e
from protocol.client import ClientSession
from protocol.limits import LIMITS
from protocol.text import sha256

pytestmark = pytest.mark.anyio

SCENARIO = Scenario(
    users=Users(count=1, voice=0, msgpack=0),
    script=Script(think_s=0, words=1, words_per_second=1e6, answers=2),
)
SPEAKER = Provider(tokens_per_second=10)
SNAPSHOT = e.Snapshot(
    status="created",
    mode="practice",
    phase="lobby",
    clock=e.ClockView(elapsed_ms=0, remaining_ms=1, running=False),
    plan=e.PlanView(type="behavioral", role="r", duration_minutes=15),
    turns=(),
)


class Line:
    """In place of a socket: keeps what is sent."""

    open = True

    def __init__(self) -> None:
        self.sent: list[dict[str, object]] = []

    def send(self, payload: bytes) -> None:
        self.sent.append(msgspec.json.decode(payload))

    def close(self) -> None:
        self.open = False

    def abort(self) -> None:
        self.open = False

    def of(self, kind: str) -> list[dict[str, object]]:
        return [message for message in self.sent if message["type"] == kind]


class Stage:
    """An interview, and the server's part in it."""

    def __init__(
        self,
        *,
        ending: bool = False,
        stalls: bool = False,
        provider: Provider = SPEAKER,
        own: bool = False,
    ) -> None:
        scenario = msgspec.structs.replace(SCENARIO, provider=provider)
        self.crowd = Crowd(scenario, time.monotonic(), Stored("") if own else None)
        self.crowd.ending = ending
        self.interview = Interview(self.crowd, random.Random(1), quiet=False, stalls=stalls)
        self.session: ClientSession = self.interview.session
        self.seq = 0
        self.line = Line()
        self.connect()

    def connect(self, *, recovered: bool = False) -> None:
        self.line = Line()
        self.interview.attach(cast("Socket", self.line), None if recovered else "ticket")
        head = f"{self.seq}-{self.seq}"
        snapshot = None if recovered else SNAPSHOT
        self.tell(
            e.Welcome(
                interview_id="i", role="candidate", recovered=recovered, head=head,
                resume_token="t", heartbeat_ms=15_000, limits=LIMITS, snapshot=snapshot,
            )
        )  # fmt: skip
        self.tell(e.Live(id=head))

    def tell(self, message: e.ServerMessage) -> None:
        if isinstance(message, e.Event):
            self.seq += 1
            msgspec.structs.force_setattr(message, "id", f"{self.seq}-{self.seq}")
        self.interview.received(msgspec.json.encode(message))

    def accept(self, name: object) -> None:
        head = f"{self.seq}-{self.seq}"
        self.tell(e.Accepted(command_id=str(name), id=head, duplicate=False))

    def ask(self, turn: int = 1) -> None:
        """Have the interviewer say something, and open the answer."""
        self.tell(e.TurnStarted(turn=turn, attempt=1, speaker="interviewer", kind="question", at=1))
        text = stamp()
        self.tell(e.TurnDelta(turn=turn, attempt=1, offset=0, text=text))
        self.tell(
            e.TurnCompleted(
                turn=turn, attempt=1, length=len(text), sha256=sha256(text), outcome="final",
                source="model", at=1,
            )
        )  # fmt: skip
        self.tell(e.TurnStarted(turn=turn + 1, attempt=1, speaker="candidate", kind="answer", at=1))

    async def says(self, kind: str, count: int = 1) -> list[dict[str, object]]:
        for _ in range(200):
            if len(self.line.of(kind)) >= count:
                break
            await asyncio.sleep(0.005)
        return self.line.of(kind)


async def test_it_starts_and_answers_and_counts_what_it_hears() -> None:
    stage = Stage()
    (start,) = stage.line.of("interview.start")
    stage.accept(start["id"])
    stage.ask()
    (submit,) = await stage.says("answer.submit")
    assert str(submit["text"]).startswith("[a1] ")
    counts = stage.crowd.tally.counts
    assert (counts["tokens"], counts["turns"], counts["answers"]) == (1, 1, 0)
    stage.accept(submit["id"])
    assert counts["answers"] == 1
    assert set(stage.interview.accepted) == {"start", "a1"}
    assert set(stage.crowd.tally.latencies.take()) >= {"added", "accepted", "first_words"}
    assert not stage.crowd.tally.errors


async def test_an_answer_on_its_way_is_sent_again_and_no_other_given_in_its_place() -> None:
    stage = Stage()
    stage.ask()
    (submit,) = await stage.says("answer.submit")
    stage.connect(recovered=True)
    (again,) = await stage.says("answer.submit")
    assert again == submit
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert stage.line.of("answer.submit") == [submit]


async def test_what_it_missed_while_away_is_not_a_latency() -> None:
    stage = Stage()
    stage.session.live = False
    stage.ask()
    assert "added" not in stage.crowd.tally.latencies.take()
    assert stage.crowd.tally.counts["tokens"] == 1


async def test_a_gap_is_counted_and_ends_the_connection() -> None:
    stage = Stage()
    stage.ask()
    stage.seq += 1
    stage.tell(e.Notice(code="time_low", message="soon"))
    assert stage.crowd.tally.counts["gaps"] == 1
    assert not stage.line.open


async def test_a_repeated_event_is_counted() -> None:
    stage = Stage()
    stage.ask()
    stage.seq -= 1
    stage.tell(e.Notice(code="time_low", message="soon"))
    assert stage.crowd.tally.counts["repeats"] == 1


async def test_words_that_come_again_are_counted_at_once_each_and_are_no_tokens() -> None:
    stage = Stage()
    stage.tell(e.TurnStarted(turn=1, attempt=1, speaker="interviewer", kind="question", at=1))
    text = stamp()
    stage.tell(e.TurnDelta(turn=1, attempt=1, offset=0, text=text))
    for count in (1, 2, 3):
        stage.seq -= 1
        stage.tell(e.TurnDelta(turn=1, attempt=1, offset=0, text=text))
        counts = stage.crowd.tally.counts
        assert (counts["repeats"], counts["tokens"]) == (count, 1)
    assert len(stage.crowd.added) == 1
    assert stage.crowd.tally.errors["repeats"] == 3


async def test_repeats_count_as_many_as_there_were() -> None:
    stage = Stage()
    stage.ask()
    stage.interview.view.repeats += 2
    stage.seq -= 1
    stage.tell(e.Notice(code="time_low", message="soon"))
    assert stage.crowd.tally.counts["repeats"] == stage.crowd.tally.errors["repeats"] == 3


def _completed(text: str, turn: int = 1) -> e.TurnCompleted:
    return e.TurnCompleted(
        turn=turn,
        attempt=1,
        length=len(text),
        sha256=sha256(text),
        outcome="final",
        source="model",
        at=1,
    )


async def test_a_false_digest_is_counted() -> None:
    stage = Stage()
    stage.tell(e.TurnStarted(turn=1, attempt=1, speaker="interviewer", kind="question", at=1))
    stage.tell(e.TurnDelta(turn=1, attempt=1, offset=0, text="Why?"))
    stage.tell(_completed("Who?"))
    counts = stage.crowd.tally.counts
    assert (counts["corrupt"], counts["gaps"]) == (1, 0)


async def test_the_last_words_of_a_turn_that_are_missing_are_a_gap() -> None:
    stage = Stage()
    stage.tell(e.TurnStarted(turn=1, attempt=1, speaker="interviewer", kind="question", at=1))
    stage.seq += 1
    stage.tell(_completed("Why?"))
    counts = stage.crowd.tally.counts
    assert (counts["corrupt"], counts["gaps"]) == (0, 1)


async def test_a_snapshot_in_place_of_what_was_missed_is_counted() -> None:
    stage = Stage()
    stage.ask()
    assert stage.crowd.tally.counts["snapshots"] == 0
    stage.seq = 0
    stage.connect()
    assert stage.crowd.tally.counts["snapshots"] == 1


async def test_it_leaves_when_what_it_saw_is_stored() -> None:
    stage = Stage()
    (start,) = stage.line.of("interview.start")
    stage.accept(start["id"])
    stage.ask()
    stage.crowd.ending = True
    stage.interview.settle()
    assert not stage.interview.finished
    stage.tell(e.Stored(id=f"{stage.seq}-{stage.seq}"))
    assert stage.interview.finished
    assert not stage.line.open


async def test_a_snapshot_may_be_of_less_than_was_seen() -> None:
    stage = Stage()
    stage.ask()
    stage.seq = 0
    stage.connect()
    stage.accept("start")
    assert stage.interview.settled


async def test_what_comes_behind_its_leaving_need_not_be_stored() -> None:
    stage = Stage(ending=True)
    assert stage.interview.finished
    stage.ask()
    assert stage.interview.settled
    assert stage.crowd.tally.counts["turns"] == 0


async def test_who_comes_when_the_run_is_over_begins_nothing_and_leaves() -> None:
    stage = Stage(ending=True)
    assert stage.line.of("interview.start") == []
    assert stage.interview.finished
    assert not stage.line.open


async def test_a_rejection_is_an_error_unless_it_may_be_sent_again() -> None:
    stage = Stage()
    stage.tell(e.Rejected(command_id="start", code="rate_limited", message="m", retryable=True))
    assert not stage.crowd.tally.errors
    stage.tell(e.Rejected(command_id="start", code="wrong_state", message="m", retryable=False))
    assert stage.crowd.tally.errors == {"rejected wrong_state": 1}


def _waited(stage: Stage, after_s: float) -> dict[str, list[float]]:
    """What is counted as still waited for, in seconds, if the measured time ended then."""
    stage.crowd.tally.latencies.take()
    stage.crowd.guests.add(stage.interview)
    heard: int = stage.interview._heard  # type: ignore[reportPrivateUsage]
    then = (heard / 1e6 or time.monotonic()) + after_s  # however slow this process is
    stage.crowd.now = lambda: then
    stage.crowd.waits()
    names = ("accepted", "first_words", "back", "added")
    many = {name: stage.crowd.tally.latencies.many(name) for name in names}
    return {name: [round(us / 1e6) for us in values] for name, values in many.items() if values}


async def test_what_is_still_waited_for_when_the_measured_time_ends_counts() -> None:
    assert _waited(Stage(), 40) == {"accepted": [40], "first_words": [40]}
    stage = Stage()
    stage.accept("start")
    stage.interview.away_since = time.monotonic()
    assert _waited(stage, 12) == {"first_words": [12], "back": [12]}


async def test_a_wait_that_has_only_begun_does_not_and_none_of_who_stalls() -> None:
    assert _waited(Stage(), 0.5) == {}
    assert _waited(Stage(stalls=True), 40) == {}


def _speaking(stage: Stage, text: str) -> Stage:
    """Have the interviewer begin to speak."""
    stage.accept("start")
    stage.tell(e.TurnStarted(turn=1, attempt=1, speaker="interviewer", kind="question", at=1))
    if text:
        stage.tell(e.TurnDelta(turn=1, attempt=1, offset=0, text=text))
    stage.crowd.tally.latencies.take()
    return stage


async def test_tokens_of_a_stream_that_stands_still_are_waited_for_one_by_one() -> None:
    stage = _speaking(Stage(), stamp())
    waited = _waited(stage, 3.05)["added"]
    assert 20 <= len(waited) <= 22, "all that were due over a second ago, at ten a second"
    assert (waited[0], waited[-1]) == (3, 1)
    assert _waited(_speaking(Stage(), stamp()), 0.9) == {}


async def test_of_a_reply_that_may_have_ended_no_token_is_due() -> None:
    provider = Provider(tokens=12, tokens_per_second=10)
    assert len(_waited(_speaking(Stage(provider=provider), stamp() * 2), 600)["added"]) == 10
    assert _waited(_speaking(Stage(provider=provider), stamp() * 12), 600) == {}


@pytest.mark.parametrize(
    "provider",
    [
        Provider(source="bank"),
        Provider(tokens_per_second=10, faults=(Fault(kind="stall", tokens=5),)),
    ],
)
async def test_of_who_may_be_silent_by_itself_no_token_is_due(provider: Provider) -> None:
    assert _waited(_speaking(Stage(provider=provider), stamp()), 9) == {}


async def test_no_token_is_due_where_none_came_or_none_tells_its_age() -> None:
    assert "added" not in _waited(_speaking(Stage(), ""), 9)
    assert _waited(_speaking(Stage(), "Why?"), 9) == {}
    assert _waited(_speaking(Stage(stalls=True), stamp()), 9) == {}
    answering = Stage()
    answering.accept("start")
    answering.ask()
    assert "added" not in _waited(answering, 9)


@pytest.mark.parametrize("words", ["", "Why not?"])
async def test_no_token_of_the_turn_before_is_due(words: str) -> None:
    stage = Stage()
    stage.accept("start")
    stage.ask()
    stage.tell(_completed("", turn=2))
    stage.tell(e.TurnStarted(turn=3, attempt=1, speaker="interviewer", kind="question", at=1))
    if words:
        stage.tell(e.TurnDelta(turn=3, attempt=1, offset=0, text=words))
    assert "added" not in _waited(stage, 9)


async def test_what_is_due_while_away_is_not_waited_for() -> None:
    stage = _speaking(Stage(), stamp())
    stage.interview.closed(1006)
    stage.session.connection_closed(1006, 0.0)
    assert "added" not in _waited(stage, 9)
    stage = _speaking(Stage(), stamp())
    long_ago = int((time.monotonic() - 60) * 1e6)
    stage.interview._heard = long_ago  # type: ignore[reportPrivateUsage]
    stage.connect(recovered=True)
    assert 10 <= len(_waited(stage, 2.05)["added"]) <= 12


async def test_who_stalls_has_no_latencies_that_end_with_its_reading() -> None:
    stage = Stage(stalls=True)
    stage.accept("start")
    stage.ask()
    (submit,) = await stage.says("answer.submit")
    stage.accept(submit["id"])
    assert stage.crowd.tally.counts["answers"] == 1
    assert stage.crowd.tally.latencies.take().keys().isdisjoint({"accepted", "first_words"})
