"""What a client that comes back is sent: merged without a difference, and never too large."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from protocol import events as e
from protocol.codec import encode
from protocol.ids import ORIGIN, EventId
from protocol.limits import LIMITS
from protocol.resume import fit, last_event_id, merge
from protocol.text import sha256
from protocol.view import CorruptTurnError, GapError, View
from tests.support.messages import SEGMENT, SNAPSHOT, TURN

PATIENT = settings(deadline=None, database=None)
URL = "/api/interviews/x/transcript"


def delta(seq: int, offset: int, text: str, *, turn: int = 1, attempt: int = 1) -> e.TurnDelta:
    return e.TurnDelta(id=f"{seq}-9", turn=turn, attempt=attempt, offset=offset, text=text)


# --- merge ---------------------------------------------------------------------------------------

PIECES = st.lists(
    st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(("notice", "reset")),
    max_size=20,
)


def history(pieces: list[str]) -> list[Any]:
    """The events of one turn that is told in pieces, with other events and resets between."""
    started: Any = e.TurnStarted(turn=1, attempt=1, speaker="interviewer", kind="question", at=1)
    events: list[Any] = [started]
    attempt, text = 1, ""
    for piece in pieces:
        if piece == "notice":
            events.append(e.Notice(code="degraded", message="m"))
        elif piece == "reset":
            attempt, text = attempt + 1, ""
            events.append(e.TurnReset(turn=1, attempt=attempt, reason="stalled"))
        else:
            events.append(e.TurnDelta(turn=1, attempt=attempt, offset=len(text), text=piece))
            text += piece
    events.append(
        e.TurnCompleted(
            turn=1, attempt=attempt, length=len(text), sha256=sha256(text), outcome="final", at=2
        )
    )
    return [replace(event, id=f"{seq}-{seq * 7}") for seq, event in enumerate(events, 1)]


def viewed(events: list[e.DurableEvent], head: EventId = ORIGIN) -> View:
    view = View()
    view.head = head
    for event in events:
        assert view.apply(event)
    return view


def same(view: View, other: View) -> bool:
    return vars(view) == vars(other)


@PATIENT
@given(PIECES)
def test_merged_events_are_applied_as_each_of_them(pieces: list[str]) -> None:
    events = history(pieces)
    merged = merge(events)
    assert same(viewed(merged), viewed(events))
    assert merge(merged) == merged
    covered: list[int] = []
    for event in merged:
        seq = int(event.id.partition("-")[0])
        first = event.first if isinstance(event, e.TurnDelta) and event.first else seq
        covered += range(first, seq + 1)
    assert covered == list(range(1, len(events) + 1))
    for before, after in itertools.pairwise(merged):
        both = isinstance(before, e.TurnDelta) and isinstance(after, e.TurnDelta)
        assert not both, "neighbours that could have been one"


@PATIENT
@given(PIECES, st.data())
def test_merging_in_parts_changes_nothing(pieces: list[str], data: st.DataObject) -> None:
    events = history(pieces)
    cut = data.draw(st.integers(0, len(events)))
    assert same(viewed(merge(events[:cut]) + merge(events[cut:])), viewed(events))
    assert same(viewed(merge([*merge(events[:cut]), *events[cut:]])), viewed(events))


def test_only_what_goes_on_is_merged() -> None:
    base = delta(1, 0, "ab")
    for other in (
        delta(2, 3, "c"),
        delta(2, 1, "c"),
        delta(2, 2, "c", turn=2),
        delta(2, 2, "c", attempt=2),
    ):
        assert merge([base, other]) == [base, other]
    assert merge([base, delta(2, 2, "c")]) == [replace(delta(2, 0, "abc"), first=1)]
    assert merge([base]) == [base]
    assert merge([]) == []


@pytest.mark.parametrize(
    "piece", ["x" * 999, "\x01" * 999, "🦁" * 999, '"' * 32_000, "\x01" * 32_768]
)
@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_a_merged_message_is_never_over_the_limit(piece: str, encoding: Any) -> None:
    events: list[e.DurableEvent] = []
    offset = 0
    while offset * 6 < 3 * LIMITS.message_bytes:
        events.append(delta(len(events) + 1, offset, piece))
        offset += len(piece)
    merged: list[Any] = merge(events)
    assert "".join(event.text for event in merged) == piece * len(events)
    assert all(len(encode(event, encoding)) <= LIMITS.message_bytes for event in merged)
    assert 1 < len(merged) < len(events)


# --- fit -----------------------------------------------------------------------------------------


def turns(*sizes: int) -> tuple[e.TurnView, ...]:
    return tuple(
        replace(TURN, turn=number, text="x" * size) for number, size in enumerate(sizes, 1)
    )


def size(snapshot: e.Snapshot) -> int:
    return len(encode(snapshot, "json"))


def bare(*sizes: int) -> e.Snapshot:
    return replace(SNAPSHOT, turns=turns(*sizes), transcript_url=None)


def test_a_snapshot_that_fits_is_left_alone() -> None:
    whole = bare(10, 20, 30)
    assert fit(whole, URL) is whole


@PATIENT
@given(st.lists(st.integers(0, 4_000), max_size=12), st.integers(3_000, 20_000))
def test_the_newest_turns_are_kept_and_the_rest_is_named(sizes: list[int], limit: int) -> None:
    whole = bare(*sizes)
    fitted = fit(whole, URL, limit)
    kept = len(fitted.turns)
    assert fitted.turns == whole.turns[len(sizes) - kept :]
    if kept == len(sizes):
        assert fitted is whole
    else:
        assert fitted == replace(whole, turns=fitted.turns, transcript_url=URL)
        more = replace(fitted, turns=whole.turns[len(sizes) - kept - 1 :])
        assert size(more) > limit - 3_000, "one more turn would have fitted"
    if size(bare()) <= limit - 2_048:
        assert size(fitted) <= limit


def test_a_long_interview_fits_into_its_welcome() -> None:
    whole = bare(*[32_768] * 40)
    welcome = e.Welcome(
        interview_id="0190a5c0-0000-7000-8000-000000000001",
        role="candidate",
        recovered=False,
        head=f"{2**53 - 1}-{2**52 - 1}",
        resume_token="t" * 400,
        heartbeat_ms=15_000,
        limits=LIMITS,
        snapshot=fit(whole, URL),
    )
    assert len(encode(welcome, "json")) <= LIMITS.message_bytes
    assert len(encode(welcome, "msgpack")) <= LIMITS.message_bytes
    assert welcome.snapshot is not None
    assert len(welcome.snapshot.turns) >= 14


# --- last_event_id and the view ------------------------------------------------------------------


@pytest.mark.parametrize("text", [None, "", "x", "1", "1-", "-1-1", "1-1 ", f"{2**53}-1"])
def test_an_id_that_could_be_in_no_log_is_none(text: str | None) -> None:
    assert last_event_id(text) is None


def test_an_id_is_read() -> None:
    assert last_event_id("12-34") == EventId(12, 34)


def test_an_event_is_applied_once() -> None:
    events = history(["a", "b"])
    view = viewed(events)
    before = list(view.turns)
    for event in [*events, *merge(events)]:
        assert not view.apply(event)
    assert view.turns == before


def faults() -> Iterator[tuple[str, list[Any], type[Exception]]]:
    started, first, second, completed = history(["ab", "cd"])
    yield "a hole", [started, second], GapError
    yield "a merged event that begins too late", [started, replace(second, first=3)], GapError
    yield "another turn's delta", [started, replace(first, turn=2)], GapError
    yield "another attempt's delta", [started, replace(first, attempt=2)], GapError
    yield "a wrong offset", [started, replace(first, offset=1)], GapError
    yield "nothing is open", [replace(first, id="1-1")], GapError
    recorded = e.SpeechRecorded(id="1-1", turn=1, utterance_id="u", revision=1, text="t")
    yield "speech without an answer", [recorded], GapError
    yield "speech of another turn", [started, replace(recorded, id="2-2", turn=2)], GapError
    yield "text is short", [started, first, replace(completed, id="3-3")], CorruptTurnError
    yield (
        "another text",
        [started, first, second, replace(completed, sha256="0" * 64)],
        (CorruptTurnError),
    )


@pytest.mark.parametrize(
    ("name", "events", "error"), list(faults()), ids=lambda value: str(value)[:30]
)
def test_what_does_not_continue_is_told_and_changes_nothing(
    name: str, events: list[Any], error: type[Exception]
) -> None:
    view = viewed(events[:-1])
    before = dict(vars(view))
    with pytest.raises(error):
        view.apply(events[-1])
    assert vars(view) == before, name


def test_a_turn_is_cut_to_what_was_kept() -> None:
    started, first, second, completed = history(["ab", "cd"])
    kept = replace(completed, length=3, sha256=sha256("abc"), outcome="interrupted")
    view = viewed([started, first, second, kept])
    assert (view.turns[0].text, view.turns[0].outcome) == ("abc", "interrupted")


def test_a_view_keeps_what_else_it_is_told() -> None:
    report = e.ReportReady(id="4-4", report_id="r")
    failed = e.ReportFailed(id="5-5", code="c", retryable=True)
    view = viewed(
        [
            e.InterviewStarted(id="1-1", at=1),
            e.RatingReady(id="2-2", turn=1, ratings=[]),
            e.InterviewEnded(id="3-3", reason="expired"),
            report,
        ]
    )
    assert (view.status, view.over, view.report) == ("expired", True, report)
    view.apply(failed)
    assert view.report == failed
    view.replace(SNAPSHOT, EventId(9, 9))
    assert (view.head, view.notices) == (EventId(9, 9), [])
    assert view.report == e.ReportFailed(code="unverifiable", retryable=True)
    view.replace(replace(SNAPSHOT, report=None), EventId(9, 9))
    assert view.report is None
    assert view.open is not None
    assert view.open.segments == (SEGMENT,)
