"""`viva chaos`: kill instances under load and count what was lost."""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from loadtest.chaos import Chaos, Config, Report
from loadtest.commands.ending import TERMINATED, TerminatedError, run_to_end
from loadtest.processes import ProcessError, services
from loadtest.sources import speaking

QUIET_S = 30.0
"""So often a run tells its progress to a file."""


def run(args: argparse.Namespace) -> int:
    """Run it on embedded servers of its own; 0 where nothing was lost, 1 otherwise."""
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(10**6)
    try:
        report = run_to_end(_run(args.kills, seed, args.model))
    except TerminatedError:
        sys.stderr.write(f"the run with --seed {seed} was ended by SIGTERM\n")
        return TERMINATED
    except (ProcessError, ExceptionGroup) as error:
        sys.stderr.write(f"the run with --seed {seed} failed: {error}\n")
        return 1
    sys.stdout.write(f"{report}\n")
    return 1 if report.faults else 0


async def _run(kills: int, seed: int, source: str) -> Report:
    with tempfile.TemporaryDirectory(prefix="viva-chaos-") as name:
        directory = Path(name)
        async with (
            services(directory / "services") as urls,
            speaking(source) as (settings, _),  # type: ignore[arg-type]  # argparse holds it to these
        ):
            config = Config(
                redis_url=urls["REDIS_URL"],
                database_url=urls["DATABASE_URL"],
                directory=directory,
                kills=kills,
                seed=seed,
                settings=settings,
                resumable=source != "chat",
            )
            return await Chaos(config, _Progress()).run()


class _Progress:
    """Tells how far a run is: in place in a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._told = float("-inf")

    def __call__(self, progress: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{progress} ")
        elif time.monotonic() - self._told >= QUIET_S:
            self._told = time.monotonic()
            sys.stderr.write(f"{progress}\n")
        sys.stderr.flush()
