import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis
from redis.exceptions import AuthenticationError

from server.embedded import (
    EmbeddedError,
    PostgresServer,
    RedisServer,
    Services,
    base,
    embedded,
    wheel,
)
from server.embedded.directory import keep_ports
from server.embedded.ports import free_port, is_free
from server.embedded.process import processes_in
from storage.redis.connect import connect
from tests.support.redis_binaries import redis_binaries

pytestmark = pytest.mark.anyio
_redis: Any = redis.Redis  # redis-py's commands are not typed strictly


def _set(url: str, key: str, value: str) -> None:
    with _redis.from_url(url) as client:
        client.set(key, value)


def _get(url: str, key: str) -> bytes | None:
    with _redis.from_url(url) as client:
        return client.get(key)


def _execute(url: str, statement: str, *values: int) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def _write(services: Services, number: int) -> None:
    _set(services.redis_url, f"key-{number}", "kept")
    _execute(services.database_url, "CREATE TABLE IF NOT EXISTS kept (n int)")
    _execute(services.database_url, "INSERT INTO kept VALUES (%s)", number)


def _assert_kept(services: Services, numbers: range) -> None:
    assert [_get(services.redis_url, f"key-{n}") for n in numbers] == [b"kept"] * len(numbers)
    rows = _execute(services.database_url, "SELECT n FROM kept ORDER BY n")
    assert rows == [(n,) for n in numbers]


def _left(data_dir: Path) -> list[int]:
    valkey = processes_in(data_dir / "valkey", "valkey-server")
    places = [data_dir / "postgres" / "data", data_dir / "postgres" / "data.new"]
    postgres = [pid for place in places for pid in processes_in(place, "postgres")]
    return valkey + postgres + processes_in(places[1], "initdb")


def _wait_until_none_left(data_dir: Path) -> None:
    deadline = time.monotonic() + 10
    while left := _left(data_dir):
        assert time.monotonic() < deadline, f"left running: {left}"
        time.sleep(0.02)


class Viva:
    """A `viva services` in a process of its own."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            [sys.executable, "-m", "server", "services", "--data-dir", str(data_dir), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ready(self) -> dict[str, str]:
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline().rstrip("\n") for _ in range(3)]
        assert lines[2] == "ready", lines
        return dict(line.split("=", 1) for line in lines[:2])

    def end(self, number: signal.Signals) -> tuple[int, str, str]:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str, str]:
        stdout, stderr = self.process.communicate(timeout=30)
        return self.process.returncode, stdout, stderr


@pytest.fixture
def viva(tmp_path: Path) -> Iterator[Viva]:
    running = Viva(tmp_path / "data")
    yield running
    running.process.kill()
    running.process.communicate()
    _wait_until_none_left(running.data_dir)


async def test_data_ports_and_passwords_survive_a_restart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    begin = time.perf_counter()
    async with embedded(tmp_path, progress=said.append) as services:
        cold = time.perf_counter() - begin
        urls = (services.redis_url, services.database_url)
        _write(services, 0)
    assert _left(tmp_path) == []
    begin = time.perf_counter()
    async with embedded(tmp_path) as services:
        warm = time.perf_counter() - begin
        assert (services.redis_url, services.database_url) == urls
        _assert_kept(services, range(1))
    assert said == [
        "starting Valkey …",
        "starting PostgreSQL …",
        "stopping Valkey and PostgreSQL …",
    ]
    with capsys.disabled():
        sys.stdout.write(f"\nembedded servers: first start {cold:.2f} s, second {warm:.2f} s\n")
    assert warm < 5


async def test_each_server_is_killed_stopped_and_started_again_by_itself(tmp_path: Path) -> None:
    async with embedded(tmp_path, durable=False) as services:
        urls = (services.redis_url, services.database_url)
        _write(services, 0)
        for number, server in enumerate((services.valkey, services.postgres), start=1):
            pid = server.pid
            await server.kill()
            assert not server.running
            assert server.failure is None
            await server.start()
            assert server.pid != pid
            await server.restart()
            _write(services, number)
        assert (services.redis_url, services.database_url) == urls
        _assert_kept(services, range(3))


async def test_a_server_that_ends_by_itself_is_told_of(tmp_path: Path) -> None:
    async with embedded(tmp_path, durable=False) as services:
        os.kill(services.postgres.pid, signal.SIGKILL)
        async with asyncio.timeout(5):
            sentence = await services.tended()
        assert sentence.startswith("PostgreSQL ended unexpectedly (exit code -9)")
        await services.postgres.start()
        assert _execute(services.database_url, "SELECT 1") == [(1,)]


def _logged(server: RedisServer, word: bytes) -> bool:
    for file in server.data.joinpath("appendonlydir").iterdir():
        with contextlib.suppress(FileNotFoundError):  # what was rewritten goes meanwhile
            if word in file.read_bytes():
                return True
    return False


def _wait_until_not_logged(server: RedisServer, word: bytes) -> None:
    deadline = time.monotonic() + 10
    while _logged(server, word):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("name", redis_binaries())
@pytest.mark.parametrize("password", [None, "secret"])
async def test_a_log_of_writes_that_is_rewritten_holds_nothing_of_what_was_deleted(
    name: str, password: str | None, tmp_path: Path
) -> None:
    server = RedisServer(tmp_path, binary=redis_binaries()[name], password=password)
    await server.start()
    try:
        with _redis.from_url(server.url) as client:
            client.mset({"kept": "word-kept", "erased": "word-erased"})
            client.delete("erased")
        assert _logged(server, b"word-erased")
        assert await server.rewrite_log()
        _wait_until_not_logged(server, b"word-erased")
        await server.kill()
        assert not await server.rewrite_log()
        await server.start()
        assert _get(server.url, "kept") == b"word-kept"
    finally:
        await server.stop()


class Impatient(RedisServer):
    stop_signals = ((signal.SIGTERM, 0.2),)


async def test_a_stopped_process_cannot_hold_up_the_end(tmp_path: Path) -> None:
    server = Impatient(tmp_path / "valkey")
    await server.start()
    os.kill(server.pid, signal.SIGSTOP)
    await server.stop()
    assert processes_in(server.data, "valkey-server") == []


async def test_the_postgres_is_what_the_migrations_count_on(database_url: str) -> None:
    for setting, value in {
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
    }.items():
        assert _execute(database_url, f"SHOW {setting}") == [(value,)]
    locale = "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'viva'"
    assert _execute(database_url, locale) == [("b", "C.UTF-8")]
    assert _execute(database_url, "SELECT upper('ä')") == [("Ä",)]


async def test_a_socket_file_stands_in_for_the_port() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="a #%?ä ") as directory:
        server = RedisServer(Path(directory) / "valkey", password="secret")
        await server.start()
        try:
            address = server.socket_url
            assert address.startswith("unix://")
            _set(address, "key", "kept")
            assert _get(server.url, "key") == b"kept"
            assert server.data.joinpath("valkey.sock").stat().st_mode & 0o077 == 0
            client: Any = connect(address)
            assert await client.ping()
            await client.aclose()
            await server.kill()
            await server.start()  # the file of the one that was killed is in no one's way
            assert server.socket_url == address
            assert _get(address, "key") == b"kept"
        finally:
            await server.stop()


@pytest.mark.parametrize("name", ["a long name of a directory " * 4, "no address can tell \udcff"])
async def test_where_there_can_be_no_socket_file_the_port_is_used(
    tmp_path: Path, name: str
) -> None:
    server = RedisServer(tmp_path / name)
    await server.start()
    try:
        assert server.socket_url == server.url
        _set(server.socket_url, "key", "kept")
    finally:
        await server.stop()


async def test_no_password_no_entry(services: Services) -> None:
    for url in (services.redis_url, services.socket_url):
        scheme, _, rest = url.partition("://")
        with pytest.raises(AuthenticationError):
            _get(f"{scheme}://:no@{rest.partition('@')[2]}", "key")
    user, _, rest = services.database_url.partition("@")
    with pytest.raises(psycopg.OperationalError, match="password"):
        _execute(f"{user.rpartition(':')[0]}:no@{rest}", "SELECT 1")


async def test_answers_do_not_reach_the_log_of_postgres(
    services: Services, database_url: str
) -> None:
    _execute(database_url, "CREATE TABLE t (answer text PRIMARY KEY CHECK (answer <> 'a secret'))")
    with pytest.raises(psycopg.errors.CheckViolation):
        _execute(database_url, "INSERT INTO t VALUES ('a secret')")
    log = services.postgres.log.read_text()
    assert "violates check constraint" in log
    assert "a secret" not in log


@pytest.mark.parametrize("name", redis_binaries())
async def test_other_redis_binaries_run_the_same_way(name: str, tmp_path: Path) -> None:
    server = RedisServer(tmp_path, binary=redis_binaries()[name], settings={"maxmemory": "64mb"})
    await server.start()
    try:
        _set(server.url, "key", "kept")
        await server.kill()
        await server.start()
        assert _get(server.url, "key") == b"kept"
        with _redis.from_url(server.url) as client:
            settings = client.config_get("maxmemory*", "append*", "auto-aof*", "save")
        assert settings["maxmemory"] == "67108864"
        assert settings["maxmemory-policy"] == "noeviction"
        assert settings["appendfsync"] == "everysec"
        assert settings["auto-aof-rewrite-min-size"] == str(512 * 2**20)
        assert settings["save"] == ""
    finally:
        await server.stop()


@pytest.mark.parametrize("name", redis_binaries())
async def test_a_damaged_log_of_writes_is_cut_at_its_last_good_entry(
    name: str, tmp_path: Path
) -> None:
    server = RedisServer(tmp_path, binary=redis_binaries()[name])
    await server.start()
    _set(server.url, "key", "kept")
    await server.kill()
    (log,) = server.data.joinpath("appendonlydir").glob("*.incr.aof")
    with log.open("ab") as file:
        file.write(b"\0" * 4096)
    await server.start()
    try:
        assert _get(server.url, "key") == b"kept"
    finally:
        await server.stop()


async def test_a_taken_port_is_refused_if_asked_for_and_else_replaced(tmp_path: Path) -> None:
    async with embedded(tmp_path, durable=False) as services:
        ports = (services.valkey.port, services.postgres.port)
    with (
        socket.create_server(("127.0.0.1", ports[0])),
        socket.create_server(("127.0.0.1", ports[1])),
    ):
        with pytest.raises(EmbeddedError, match=rf"^PostgreSQL cannot .* port {ports[1]} .* taken"):
            async with embedded(tmp_path, postgres_port=ports[1]):
                pytest.fail("started on a taken port")
        with pytest.raises(EmbeddedError, match=rf"^Valkey cannot start: port {ports[0]} .* taken"):
            async with embedded(tmp_path, redis_port=ports[0]):
                pytest.fail("started on a taken port")
        assert _left(tmp_path) == []
        async with embedded(tmp_path, durable=False) as services:
            assert ports[0] != services.valkey.port
            assert ports[1] != services.postgres.port


async def test_a_kept_port_that_is_for_another_is_left_to_it(tmp_path: Path) -> None:
    kept = free_port()
    keep_ports(tmp_path, {"valkey": kept})
    async with embedded(tmp_path, durable=False, avoided=[kept]) as services:
        assert services.valkey.port != kept


async def test_a_port_lost_between_choice_and_start_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race is staged: the server is told that a port is free which is not."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answers = iter([True])

        def believed_free(number: int) -> bool:
            return next(answers, is_free(number))

        monkeypatch.setattr(base, "is_free", believed_free)
        server = PostgresServer(tmp_path, password="p", preferred_port=port, durable=False)
        await server.start()
        try:
            assert server.port != port
            assert next(answers, None) is None
        finally:
            await server.stop()


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stands for /var/lib/viva, on a machine whose environment only root can reach."""

    def unreachable(_: Path) -> bool:
        return False

    with tempfile.TemporaryDirectory(dir="/var/tmp") as parent:
        Path(parent).chmod(0o755)
        monkeypatch.setattr(wheel, "COPIES", Path(parent) / "viva")
        monkeypatch.setattr(wheel, "_reachable", unreachable)
        umask = os.umask(0o077)
        yield Path(parent) / "viva"
        os.umask(umask)


def _names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
async def test_root_runs_postgres_as_nobody_out_of_an_environment_that_nobody_can_reach(
    tmp_path: Path, copies: Path
) -> None:
    async with embedded(tmp_path, durable=False) as services:
        process = psutil.Process(services.postgres.pid)
        assert process.username() == "nobody"
        assert process.exe().startswith(f"{copies}/postgresql-18.")
        assert _execute(services.database_url, "SELECT 1") == [(1,)]
    assert len(_names(copies)) == 1  # nothing half-made beside it


async def test_a_half_made_database_is_made_again(tmp_path: Path) -> None:
    half = tmp_path / "postgres" / "data.new" / "base"
    half.mkdir(parents=True)
    async with embedded(tmp_path, durable=False) as services:
        assert _execute(services.database_url, "SELECT 1") == [(1,)]
        assert not half.exists()


async def test_a_database_of_another_version_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "postgres" / "data"
    data.mkdir(parents=True)
    data.joinpath("PG_VERSION").write_text("12\n")
    with pytest.raises(EmbeddedError, match="was made by PostgreSQL 12, this is 18"):
        async with embedded(tmp_path):
            pytest.fail("started on another version's data")


async def test_a_cancelled_first_start_leaves_no_process_and_no_database(tmp_path: Path) -> None:
    async def run() -> None:
        async with embedded(tmp_path):
            pytest.fail("was not cancelled")

    task = asyncio.create_task(run())
    new = tmp_path / "postgres" / "data.new"
    async with asyncio.timeout(10):
        while not new.joinpath("PG_VERSION").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    _wait_until_none_left(tmp_path)
    assert not tmp_path.joinpath("postgres", "data").exists()


def test_the_command_tells_of_the_socket_file_where_it_is_asked_to() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        viva = Viva(Path(directory), "--socket")
        try:
            urls = viva.ready()
            assert urls["REDIS_URL"].startswith("unix://")
            _set(urls["REDIS_URL"], "key", "value")
        finally:
            viva.end(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_a_signal(viva: Viva, number: signal.Signals) -> None:
    urls = viva.ready()
    _set(urls["REDIS_URL"], "key", "value")
    assert _execute(urls["DATABASE_URL"], "SELECT 1") == [(1,)]
    code, stdout, stderr = viva.end(number)
    assert (code, stdout) == (0, "")
    assert stderr.splitlines()[-1] == "stopping Valkey and PostgreSQL …"
    assert _left(viva.data_dir) == []


def test_ctrl_c_in_the_terminal_does_not_reach_the_databases(viva: Viva) -> None:
    viva.ready()
    servers = _left(viva.data_dir)
    assert {os.getpgid(pid) for pid in servers}.isdisjoint({os.getpgid(viva.process.pid)})


def test_a_killed_command_leaves_no_process_and_the_next_one_starts(viva: Viva) -> None:
    urls = viva.ready()
    _set(urls["REDIS_URL"], "key", "kept")
    _execute(urls["DATABASE_URL"], "CREATE TABLE kept (n int)")
    viva.end(signal.SIGKILL)
    again = Viva(viva.data_dir)  # at once: it may meet the servers while they die
    try:
        assert again.ready() == urls
        assert _get(urls["REDIS_URL"], "key") == b"kept"
        assert _execute(urls["DATABASE_URL"], "SELECT * FROM kept") == []
    finally:
        again.end(signal.SIGKILL)
    _wait_until_none_left(viva.data_dir)


def test_a_kill_of_everything_is_repaired(viva: Viva) -> None:
    urls = viva.ready()
    _execute(urls["DATABASE_URL"], "CREATE TABLE kept (n int)")
    viva.process.send_signal(signal.SIGSTOP)
    for pid in _left(viva.data_dir):
        os.kill(pid, signal.SIGKILL)
    viva.end(signal.SIGKILL)
    # The power may have gone, too, and the pid may be somebody's after the boot: ours, here.
    pid_file = viva.data_dir / "postgres" / "data" / "postmaster.pid"
    stale = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *stale[1:]]) + "\n")
    again = Viva(viva.data_dir)
    try:
        assert again.ready() == urls
        assert _execute(urls["DATABASE_URL"], "SELECT * FROM kept") == []
    finally:
        assert again.end(signal.SIGTERM)[0] == 0


async def test_servers_that_outlived_their_viva_are_ended_first(tmp_path: Path) -> None:
    """As where the kernel sends no signal at the parent's death."""
    async with embedded(tmp_path, durable=False) as services:
        first = services.postgres
        second = PostgresServer(first.directory, password="p", durable=False)
        pid = first.pid
        await second.start()
        try:
            assert first.failure is not None
            assert pid not in _left(tmp_path)
            assert second.pid in _left(tmp_path)
        finally:
            await second.stop()


def test_a_second_viva_on_the_same_directory_is_refused(viva: Viva) -> None:
    viva.ready()
    code, stdout, stderr = Viva(viva.data_dir).wait()
    assert (code, stdout) == (1, "")
    assert stderr == (
        f"viva is already running on {viva.data_dir} (pid {viva.process.pid}),"
        " stop it or use another --data-dir\n"
    )
    assert viva.process.poll() is None


@pytest.mark.parametrize("place", ["file/data", "file"])
def test_a_directory_that_cannot_be_is_told_in_a_sentence(tmp_path: Path, place: str) -> None:
    tmp_path.joinpath("file").touch()
    code, stdout, stderr = Viva(tmp_path / place).wait()
    assert (code, stdout) == (1, "")
    (sentence,) = stderr.splitlines()
    assert sentence.startswith(f"{tmp_path / place} cannot be written (")
    assert sentence.endswith("; choose another directory with --data-dir")
