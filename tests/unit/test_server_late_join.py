"""What a client learns that joins for the first time when everything is over."""

import msgspec
from msgspec.structs import replace

from protocol import commands as c
from protocol.events import ReportFailed, ReportReady, ReportView, Snapshot
from protocol.ids import EventId
from protocol.machine import Received, Reported, transition
from protocol.session import Session, snapshot
from protocol.view import View
from tests.support.interviews import session

AT = 1_795_000_000_000


def _ended() -> Session:
    end = Received(command=c.InterviewEnd(id="c-1"), at=AT)
    return transition(session(), end).session


def test_the_snapshot_of_an_ended_interview_tells_what_became_of_the_report() -> None:
    failed = Reported(code="unavailable", retryable=True, at=AT)
    told = snapshot(transition(_ended(), failed).session, (), "", AT)
    view = View()
    view.replace(msgspec.json.decode(msgspec.json.encode(told), type=Snapshot), EventId(9, 9))
    assert view.over
    assert view.report == ReportFailed(code="unavailable", retryable=True)


def test_a_report_that_is_ready_survives_storage_and_the_snapshot() -> None:
    ready = ReportView(report_id="r-1")
    kept = msgspec.json.decode(msgspec.json.encode(replace(_ended(), report=ready)), type=Session)
    told = snapshot(kept, (), "", AT)
    assert msgspec.to_builtins(told)["report"] == {"report_id": "r-1"}
    view = View()
    view.replace(told, EventId(9, 9))
    assert view.report == ReportReady(report_id="r-1")


def test_before_the_end_nothing_is_said_of_a_report() -> None:
    assert b"report" not in msgspec.json.encode(snapshot(session(), (), "", AT))


def test_sessions_and_snapshots_from_before_are_read() -> None:
    ready = Reported(report_id="r-1", at=AT)
    old = msgspec.to_builtins(transition(_ended(), ready).session)
    del old["report"]
    assert msgspec.convert(old, Session).report is None
    bare = msgspec.to_builtins(snapshot(transition(_ended(), ready).session, (), "", AT))
    del bare["report"]
    assert msgspec.convert(bare, Snapshot).report is None
