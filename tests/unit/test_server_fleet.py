"""The instances of `viva up`: how long they may take to leave, how soon one is started again."""

import argparse
import asyncio
import errno
import os
import signal
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from server import drain, fleet, runner, serving
from server.commands import up
from server.embedded import EmbeddedError
from server.embedded.ports import free_port
from server.fleet import GOODBYE_S, RESTART_CAP_S, RESTART_S, Fleet, Member


class FakeChild:
    """A process that ends when a test says so, and never by SIGTERM."""

    started: ClassVar[list["FakeChild"]] = []

    def __init__(self, _: Any) -> None:
        self.returncode: int | None = None
        self.pid = 1
        self.signals: list[int] = []
        self.waited: float | None = None
        FakeChild.started.append(self)

    def send(self, number: int) -> None:
        self.signals.append(number)

    async def gone(self, patience_s: float) -> bool:
        self.waited = patience_s
        return False

    def kill(self) -> None:
        self.signals.append(signal.SIGKILL)


class Time:
    """Monotonic time that stands until it is set."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    moment = Time()
    FakeChild.started = []
    monkeypatch.setattr(fleet, "Child", FakeChild)
    monkeypatch.setattr(fleet, "time", moment)
    return moment


def _crash(member: Member) -> None:
    assert member.running
    FakeChild.started[-1].returncode = 1


def _restart(member: Member, clock: Time) -> float:
    """Let time pass until the member may be started again; return how long that was."""
    began = clock.now
    while not member.due(clock.now):
        clock.now += 0.25
    member.start_again()
    return clock.now - began


def test_one_that_keeps_ending_is_started_ever_more_rarely(clock: Time, tmp_path: Path) -> None:
    member = Member(1, tmp_path, {}, 1.0)
    member.start()
    pauses: list[float] = []
    for _ in range(9):
        _crash(member)
        pauses.append(_restart(member, clock))
    assert pauses[:6] == [RESTART_S * 2**number for number in range(6)]
    assert pauses[6:] == [RESTART_CAP_S] * 3


def test_a_minute_of_health_is_a_new_beginning(clock: Time, tmp_path: Path) -> None:
    member = Member(1, tmp_path, {}, 1.0)
    member.start()
    for _ in range(8):
        _crash(member)
        _restart(member, clock)
    clock.now += RESTART_CAP_S + 1
    _crash(member)
    assert _restart(member, clock) == 0  # it was well for longer than any pause
    _crash(member)
    assert _restart(member, clock) == RESTART_S


def test_a_pause_is_no_health(clock: Time, tmp_path: Path) -> None:
    member = Member(1, tmp_path, {}, 1.0)
    member.start()
    for _ in range(8):
        _crash(member)
        assert not member.due(clock.now)
        clock.now += RESTART_CAP_S + 0.5  # the watch looks a little later than it might
        assert member.due(clock.now)
        member.start_again()
    _crash(member)
    assert _restart(member, clock) == RESTART_CAP_S


def test_what_runs_is_not_started_again(clock: Time, tmp_path: Path) -> None:
    member = Member(1, tmp_path, {}, 1.0)
    member.start()
    clock.now += 1e6
    assert not member.due(clock.now)


@pytest.mark.anyio
async def test_each_restart_is_told_once_with_the_log(
    clock: Time, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "RESTART_S", 0.01)
    told: list[str] = []
    heard = asyncio.Event()

    def say(sentence: str) -> None:
        told.append(sentence)
        heard.set()

    several = Fleet([1, 2], tmp_path, {}, say, drain_s=1.0)
    for member in several.members:
        member.start()
    _crash(several.members[1])
    clock.now += 2
    watching = asyncio.create_task(several.watch())
    async with asyncio.timeout(5):
        await heard.wait()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert len(told) == 1
    assert "port 2" in told[0]
    assert str(several.members[1].log) in told[0]


@pytest.mark.anyio
async def test_one_that_cannot_be_started_is_tried_again(
    clock: Time, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "RESTART_S", 0.01)
    told: asyncio.Queue[str] = asyncio.Queue()
    several = Fleet([1], tmp_path, {}, told.put_nowait, drain_s=1.0)
    (member,) = several.members
    member.start()
    _crash(member)

    def full(_: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fleet, "Child", full)
    watching = asyncio.create_task(several.watch())
    async with asyncio.timeout(5):
        clock.now += RESTART_CAP_S
        assert "cannot be started (No space left" in await told.get()
        monkeypatch.setattr(fleet, "Child", FakeChild)
        clock.now += RESTART_CAP_S
        assert "is started again" in await told.get()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert told.empty()
    assert member.running


@pytest.mark.anyio
@pytest.mark.parametrize("drain_s", [0.0, 20.0, 600.0])
async def test_nobody_is_killed_before_it_could_drain(
    clock: Time, tmp_path: Path, drain_s: float
) -> None:
    assert clock.now
    several = Fleet([1], tmp_path, {}, lambda _: None, drain_s=drain_s)
    several.members[0].start()
    await several.stop()
    (child,) = FakeChild.started
    assert child.signals == [signal.SIGTERM, signal.SIGKILL]
    goodbyes = drain.BATCHES * drain.BATCH_PAUSE_S + drain.GOODBYE_S
    turns = drain.UNREADY_S + max(drain_s + runner.RELEASE_S, goodbyes)
    leaving = turns + drain.GOODBYE_S + serving.CLOSE_S
    assert child.waited is not None
    assert child.waited > leaving
    assert child.waited <= drain_s + GOODBYE_S


@pytest.mark.anyio
@pytest.mark.parametrize("given", [None, "."])
async def test_a_server_of_the_users_own_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    (tmp_path / "server.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    if given is None:
        monkeypatch.delenv("PYTHONPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONPATH", given)
    several = Fleet([free_port()], tmp_path, {"REDIS_URL": ""}, lambda _: None, drain_s=1.0)
    with pytest.raises(EmbeddedError, match="REDIS_URL"):
        await several.start()


@pytest.mark.anyio
async def test_only_the_log_of_this_run_is_told(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / f"instance-{port}.log").write_text("of an earlier run\n")
    several = Fleet([port], tmp_path, {"REDIS_URL": ""}, lambda _: None, drain_s=1.0)
    with pytest.raises(EmbeddedError, match="REDIS_URL") as raised:
        await several.start()
    assert "earlier" not in str(raised.value)


@pytest.mark.anyio
async def test_a_proxy_of_the_environment_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Time
) -> None:
    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

    assert clock.now
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        member = Member(server.server_port, tmp_path, {}, 1.0)
        member.start()
        async with asyncio.timeout(10):
            await member.ready()
        server.shutdown()


def test_a_secret_that_cannot_be_read_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {}

    @asynccontextmanager
    async def embedded(*_: Any, **more: Any) -> AsyncGenerator[None]:
        given.update(more)
        yield

    monkeypatch.setattr(up, "embedded", embedded)
    monkeypatch.delenv("VIVA_JWT_SECRET", raising=False)
    (tmp_path / "jwt.secret").mkdir()
    args = argparse.Namespace(port=free_port(), instances=1, data_dir=tmp_path)
    assert up.run(args) == 1
    said = capsys.readouterr().err
    assert said.startswith(str(tmp_path / "jwt.secret"))
    assert len(said.splitlines()) == 1
    assert given["avoided"] == [args.port]  # whatever else is started there, it is not in the way


@pytest.mark.parametrize("fails", [False, True])
def test_a_signal_while_it_ends_is_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    seen: list[str] = []

    class FakeFleet:
        def __init__(self, *_: Any, **__: Any) -> None:
            self._hurried = asyncio.Event()

        async def start(self) -> None:
            if fails:
                raise EmbeddedError("no start")
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(60)

        def hurry(self) -> None:
            self._hurried.set()

        async def stop(self) -> None:
            seen.append("told to stop")
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(10):
                await self._hurried.wait()
            seen.append("hurried")

    class FakeServices:
        socket_url = database_url = ""

    @asynccontextmanager
    async def embedded(*_: Any, **__: Any) -> AsyncGenerator[FakeServices]:
        yield FakeServices()
        raise AssertionError("it is left by an exception")

    async def migrate(_: str) -> None:
        """Nothing is there to migrate."""

    monkeypatch.setattr(up, "Fleet", FakeFleet)
    monkeypatch.setattr(up, "embedded", embedded)
    monkeypatch.setattr(up, "migrate", migrate)
    args = argparse.Namespace(port=free_port(), instances=1, data_dir=tmp_path)
    assert up.run(args) == int(fails)
    assert seen == ["told to stop", "hurried"]


@pytest.mark.anyio
async def test_all_that_run_are_hurried(clock: Time, tmp_path: Path) -> None:
    assert clock.now
    several = Fleet([1, 2], tmp_path, {}, lambda _: None, drain_s=1.0)
    several.hurry()  # nothing runs yet
    for member in several.members:
        member.start()
    several.hurry()
    assert [child.signals for child in FakeChild.started] == [[signal.SIGTERM]] * 2
