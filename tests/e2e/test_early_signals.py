"""A signal that comes while viva is starting ends it, at whatever moment it comes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.instances import ROOT, SECRET, clean_environment, free_port

ENDS_S = 60.0
"""Loading the program included, on a busy machine; what is tried for hangs for ever."""
DRIVER = """
import importlib, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
number, place = int(sys.argv[1]), sys.argv[2]
module, _, path = place.partition(":")
*owners, name = path.split(".")
owner = importlib.import_module(module)
for each in owners:
    owner = getattr(owner, each)
original = getattr(owner, name)

def signalled(*args, **kwargs):
    setattr(owner, name, original)
    os.kill(os.getpid(), number)
    return original(*args, **kwargs)

setattr(owner, name, signalled)
from server.cli import main
sys.exit(main(sys.argv[3:]))
"""
WHOLE = """
import sys
print("up", flush=True)
from server.__main__ import main
sys.exit(main())
"""
BUILDING = ("server.commands.serve:listen", "gc:freeze")
OPENING = (
    "server.serving:_Server.serve",
    "storage.postgres.archive:Archive.open",
    "psycopg:AsyncConnection.connect",
)


def _end(environment: dict[str, str], number: int, place: str, *command: str) -> tuple[int, str]:
    given = command or ("serve",)
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(number), place, *given, "--port", str(free_port())],
        cwd=ROOT,
        env={**clean_environment(), "VIVA_JWT_SECRET": SECRET, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _, said = process.communicate(timeout=ENDS_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        pytest.fail(f"signal {number} at {place} was swallowed")
    return process.returncode, said


@pytest.fixture
def environment(redis_url: str, database_url: str) -> dict[str, str]:
    return {"REDIS_URL": redis_url, "DATABASE_URL": database_url}


@pytest.mark.parametrize("place", [*BUILDING, *OPENING])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_comes_while_it_is_put_together(
    environment: dict[str, str], number: int, place: str
) -> None:
    code, said = _end(environment, number, place)
    assert code == 0, said
    assert "drained" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "place",
    [
        "server.commands.up:_ports",
        "server.embedded.supervisor:_start",
        "server.commands.up:migrate",
    ],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_comes_before_up_has_its_servers(tmp_path: Path, number: int, place: str) -> None:
    code, said = _end({}, number, place, "up", "--data-dir", str(tmp_path / "data"))
    assert code == 0, said
    assert "starting the server" not in said
    assert "Traceback" not in said


def test_one_that_comes_while_modules_are_loaded(environment: dict[str, str]) -> None:
    code, said = _end(environment, signal.SIGINT, "importlib:import_module")
    assert (code, said) == (130, "interrupted while starting\n")


def test_one_at_any_moment(environment: dict[str, str], tmp_path: Path) -> None:
    for quarters in range(1, 7):
        with (tmp_path / "said").open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-c", WHOLE, "serve", "--port", str(free_port())],
                cwd=ROOT,
                env={**clean_environment(), "VIVA_JWT_SECRET": SECRET, **environment},
                stdout=subprocess.PIPE,
                stderr=said,
            )
        assert process.stdout is not None
        with process.stdout:
            process.stdout.readline()  # what comes while Python itself starts is Python's
        time.sleep(quarters / 4)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"SIGINT after {quarters / 4} s was swallowed")
