"""What a run showed: figures, verdict and course, as they are written to a file and read again."""

import re
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from loadtest.load.scenario import Scenario

VERSION = 2
_SECRET = re.compile("KEY|SECRET|TOKEN$|PASSWORD")
Verdict = Literal["held", "broken", "void"]


class ResultError(Exception):
    """A file holds no result; the message says why."""


class Bound(Struct, frozen=True, kw_only=True):
    """One threshold and what there was; ``found`` is None where nothing was measured.

    ``aside`` says why it does not count in this run, where it does not; it holds then.
    """

    figure: str
    at_most: bool
    bound: float
    found: float | None
    held: bool
    aside: str = ""


class Point(Struct, kw_only=True):
    """One second of the run. Latencies in milliseconds, memory in MB, CPU in cores."""

    second: int
    counts: dict[str, int] = {}
    errors: dict[str, int] = {}
    latencies: dict[str, dict[str, float]] = {}
    connected: int = 0
    streaming: int = 0
    users: int = 0
    generator_cpu: float = 0.0
    server_cpu: float | None = None
    server_memory_mb: float | None = None
    server_files: float | None = None
    server_tasks: float | None = None
    redis_keys: int | None = None
    redis_lasting: int | None = None
    redis_clients: int | None = None
    busy: float | None = None
    stolen: float | None = None
    yardstick_us: float | None = None


class Step(Struct, kw_only=True):
    """One step of a search for the knee."""

    load: float
    verdict: Verdict
    figures: dict[str, float]
    broken: list[str]


class Result(Struct, kw_only=True):
    """A whole run."""

    version: int = VERSION
    name: str
    scenario: Scenario
    started_at: float
    target: str
    verdict: Verdict
    void: list[str] = field(default_factory=list[str])
    """Why it says nothing about the server."""
    no_metrics: str = ""
    """Why nothing is known of the servers' metrics, where that is so."""
    bounds: list[Bound] = field(default_factory=list[Bound])
    figures: dict[str, float] = field(default_factory=dict[str, float])
    latencies: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    histograms: dict[str, str] = field(default_factory=dict[str, str])
    """The HdrHistograms of the measured time, in their own encoding, in microseconds."""
    errors: dict[str, int] = field(default_factory=dict[str, int])
    samples: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    closes: dict[str, int] = field(default_factory=dict[str, int])
    points: list[Point] = field(default_factory=list[Point])
    awake: bool | None = None
    """Whether the run kept idle cores of the generator's machine awake; None: not known."""
    cores: dict[str, float] = field(default_factory=dict[str, float])
    """Cores in use on average in the measured time: of each kind of process, and of all."""
    provider: dict[str, Any] = field(default_factory=dict[str, Any])
    steps: list[Step] = field(default_factory=list[Step])


def write(result: Result, path: Path) -> None:
    """Write it as JSON. It may be shown around, so what may be a secret is left out."""
    server = result.scenario.server
    settings = {name: _shown(name, value) for name, value in server.settings.items()}
    scenario = replace(result.scenario, server=replace(server, settings=settings))
    result = replace(result, scenario=scenario)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")


def _shown(name: str, value: str) -> str:
    return "(not kept)" if _SECRET.search(name) or "@" in value else value


def read(path: Path) -> Result:
    """Read what `write` wrote.

    Raises:
        ResultError: it is none.
    """
    try:
        result = msgspec.json.decode(path.read_bytes(), type=Result)
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise ResultError(f"{path} is no result of viva load: {error}") from None
    if result.version != VERSION:
        raise ResultError(f"{path} is of version {result.version}, not {VERSION}")
    return result
