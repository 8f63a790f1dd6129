"""The log is one JSON object a line, also where a library logs, and holds none of its values."""

import asyncio
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from structlog.testing import capture_logs

from server import instance as instance_module
from server.app import create_app
from server.assessing.worker import Worker
from server.instance import Instance
from server.settings import read_settings
from storage.postgres.archive import Archive

SETTINGS = {
    "REDIS_URL": "redis://127.0.0.1:9",
    "DATABASE_URL": "postgresql://127.0.0.1:9/viva",
    "VIVA_JWT_SECRET": "s" * 32,
}
PREAMBLE = """
import asyncio, logging, sys
from server.logs import configure_logs

def fail():
    raise ValueError("hunter2\\nat home")
"""
LIBRARIES = """
configure_logs("debug")
pool = logging.getLogger("psycopg.pool")
try:
    fail()
except ValueError as error:
    pool.warning("error connecting in %r: %s", "hunter2", error)
    logging.getLogger("uvicorn.error").exception("Exception in ASGI application\\n")
    logging.getLogger("uvicorn.error").error(error)
pool.warning("%(name)s went", {"name": "hunter2"})
pool.info("below what is logged of libraries")

async def forget():
    asyncio.get_running_loop().create_task(asyncio.to_thread(fail))
    await asyncio.sleep(0.2)

asyncio.run(forget())
"""


def logged(script: str) -> str:
    whole = textwrap.dedent(PREAMBLE) + textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, check=True)
    return done.stderr


def test_what_libraries_log_are_objects_without_values() -> None:
    told = logged(LIBRARIES)
    assert "hunter2" not in told
    lines: list[dict[str, Any]] = [json.loads(line) for line in told.splitlines()]
    assert [
        (line["logger"], line["level"], line["event"], line.get("error")) for line in lines
    ] == [
        ("psycopg.pool", "warning", "error connecting in %r: %s", "ValueError"),
        ("uvicorn.error", "error", "Exception in ASGI application", "ValueError"),
        ("uvicorn.error", "error", "ValueError", "ValueError"),
        ("psycopg.pool", "warning", "%(name)s went", None),
        ("asyncio", "error", "Task exception was never retrieved", "ValueError"),
    ]
    assert all(line["timestamp"].endswith("Z") for line in lines)
    assert lines[1]["at"][-1].endswith(" fail")


def test_who_looks_on_reads_what_libraries_say() -> None:
    told = logged("""
        sys.stderr.isatty = lambda: True
        configure_logs()
        logging.getLogger("psycopg.pool").warning("error connecting in %r", "viva-primary")
    """)
    assert told == "error connecting in 'viva-primary'\n"


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what Litestar 3 is to change
async def test_an_instance_that_cannot_be_opened_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def broken(_: Instance) -> AsyncGenerator[None]:
        raise OSError("no room")
        yield

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(_: Any) -> None:
        """Heed nothing."""

    monkeypatch.setattr(Instance, "running", broken)
    app: Any = create_app(Instance(read_settings(SETTINGS)))
    with capture_logs() as lines, pytest.raises(ExceptionGroup):
        await app({"type": "lifespan", "state": {}}, receive, send)
    assert [(line["event"], line["exc_info"]) for line in lines] == [
        ("instance not opened or closed", True)
    ]


UNWRITABLE = """
import structlog
configure_logs()
for _ in range(3):
    structlog.get_logger().critical("instance failed", told="x" * 100_000)
    logging.getLogger("psycopg.pool").warning("error connecting")
print("went on")
"""


def _nobody_reads() -> IO[bytes]:
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "wb")


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(
            lambda: os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb"),
            marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full"),
            id="full",
        ),
        pytest.param(_nobody_reads, id="gone"),
    ],
)
def test_a_log_that_cannot_be_written_stops_nothing(place: Callable[[], IO[bytes]]) -> None:
    whole = textwrap.dedent(PREAMBLE) + UNWRITABLE
    with place() as log:
        done = subprocess.run(
            [sys.executable, "-c", whole], stdout=subprocess.PIPE, stderr=log, check=False
        )
    assert done.stdout == b"went on\n"


@pytest.mark.anyio
async def test_a_failed_instance_ends_though_it_cannot_say_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def opened(_: Archive) -> None:
        """Connect to nothing."""

    async def broken(_: Worker) -> None:
        raise OSError("no room")

    def ignored(_: asyncio.AbstractEventLoop, __: dict[str, Any]) -> None:
        """Say nothing of what the log raises."""

    class Unwritable:
        def critical(self, *_: Any, **__: Any) -> None:
            raise OSError("no room")

    monkeypatch.setattr(Archive, "open", opened)
    monkeypatch.setattr(Worker, "run", broken)
    monkeypatch.setattr(instance_module, "_log", Unwritable())
    asyncio.get_running_loop().set_exception_handler(ignored)
    instance = Instance(read_settings(SETTINGS))
    failed = asyncio.Event()
    instance.on_failure = failed.set
    async with instance.working(), asyncio.timeout(10):
        await failed.wait()
