"""Reports are drawn by processes of their own, a few at a time; nobody's crowd out the others'."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from protocol.assessment import Report
from protocol.session import Turn
from server.apart import GivenUpError
from server.reporting import drawing
from server.reporting.drawing import (
    AT_ONCE,
    CHILD,
    INSIDE,
    MOST_BYTES,
    PER_USER,
    WALL_S,
    BusyError,
    Drawing,
    drawn,
)
from server.reporting.pdf import report_pdf
from tests.support import reports

pytestmark = pytest.mark.anyio

RATED = reports.rich()


class Press:
    """Draws nothing until it is let; notes how many are drawn at the same time."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.at_once: list[int] = []
        self._drawing = 0

    async def draw(self, report: Report, turns: Sequence[Turn]) -> bytes:
        assert (report, turns) == RATED
        self._drawing += 1
        self.at_once.append(self._drawing)
        try:
            await self.go.wait()
        finally:
            self._drawing -= 1
        return b"a report"


async def refused(draws: Drawing, user: str) -> bool:
    try:
        await asyncio.wait_for(draws.draw(user, *RATED), 0.05)
    except BusyError:
        return True
    except TimeoutError:
        return False
    raise AssertionError("it was drawn")


def asked(draws: Drawing, *users: str) -> list[asyncio.Task[bytes]]:
    return [asyncio.create_task(draws.draw(user, *RATED)) for user in users]


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_two_are_drawn_at_a_time_and_each_is_drawn() -> None:
    press = Press()
    tasks = asked(Drawing(press.draw), *(f"user {n}" for n in range(5)))
    await settled()
    assert press.at_once == [1, 2]
    press.go.set()
    assert await asyncio.gather(*tasks) == [b"a report"] * 5
    assert max(press.at_once) == AT_ONCE == 2


async def test_a_user_has_two_places_and_all_have_so_many() -> None:
    press = Press()
    draws = Drawing(press.draw)
    tasks = asked(draws, *["ann"] * PER_USER)
    await settled()
    assert await refused(draws, "ann")
    tasks += asked(draws, *(f"user {n}" for n in range(INSIDE - PER_USER)))
    await settled()
    assert await refused(draws, "zoe")
    press.go.set()
    await asyncio.gather(*tasks)
    assert await draws.draw("ann", *RATED) == b"a report"


async def test_who_waits_for_long_is_asked_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "WAIT_S", 0.05)
    press = Press()
    draws = Drawing(press.draw)
    tasks = asked(draws, "ann", "bob")
    await settled()
    with pytest.raises(BusyError):
        await draws.draw("zoe", *RATED)
    press.go.set()
    await asyncio.gather(*tasks)


async def test_who_leaves_makes_room() -> None:
    press = Press()
    draws = Drawing(press.draw)
    first, *others = asked(draws, "ann", "bob", "zoe")
    await settled()
    assert press.at_once == [1, 2]
    first.cancel()
    await settled()
    assert press.at_once == [1, 2, 2]
    press.go.set()
    assert await asyncio.gather(*others) == [b"a report"] * 2


async def test_one_that_fails_makes_room() -> None:
    async def broken(_report: Report, _turns: Sequence[Turn]) -> bytes:
        raise ValueError("no such font")

    draws = Drawing(broken)
    for _ in range(AT_ONCE + PER_USER):
        with pytest.raises(ValueError, match="font"):
            await draws.draw("ann", *RATED)


# --- the process ----------------------------------------------------------------------------------


Writes = Callable[[str], Path]


@pytest.fixture
def written(tmp_path: Path) -> Writes:
    """Return what makes a program of some source."""

    def write(source: str) -> Path:
        program = tmp_path / "program.py"
        program.write_text(source, encoding="utf-8")
        return program

    return write


@pytest.mark.parametrize("sample", ["hostile", "rich"])
async def test_the_process_draws_what_would_be_drawn_here(sample: str) -> None:
    report = reports.SAMPLES[sample]()
    paper = await Drawing().draw("ann", *report)
    assert hashlib.sha256(paper).digest() == hashlib.sha256(report_pdf(*report)).digest()


@pytest.mark.parametrize(
    ("source", "wall_s", "reason"),
    [
        ("import time\ntime.sleep(600)", 0.5, "time"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGXCPU)", WALL_S, "exit"),
        (f"print('x' * {MOST_BYTES + 1}, flush=True)\nwhile True: pass", WALL_S, "exit"),
    ],
    ids=["time", "a limit", "length"],
)
async def test_what_takes_too_much_is_given_up(
    written: Writes, source: str, wall_s: float, reason: str
) -> None:
    with capture_logs() as logs, pytest.raises(BusyError):
        await drawn(*RATED, child=written(source), wall_s=wall_s)
    assert [(log["event"], log["reason"]) for log in logs] == [("report given up", reason)]


async def test_a_fault_of_the_program_is_ours(written: Writes) -> None:
    with pytest.raises(GivenUpError) as told:
        await drawn(*RATED, child=written("raise SystemExit(3)"))
    assert told.value.code == 3


async def test_the_processor_and_memory_are_bounded(written: Writes) -> None:
    source = CHILD.read_text(encoding="utf-8").replace("Path(__file__)", f"Path({str(CHILD)!r})")
    limits = "[resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_CPU, resource.RLIMIT_AS)]"
    telling = source.replace("report_pdf(*given)", f"str({limits}).encode()")
    program = written(f"import resource\n{telling}")
    assert await drawn(*RATED, child=program) == b"[30, 536870912]"


def test_whoever_leaves_meanwhile_leaves_no_process_behind(written: Writes, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = written(
        f"import os, pathlib, time\npathlib.Path({str(note)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(600)"
    )

    async def story() -> None:
        task = asyncio.create_task(drawn(*RATED, child=program))
        while not note.exists() or not note.read_text():  # noqa: ASYNC110  # a file of another's
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(story(), 30))
    assert not Path(f"/proc/{note.read_text()}").exists()
