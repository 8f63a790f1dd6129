"""`viva load` against real servers: what holds, what breaks, and what is caught on the wire."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from loadtest.awake import awake
from loadtest.commands.ending import TERMINATED
from loadtest.load.result import Result, read
from tests.e2e.instances import ROOT, SECRET, Instance, clean_environment
from tests.e2e.tampering import How, Tampering

pytestmark = pytest.mark.anyio

CALM = "machine = { busy = 1.0, stolen = 1.0, late_ms = 100_000, awake = false }\n"
"""Other tests run beside this one: how busy they make the machine does not matter here."""
BRIEF = """
duration_s = 4
settle_s = 20
users = { count = 6, ramp_s = 1, voice = 0.5, msgpack = 0, drops_per_minute = 6, away_s = 0.3 }
script = { answers = 1, think_s = 0.1, words = 8, words_per_second = 20 }
rest = { per_second = 5, users = 1, interviews = 1 }
provider = { tokens = 15, tokens_per_second = 60, first_token_s = 0.05 }
at_most = { errors = 0, gaps = 0, repeats = 0, corrupt = 0, lost = 0, doubled = 0, unchecked = 0 }
at_least = { interviews = 4, answers = 3, transcripts = 3, tokens = 45, requests = 3 }
"""


async def viva_load(
    directory: Path,
    text: str,
    *options: str,
    environment: Mapping[str, str] | None = None,
    calm: str = CALM,
) -> tuple[int, str, Result]:
    """Run it; its exit code, what it told, and its result."""
    scenario, result = directory / "brief.toml", directory / "result.json"
    scenario.write_text(calm + text)
    command = ("load", str(scenario), "--json", str(result), *options)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server", *command),
        cwd=ROOT,
        env={**clean_environment(), **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(100):
        out, err = await process.communicate()
    told = out.decode() + err.decode()
    assert result.exists(), told
    return process.returncode or 0, told, read(result)


async def test_a_run_with_servers_of_its_own_holds(tmp_path: Path) -> None:
    html = tmp_path / "page.html"
    calm = CALM.replace("awake = false", "awake = true")
    code, told, result = await viva_load(tmp_path, BRIEF, "--html", str(html), calm=calm)
    assert (code, result.verdict) == (0, "held"), told
    with awake() as able:
        assert result.awake is able
    assert result.latencies["added"]["count"] > 50
    assert result.figures["server_memory_mb"] > 20
    assert result.figures["stored"] >= result.figures["transcripts"] > 0
    assert "in PostgreSQL" in told
    assert result.provider["tokens"] >= result.figures["tokens"] > 0
    assert html.read_text(encoding="utf-8").count("<svg width") >= 6


async def test_a_deployment_is_loaded_again_and_again_by_fewer_than_the_scenario_names(
    start: Callable[..., Instance], tmp_path: Path
) -> None:
    instance = start(VIVA_BANK_PACE="60", VIVA_MAX_INTERVIEWS_PER_USER="1")
    demanding = BRIEF.replace("at_most = { ", "at_most = { added.p99_ms = 50, ").replace(
        "script = {", "script = { again = false,"
    )
    options = ("--url", instance.url, "--users", "2")
    for _ in range(2):  # users of the first time have had their one interview
        code, told, result = await viva_load(
            tmp_path, demanding, *options, environment={"VIVA_JWT_SECRET": SECRET}
        )
        assert (code, result.verdict) == (0, "held"), told
        assert result.figures["interviews"] == 2
        assert result.awake is False
        assert result.figures["server_memory_mb"] > 20
        aside = {bound.figure for bound in result.bounds if bound.aside}
        assert aside == {"added.p99_ms", "interviews", "answers", "transcripts", "tokens"}
        assert "aside   added.p99_ms: no fake provider" in told


def _of(directory: Path) -> list[str]:
    """The processes whose temporary files are in there."""
    held = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [line.replace(b"\0", b" ").decode() for line in held if str(directory).encode() in line]


async def test_a_run_that_is_ended_leaves_nothing_behind(tmp_path: Path) -> None:
    scenario = tmp_path / "brief.toml"
    scenario.write_text(CALM + BRIEF.replace("duration_s = 4", "duration_s = 60"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server", "load", str(scenario)),
        cwd=ROOT,
        env={**clean_environment(), "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while b" users " not in await process.stderr.readline():
            pass
        assert len(_of(tmp_path)) > 1
        process.terminate()
        told = await process.stderr.read()
        assert await process.wait() == TERMINATED
    assert b"ended by SIGTERM" in told
    assert _of(tmp_path) == []
    assert os.listdir(tmp_path) == [scenario.name]  # noqa: PTH208 - it may block here


@pytest.mark.parametrize(("how", "figure"), [("drop", "gaps"), ("repeat", "repeats")])
async def test_an_event_that_is_lost_or_comes_twice_is_caught(
    start: Callable[..., Instance], tmp_path: Path, how: How, figure: str
) -> None:
    instance = start(VIVA_BANK_PACE="60", VIVA_MAX_INTERVIEWS_PER_USER="1000")
    proxy = Tampering(instance.port, how, every=40)
    impossible = BRIEF.replace("at_most = { ", "at_most = { accepted.p50_ms = 0.001, ")
    async with proxy.running() as url:
        code, told, result = await viva_load(
            tmp_path, impossible, "--url", url, environment={"VIVA_JWT_SECRET": SECRET}
        )
    assert (code, result.verdict) == (1, "broken"), told
    assert 1 <= result.figures[figure] <= proxy.tampered
    broken = {bound.figure for bound in result.bounds if not bound.held}
    assert broken == {figure, "errors", "accepted.p50_ms"}, told
    assert result.figures["lost"] == result.figures["doubled"] == 0
