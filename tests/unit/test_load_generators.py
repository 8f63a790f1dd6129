"""A run without processes: what it makes of the readings of its instances."""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import msgspec
import pytest

from loadtest.load import generators
from loadtest.load.course import Course
from loadtest.load.generators import Run
from loadtest.load.keys import Keys
from loadtest.load.result import Result
from loadtest.load.scenario import Machine, Scenario, Server, Strike, Users
from loadtest.load.scrape import Reading
from loadtest.load.target import Target
from loadtest.processes import ProcessError, Served, environment

pytestmark = pytest.mark.anyio

READ_S = 0.02
SCENARIO = Scenario(
    duration_s=0.5,
    users=Users(count=1, ramp_s=0.1),
    server=Server(instances=2),
    machine=Machine(awake=False),
)
Told = Callable[[Sequence[str]], Reading]


class One:
    """In place of an instance."""

    pid = 0

    def __init__(self) -> None:
        self.running = True

    def kill(self) -> None:
        self.running = False

    def last_words(self) -> str:
        return "out of memory"


def _tell(scenario: Scenario, course: Course) -> None:
    del scenario, course


async def ran(
    monkeypatch: pytest.MonkeyPatch, served: Sequence[One], told: Told, scenario: Scenario
) -> Result:
    """Run where the instances tell what ``told`` makes of the addresses that are asked."""

    class Scraped:
        def __init__(self, urls: Sequence[str]) -> None:
            self._urls = urls

        async def read(self) -> Reading:
            return told(self._urls)

        def close(self) -> None:
            pass

    async def generate(run: Run, _: object) -> None:
        await asyncio.sleep(run._scenario.ends_s + 0.1)  # type: ignore[reportPrivateUsage]

    monkeypatch.setattr(generators, "Scraper", Scraped)
    monkeypatch.setattr(generators, "BEGIN_S", 0.0)
    monkeypatch.setattr(generators, "_SCRAPE_S", READ_S)
    monkeypatch.setattr(Run, "_generate", generate)
    target = Target(
        keys=Keys(urls=["http://a", "http://b"], token="t"),
        metrics=["http://a", "http://b"],
        served=[cast("Served", one) for one in served],
    )
    return await Run("mine", scenario, target, _tell).result()


async def test_a_strike_counts_from_what_the_survivors_told_right_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served = [One(), One()]

    def told(urls: Sequence[str]) -> Reading:
        if not served[0].running:  # resumed at once, before anybody could ask
            return Reading(answered=1, reads=25.0)
        return Reading(answered=len(urls), reads=1_000.0 if len(urls) == 2 else 5.0)

    struck = Scenario(
        duration_s=0.5,
        users=SCENARIO.users,
        server=SCENARIO.server,
        machine=SCENARIO.machine,
        strike=Strike(at_s=0.2),
    )
    result = await ran(monkeypatch, served, told, struck)
    assert not served[0].running
    assert result.figures["database_reads"] == 20


async def test_a_reading_that_lacks_an_instance_that_runs_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def told(urls: Sequence[str]) -> Reading:
        asked.append(len(urls))
        answered = 1 + len(asked) % 2  # every second time one of them is too slow
        return Reading(answered=answered, reads=10.0 * answered)

    result = await ran(monkeypatch, [One(), One()], told, SCENARIO)
    assert len(asked) > 5
    assert result.figures["database_reads"] == 0


async def test_the_process_that_runs_it_is_one_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def told(urls: Sequence[str]) -> Reading:
        return Reading(answered=len(urls))

    used = iter([3.0, 3.05])

    def cpu_of(pid: int) -> float:
        assert pid == os.getpid()
        return next(used)

    monkeypatch.setattr(generators.machine, "cpu_of", cpu_of)
    result = await ran(monkeypatch, [], told, SCENARIO)
    assert 0 < result.cores["viva load"] < 0.2


async def test_an_instance_that_ends_by_itself_ends_the_run_with_the_end_of_its_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def told(urls: Sequence[str]) -> Reading:
        return Reading(answered=len(urls))

    served = [One(), One()]
    asyncio.get_running_loop().call_later(0.3, served[1].kill)
    lasting = msgspec.structs.replace(SCENARIO, duration_s=5.0)
    with pytest.RaisesGroup(pytest.RaisesExc(ProcessError, match="out of memory")):
        await ran(monkeypatch, served, told, lasting)


async def test_modules_of_the_users_own_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("server", "loadtest"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    for module in ("server", "loadtest.fakeopenai"):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, "--help"),
            cwd=tmp_path,
            env=environment({}),
            stdout=asyncio.subprocess.PIPE,
        )
        told, _ = await process.communicate()
        assert process.returncode == 0
        assert b"usage" in told


HARNESS = """
import subprocess, sys, time
from loadtest.processes import tied
with subprocess.Popen(tied("-c", "import time; print('up', flush=True); time.sleep(60)")):
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel has to tell of the death")
async def test_a_harness_that_is_killed_leaves_nobody_behind() -> None:
    harness = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HARNESS), env=environment({}), stdout=asyncio.subprocess.PIPE
    )
    assert harness.stdout is not None
    assert await harness.stdout.readline() == b"up\n"
    harness.kill()
    async with asyncio.timeout(10):
        assert await harness.stdout.read() == b""  # which ends when both have ended
    await harness.wait()
