"""A simulated user: what it counts while connections fail, break and come back."""

import asyncio
import random
from typing import Any

import msgspec
import pytest

from loadtest.load.api import Api, ApiError, Reply
from loadtest.load.crowd import AFTER_S, AWAY_S, Crowd
from loadtest.load.interview import Interview
from loadtest.load.keys import Keys
from loadtest.load.person import LIVE_S, NEVER, Person
from loadtest.load.scenario import Scenario, Script, Strike, Users
from protocol.closes import Close
from tests.support.virtual_time import run_virtual

SCENARIO = Scenario(users=Users(count=1, voice=0, quiet=1), script=Script(again=False))
LOST = 1006
Connection = tuple[float, bool, float, int]
"""How long until it is `live`, whether it is, how long it lasts then, and how it ends."""


class Answers(Api):
    """In place of the API: creations fail until the list is empty."""

    def __init__(self, *failures: int, takes_s: float = 0.5) -> None:
        super().__init__(["http://test"])
        self.failures = list(failures)
        self.takes_s = takes_s

    async def ask(
        self, place: int, method: str, path: str, headers: bytes, body: Any = None
    ) -> Reply:
        del place, method, headers, body
        await asyncio.sleep(self.takes_s)
        if self.failures:
            raise ApiError(path, self.failures.pop())
        return Reply(201, msgspec.json.encode({"id": "i", "ticket": "t", "turns": []}))


def visited(
    monkeypatch: pytest.MonkeyPatch,
    *connections: Connection,
    answers: Api | None = None,
    scenario: Scenario = SCENARIO,
    until_s: float = 1000.0,
    closes: bool = False,
    connects: bool = False,
) -> Crowd:
    """Return what a user's crowd counted over these connections, the last of which is over.

    With ``closes`` it is sent away when the time is over, while its connection still lasts; with
    ``connects`` it opens its own.
    """
    left = list(connections)
    crowds: list[Crowd] = []

    async def connection(person: Person, interview: Interview, path: str) -> int:
        assert path == "/i"
        if not left:
            interview.finish()
            return NEVER
        wait_s, live, lasts_s, code = left.pop(0)
        person.opened = crowds[0].now()
        await asyncio.sleep(wait_s)
        if live:
            interview.joined()
            await asyncio.sleep(lasts_s)
        return code

    if not connects:
        monkeypatch.setattr(Person, "_connection", connection)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        crowd = Crowd(scenario, loop.time())
        crowd.now = loop.time
        crowds.append(crowd)
        person = Person(crowd, answers or Answers(), Keys(urls=["http://test"], token="t"), 1)
        visit = asyncio.create_task(person.run(crowd.now()))
        await asyncio.wait((visit,), timeout=until_s)
        crowd.waits()
        crowd.settle()
        if closes:
            crowd.close()
            await asyncio.wait((visit,), timeout=until_s)
        if visit.done():
            visit.result()
        visit.cancel()
        await asyncio.gather(visit, return_exceptions=True)

    run_virtual(main())
    return crowds[0]


def seconds(crowd: Crowd, name: str) -> list[float]:
    return [us / 1e6 for us in crowd.tally.latencies.many(name)]


def test_who_is_refused_again_and_again_has_been_waiting_since_the_connection_broke(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = (5.0, False, 0.0, NEVER)
    crowd = visited(
        monkeypatch, (1.0, True, 10.0, LOST), refused, refused, refused, (2.0, True, 1.0, LOST)
    )
    assert seconds(crowd, "arrival") == [pytest.approx(1.5, abs=0.01)]  # its creation included
    (back,) = seconds(crowd, "back")
    assert back > 17
    assert seconds(crowd, "join") == [1.0, 2.0]
    assert crowd.tally.counts["reconnects"] == 1


def test_who_never_was_in_arrives_when_it_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = (5.0, False, 0.0, NEVER)
    crowd = visited(monkeypatch, refused, refused, (1.0, True, 1.0, LOST))
    (arrival,) = seconds(crowd, "arrival")
    assert arrival > 11
    assert seconds(crowd, "back") == []
    assert crowd.tally.counts["reconnects"] == 0


def test_who_waits_to_be_let_in_when_the_run_ends_counts_with_its_wait_so_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd = visited(monkeypatch, (500.0, False, 0.0, NEVER), until_s=25)
    assert seconds(crowd, "arrival") == [pytest.approx(25)]


def test_an_interview_that_could_not_be_created_is_late_by_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    staying = msgspec.structs.replace(SCENARIO, script=Script(again=True))
    crowd = visited(
        monkeypatch,
        (1.0, True, 90.0, LOST),
        answers=Answers(503, 503),
        scenario=staying,
        until_s=60,
    )
    assert seconds(crowd, "arrival") == [pytest.approx(1.0 + 3 * 0.5 + 2 * 1.0, abs=0.01)]


def test_who_could_create_nothing_and_will_not_try_again_has_waited_in_vain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd = visited(monkeypatch, answers=Answers(503, takes_s=7.0), until_s=60)
    assert seconds(crowd, "arrival") == [pytest.approx(7.0)]
    assert seconds(crowd, "create") == [pytest.approx(7.0)]


def test_who_can_still_create_nothing_when_the_run_ends_counts_once_with_its_wait_so_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    staying = msgspec.structs.replace(SCENARIO, script=Script(again=True))
    failing = Answers(*[503] * 99)
    crowd = visited(monkeypatch, answers=failing, scenario=staying, until_s=25, closes=True)
    assert seconds(crowd, "arrival") == [pytest.approx(25)]
    assert seconds(crowd, "create") == [], "each of them failed at once"


def test_an_interview_that_is_created_when_the_time_is_over_is_late_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd = visited(
        monkeypatch, (1.0, True, 9.0, LOST), answers=Answers(takes_s=30.0), until_s=25, closes=True
    )
    assert seconds(crowd, "arrival") == [pytest.approx(25)]


def test_who_is_not_to_come_back_and_never_was_in_has_waited_in_vain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd = visited(monkeypatch, (40.0, False, 0.0, Close.FORBIDDEN), until_s=60, closes=True)
    assert seconds(crowd, "arrival") == [pytest.approx(40.5)]
    crowd = visited(monkeypatch, (2.0, True, 9.0, Close.FORBIDDEN), until_s=60, closes=True)
    assert seconds(crowd, "arrival") == [pytest.approx(2.5)]


class NoTickets(Answers):
    """Creates interviews alone."""

    async def ask(
        self, place: int, method: str, path: str, headers: bytes, body: Any = None
    ) -> Reply:
        if path.endswith("/tickets"):
            self.failures.append(503)
        return await super().ask(place, method, path, headers, body)


def test_a_ticket_that_fails_has_taken_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = visited(monkeypatch, answers=NoTickets(takes_s=5.0), until_s=10.1, connects=True)
    assert seconds(crowd, "ticket") == [pytest.approx(5.0)]
    assert seconds(crowd, "join") == []


def test_a_socket_that_cannot_be_opened_has_taken_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(person: Person, *_: object) -> None:
        person.opened = asyncio.get_running_loop().time()
        await asyncio.sleep(9.0)
        raise TimeoutError

    monkeypatch.setattr(Person, "_open", failing)
    crowd = visited(monkeypatch, until_s=0.5 + 0.5 + 9.0 + 0.1, connects=True)
    assert seconds(crowd, "join") == [pytest.approx(9.0)]


class Silent:
    """In place of a socket on which nobody speaks."""

    open = True

    def __init__(self, interview: Interview) -> None:
        self._interview = interview

    def send(self, payload: bytes) -> None:
        pass

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        self.open = False
        self._interview.closed(LOST)


@pytest.mark.parametrize(("closed_after_s", "waited_s"), [(3.0, 3.0), (999.0, LIVE_S), (0.5, None)])
def test_a_socket_that_is_never_live_has_taken_so_long(
    monkeypatch: pytest.MonkeyPatch, closed_after_s: float, waited_s: float | None
) -> None:
    async def opened(person: Person, interview: Interview, _: str) -> Silent:
        loop = asyncio.get_running_loop()
        person.opened = loop.time()
        loop.call_later(closed_after_s, interview.closed, LOST)
        return Silent(interview)

    monkeypatch.setattr(Person, "_open", opened)
    until_s = 0.5 + 0.5 + min(closed_after_s, LIVE_S) + 0.01
    crowd = visited(monkeypatch, until_s=until_s, connects=True)
    assert seconds(crowd, "join") == ([] if waited_s is None else [pytest.approx(waited_s)])


def test_who_is_still_away_when_the_run_ends_was_locked_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def errors(until_s: float) -> int:
        crowd = visited(
            monkeypatch, (1.0, True, 10.0, LOST), (500.0, True, 1.0, LOST), until_s=until_s
        )
        return crowd.tally.errors["away"]

    assert errors(11.5 + AWAY_S + 4 - 1) == 0
    assert errors(11.5 + AWAY_S + 4 + 1) == 1


@pytest.mark.parametrize(("after_s", "errors"), [(AFTER_S - 1, 0), (AFTER_S + 1, 1)])
def test_a_killed_instance_excuses_what_breaks_for_a_while(
    monkeypatch: pytest.MonkeyPatch, after_s: float, errors: int
) -> None:
    struck = msgspec.structs.replace(SCENARIO, strike=Strike(at_s=5.0))
    lasting = 5.0 + after_s - 1.5  # from when it is live
    crowd = visited(monkeypatch, (1.0, True, lasting, LOST), scenario=struck)
    assert crowd.tally.errors[f"closed {LOST}"] == errors


def test_an_interview_that_ends_before_it_is_stored_is_unchecked_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Interview, "settled", False)
    monkeypatch.setattr(Interview, "begun", True)
    for crowd in (
        visited(monkeypatch, (1.0, True, 1.0, LOST)),
        visited(monkeypatch, (1.0, True, 90.0, LOST), until_s=60, closes=True),
    ):
        assert crowd.tally.counts["unchecked"] == 1
        assert crowd.tally.counts["transcripts"] == 0


@pytest.mark.parametrize("begun", [False, True])
def test_what_was_not_answered_is_an_error_whoever_reads_a_transcript(
    monkeypatch: pytest.MonkeyPatch, *, begun: bool
) -> None:
    monkeypatch.setattr(Interview, "unanswered", ["answer.submit"])
    monkeypatch.setattr(Interview, "settled", False)
    monkeypatch.setattr(Interview, "begun", begun)
    unread = msgspec.structs.replace(SCENARIO, transcripts=0.0)
    crowd = visited(monkeypatch, (1.0, True, 1.0, LOST), scenario=unread)
    assert crowd.tally.errors["unanswered"] == 1
    assert crowd.tally.counts["unchecked"] == 1


def dropping(monkeypatch: pytest.MonkeyPatch, after_s: float, *, again: bool = False) -> Scenario:
    """Return a scenario in which each connection is to be broken so long behind its `live`."""

    def drawn(_: random.Random, rate: float) -> float:
        del rate
        return after_s

    monkeypatch.setattr(random.Random, "expovariate", drawn)
    users = msgspec.structs.replace(SCENARIO.users, drops_per_minute=1.0)
    return msgspec.structs.replace(SCENARIO, users=users, script=Script(again=again))


def test_a_connection_is_not_excused_by_a_break_that_was_meant_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd = visited(
        monkeypatch,
        (1.0, True, 10.0, LOST),
        (1.0, True, 15.0, LOST),
        scenario=dropping(monkeypatch, 20.0),
    )
    assert crowd.tally.errors[f"closed {LOST}"] == 2


def test_a_break_that_was_meant_excuses_none_of_the_next_interview(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd = visited(
        monkeypatch,
        (1.0, True, 20.5, Close.OVER),  # it is over before it is seen to break
        (1.0, True, 10.0, LOST),
        scenario=dropping(monkeypatch, 20.0, again=True),
        until_s=60,
    )
    assert crowd.tally.errors[f"closed {LOST}"] == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b"3", b"", b'{"id": "x\xe9"}'])
def test_a_page_in_place_of_an_answer_is_an_error_of_that_request(body: bytes) -> None:
    with pytest.raises(ApiError, match="an answer without id: 200"):
        Reply(200, body).value("id")
