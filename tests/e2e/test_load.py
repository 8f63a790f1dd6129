"""`viva load` against real servers: what holds, what breaks, and what is caught on the wire."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from loadtest.load.result import Result, read
from tests.e2e.instances import ROOT, SECRET, Instance, clean_environment
from tests.e2e.tampering import How, Tampering

pytestmark = pytest.mark.anyio

CALM = "machine = { busy = 1.0, stolen = 1.0, late_ms = 100_000 }\n"
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
    directory: Path, text: str, *options: str, environment: Mapping[str, str] | None = None
) -> tuple[int, str, Result]:
    """Run it; its exit code, what it told, and its result."""
    scenario, result = directory / "brief.toml", directory / "result.json"
    scenario.write_text(CALM + text)
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
    code, told, result = await viva_load(tmp_path, BRIEF, "--html", str(html))
    assert (code, result.verdict) == (0, "held"), told
    assert result.latencies["added"]["count"] > 50
    assert result.figures["server_memory_mb"] > 20
    assert result.provider["tokens"] >= result.figures["tokens"] > 0
    assert html.read_text(encoding="utf-8").count("<svg width") >= 6


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
