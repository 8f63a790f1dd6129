"""`python -m loadtest.bench`: what it takes, what it ends with, and what it keeps."""

import contextlib
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest
import redis.asyncio as redis

from loadtest.bench import __main__ as command
from loadtest.bench import findings as f
from loadtest.bench import page, sides
from loadtest.bench.findings import Findings, Part
from loadtest.bench.plan import FULL_IDLE, PARTS, Plan
from loadtest.bench.sides import NAMES, Ground
from loadtest.processes import ProcessError
from tests.support.bench import cost, found


def test_what_was_found_before_a_failure_is_shown_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(_: Plan, into: f.Findings) -> None:
        into.relay.append(cost("viva", 1, 50.0))
        raise ProcessError("an instance does not start")

    monkeypatch.setattr(command, "_measured", failing)
    file = tmp_path / "found.json"
    words = ["relay", "--rounds", "1", "--write", "--json", str(file)]
    assert command.main(words) == command.FAILED
    shown = capsys.readouterr()
    assert "50.0 µs" in shown.out
    assert "an instance does not start" in shown.err
    assert msgspec.json.decode(file.read_bytes(), type=f.Findings).relay
    assert command.main(["--of", str(file), "--write"]) == command.FAILED, "it stays a failed one"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (redis.ConnectionError("Redis is gone"), "Redis is gone"),
        (KeyError(), "KeyError"),
        (TimeoutError(), "a process was too slow"),
    ],
)
def test_whatever_ends_a_run_it_is_told_and_what_was_found_is_kept(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    told: str,
) -> None:
    async def failing(_: Plan, into: f.Findings) -> None:
        into.relay.append(cost("viva", 1, 50.0))
        raise error

    monkeypatch.setattr(command, "_measured", failing)
    file = tmp_path / "found.json"
    assert command.main(["relay", "--json", str(file)]) == command.FAILED
    assert told in capsys.readouterr().err
    assert msgspec.json.decode(file.read_bytes(), type=f.Findings).relay


@pytest.mark.parametrize("kind", ["gap", "misled", "repeat"])
def test_words_that_viva_lost_or_said_twice_fail_a_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async def measured(_: Plan, into: f.Findings) -> None:
        into.relay.append(cost("viva", 1, 50.0))
        into.wrong[f"viva: {kind}"] = 2

    written: list[Findings] = []
    monkeypatch.setattr(command, "_measured", measured)
    monkeypatch.setattr(page, "write", written.append)
    assert command.main(["relay", "--rounds", "1", "--write"]) == command.FAILED
    assert f"2 of viva: {kind}" in capsys.readouterr().err
    assert not written


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans that were begun to be measured, of which nothing is found."""
    plans: list[Plan] = []

    async def measured(plan: Plan, _: f.Findings) -> None:
        plans.append(plan)

    monkeypatch.setattr(command, "_measured", measured)
    return plans


@pytest.mark.parametrize("name", ["none/found.json", "."])
def test_what_could_not_be_kept_is_not_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], begun: list[Plan], name: str
) -> None:
    file = tmp_path / name
    assert command.main(["relay", "--json", str(file)]) == command.FAILED
    assert f"{file} cannot be written" in capsys.readouterr().err
    assert not begun


def test_where_nothing_may_be_written_nothing_is_measured(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    begun: list[Plan],
) -> None:
    asked: list[tuple[Path, int]] = []

    def refused(path: Path, mode: int) -> bool:
        asked.append((path, mode))  # whoever runs the tests may be allowed everything
        return False

    monkeypatch.setattr("os.access", refused)
    there, new = tmp_path / "there.json", tmp_path / "new.json"
    there.touch()
    for file in (there, new):
        assert command.main(["relay", "--json", str(file)]) == command.FAILED
        assert "nothing may be written there" in capsys.readouterr().err
    assert asked == [(there, os.W_OK), (tmp_path, os.W_OK)]
    assert not begun


def test_what_was_found_is_kept_before_anybody_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def measured(_: Plan, into: f.Findings) -> None:
        into.relay.append(cost("viva", 1, 50.0))

    def broken_pipe(_: f.Findings) -> str:
        raise BrokenPipeError

    monkeypatch.setattr(command, "_measured", measured)
    monkeypatch.setattr(command, "told", broken_pipe)
    file = tmp_path / "found.json"
    with pytest.raises(BrokenPipeError):
        command.main(["relay", "--json", str(file)])
    assert msgspec.json.decode(file.read_bytes(), type=f.Findings).relay


def test_runs_made_one_by_one_are_shown_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = (
        found(relay=[cost("viva", 1, 50.0)], parts=[Part(group="redis", name="old", us=9.0)]),
        found(parts=[Part(group="redis", name="new", us=8.0)], wrong={"viva: silent": 1}),
    )
    words: list[str] = []
    for number, run in enumerate(runs):
        file = tmp_path / f"{number}.json"
        file.write_bytes(msgspec.json.encode(run))
        words += ["--of", str(file)]
    assert command.main(words) == command.DONE
    told = capsys.readouterr().out
    assert "50.0 µs" in told
    assert "new" in told
    assert "old" not in told
    assert "1 of viva: silent" in told


def test_a_result_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "result.json"
    file.write_text("{}")
    assert command.main(["--of", str(file)]) == command.FAILED
    assert "cannot be read" in capsys.readouterr().err


def test_without_a_word_everything_is_measured() -> None:
    plan = command.plan_of(command.parser().parse_args([]))
    assert (plan.parts, plan.sides) == (PARTS, NAMES)
    assert plan.idle == Plan().idle


def test_what_is_asked_for_goes_before_what_is_full() -> None:
    words = ["relay", "memory", "--sides", "viva,floor", "--full", "--streaming", "5,10"]
    plan = command.plan_of(command.parser().parse_args(words))
    assert plan.parts == ["relay", "memory"]
    assert plan.sides == ("viva", "floor")
    assert (plan.idle, plan.streaming) == (FULL_IDLE, (5, 10))


@pytest.mark.parametrize(
    "words",
    [
        ["relays"],
        ["--sides", "viva,node"],
        ["--streams", "many"],
        ["--rounds", "0"],
        ["--joins", "-1"],
        ["--joins", "x"],
    ],
)
def test_a_word_that_means_nothing_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        command.parser().parse_args(words)


class Forgetful:
    """In place of an instance."""

    pid, url = 0, "http://test"

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def __call__(self, *_: object) -> "Forgetful":
        return self

    async def start(self) -> None:
        if self._error is not None:
            raise self._error

    def kill(self) -> None:
        pass


@pytest.mark.anyio
@pytest.mark.parametrize("error", [ProcessError("an instance does not start"), None])
async def test_a_redis_that_is_gone_hides_no_error_and_is_one_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    async def flush(_: str) -> None:
        raise redis.ConnectionError("Redis is gone")

    @contextlib.asynccontextmanager
    async def provider(_: object) -> AsyncGenerator[str]:
        yield "http://test"

    monkeypatch.setattr(sides, "flush", flush)
    monkeypatch.setattr(sides, "_provider", provider)
    monkeypatch.setattr(sides, "Served", Forgetful(error))
    ground = Ground(directory=tmp_path, urls={"REDIS_URL": "redis://test"})
    with pytest.raises(type(error or redis.ConnectionError()), match=r"does not start|is gone"):
        async with sides.running("viva", sides.Speech(), ground):
            assert error is None
