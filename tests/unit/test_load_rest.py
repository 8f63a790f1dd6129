"""Requests beside the interviews: which of them count, and how long they took."""

import asyncio
from typing import Any

import msgspec
import pytest

from loadtest.load import rest
from loadtest.load.api import Api, ApiError, Reply
from loadtest.load.crowd import Crowd
from loadtest.load.keys import Keys
from loadtest.load.rest import Rest
from loadtest.load.scenario import Rest as Mix
from loadtest.load.scenario import Scenario, Users
from tests.support.virtual_time import run_virtual

SCENARIO = Scenario(
    duration_s=30,
    users=Users(ramp_s=10),
    rest=Mix(per_second=10, users=1, interviews=1, mix={"me": 1.0}),
)


class Answers(Api):
    """In place of the API: takes so long to create and to read, and reads may fail."""

    def __init__(self, *, create_s: float = 0.0, read_s: float = 0.0, status: int = 200) -> None:
        super().__init__(["http://test"])
        self.create_s, self.read_s, self.status = create_s, read_s, status

    async def ask(
        self, place: int, method: str, path: str, headers: bytes, body: Any = None
    ) -> Reply:
        del place, headers, body
        await asyncio.sleep(self.create_s if method == "POST" else self.read_s)
        if method == "GET" and self.status != 200:
            raise ApiError(path, self.status)
        return Reply(200, msgspec.json.encode({"id": "i"}))


def asked(answers: Answers, until_s: float | None = None) -> Crowd:
    """Return what was counted, at the end of it or up to a moment."""
    crowds: list[Crowd] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        crowd = Crowd(SCENARIO, loop.time())
        crowd.now = loop.time
        crowds.append(crowd)
        requests = Rest(crowd, answers, Keys(urls=["http://test"], token="t"), 0, 1)
        running = asyncio.create_task(requests.run())
        await asyncio.wait((running,), timeout=until_s)
        if until_s is None:
            running.result()
        requests.waits()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run_virtual(main())
    return crowds[0]


def took(crowd: Crowd) -> list[float]:
    return [us / 1e6 for us in crowd.tally.latencies.many("rest")]


def test_each_request_counts_from_when_it_was_due() -> None:
    crowd = asked(Answers(read_s=0.25))
    assert 200 < crowd.tally.counts["requests"] == len(took(crowd))
    assert {round(value, 3) for value in took(crowd)} == {0.25}
    assert not crowd.tally.errors


def test_one_that_is_not_answered_counts_with_the_time_that_was_waited() -> None:
    crowd = asked(Answers(read_s=20.0, status=0))
    assert crowd.tally.counts["requests"] == 0
    assert len(took(crowd)) == crowd.tally.errors["me: http: no answer"] > 200
    assert min(took(crowd)) == pytest.approx(20.0)


@pytest.mark.parametrize("status", [503, 0])
def test_what_fails_at_once_does_not_make_the_others_look_quick(status: int) -> None:
    crowd = asked(Answers(status=status))
    assert crowd.tally.errors.total() > 200
    assert took(crowd) == []
    assert crowd.tally.counts["requests"] == 0


def test_what_is_under_way_when_the_measured_time_ends_counts_with_its_time_so_far() -> None:
    crowd = asked(Answers(read_s=100.0), until_s=SCENARIO.ends_s)
    assert crowd.tally.counts["requests"] == 0
    assert len(took(crowd)) > 200
    assert 1.0 <= min(took(crowd)) < max(took(crowd)) < 40


@pytest.mark.parametrize(("create_s", "some"), [(9.0, False), (14.0, True)])
def test_what_is_measured_and_not_begun_is_an_error(create_s: float, some: bool) -> None:  # noqa: FBT001
    crowd = asked(Answers(create_s=create_s))
    missing = crowd.tally.errors["rest: not begun"]
    assert bool(missing) == some
    assert crowd.tally.counts["requests"] + missing > 200


def test_too_many_at_once_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "WAITING", 5)
    crowd = asked(Answers(read_s=2.0))
    assert crowd.tally.errors["rest: too many under way"] > 50
    assert max(took(crowd)) == pytest.approx(2.0, abs=0.01)


def test_half_of_the_transcripts_are_of_interviews_that_were_had() -> None:
    paths: list[str] = []

    class Noted(Answers):
        async def ask(
            self, place: int, method: str, path: str, headers: bytes, body: Any = None
        ) -> Reply:
            if method == "GET":
                paths.append(path)
            return await super().ask(place, method, path, headers, body)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        mix = Mix(per_second=10, users=1, interviews=1, mix={"transcript": 1.0, "read": 1.0})
        crowd = Crowd(msgspec.structs.replace(SCENARIO, rest=mix), loop.time())
        crowd.now = loop.time
        loop.call_later(20, crowd.had.append, (b"", "had"))
        await Rest(crowd, Noted(), Keys(urls=["http://test"], token="t"), 0, 1).run()

    run_virtual(main())
    transcripts = [path.split("/")[3] for path in paths if path.endswith("/transcript")]
    first = transcripts.index("had")
    assert set(transcripts[:first]) == {"i"}
    had = transcripts[first:].count("had")
    assert 0.3 < had / len(transcripts[first:]) < 0.7
    assert {path.split("/")[3] for path in paths if not path.endswith("/transcript")} == {"i"}
