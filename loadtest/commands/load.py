"""`viva load`: simulated users in numbers, and what they saw."""

import argparse
import contextlib
import math
import os
import secrets
import shlex
import sys
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from urllib.parse import urlsplit

from msgspec.structs import replace

from loadtest.commands.ending import TERMINATED, TerminatedError, run_to_end
from loadtest.commands.wrong import WrongError, check_files
from loadtest.load import scenario as scenarios
from loadtest.load.aside import SECONDS, USERS
from loadtest.load.compare import told as compared
from loadtest.load.compare import worsened
from loadtest.load.generators import Run
from loadtest.load.keys import Keys
from loadtest.load.knee import climb
from loadtest.load.page import page
from loadtest.load.progress import Progress
from loadtest.load.result import Result, ResultError, read, write
from loadtest.load.scenario import Scenario, ScenarioError, changed
from loadtest.load.summary import told
from loadtest.load.target import Target, TargetError, found, started
from loadtest.processes import ProcessError

HELD, BROKEN, UNUSABLE = 0, 1, 2
_EXIT = {"held": HELD, "broken": BROKEN, "void": UNUSABLE}


def run(args: argparse.Namespace) -> int:
    """Run it; 0 where every threshold held, 1 where one broke, 2 where the run says nothing.

    Of a comparison: 1 where a figure became worse, 2 where one of the runs says nothing.
    """
    try:
        if args.scenario in _WORDS:
            return _WORDS[args.scenario](args)
        _check(args)
        result = run_to_end(_run(args))
    except TerminatedError:
        sys.stderr.write("the run was ended by SIGTERM\n")
        return TERMINATED
    except (WrongError, ScenarioError, ResultError, TargetError) as error:
        sys.stderr.write(f"{error}\n")
        return UNUSABLE
    except (ProcessError, OSError, ExceptionGroup) as error:
        cause = _cause(error)
        sys.stderr.write(f"the run failed: {str(cause) or type(cause).__name__}\n")
        return UNUSABLE
    sys.stdout.write(told(result))
    try:
        if args.json:
            write(result, args.json)
        if args.html:
            args.html.write_text(page(result), encoding="utf-8")
    except OSError as error:
        sys.stderr.write(f"the result could not be kept: {error}\n")
        return UNUSABLE
    return _EXIT[result.verdict]


def _check(args: argparse.Namespace) -> None:
    """Find before a run what would be found behind it."""
    _alone(args)
    check_files(args.json, args.html)
    for url in args.url or ():
        if not _is_address(url):
            raise WrongError(f"--url {url} is no address: it looks like http://127.0.0.1:8000.")
    for url in args.metrics or ():
        if not args.url:
            raise WrongError("--metrics goes with --url: of servers of its own a run knows them.")
        if not _is_address(url):
            raise WrongError(f"--metrics {url} is no address: it looks like http://127.0.0.1:8000.")
    if args.seconds is not None and not 0 < args.seconds < math.inf:
        raise WrongError("--seconds takes a number above 0.")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # its port is no number
        return False


def _alone(args: argparse.Namespace) -> None:
    """Refuse what stands behind a word that takes nothing: it would be passed over in silence."""
    if args.results:
        surplus = shlex.join(map(str, args.results))
        raise WrongError(
            f"{surplus}: nothing goes with {args.scenario}. One scenario is run at a time;"
            " two results are compared by viva load compare."
        )


def _list(args: argparse.Namespace) -> int:
    _alone(args)
    for name, about in scenarios.shipped().items():
        sys.stdout.write(f"{name:<18}{about}\n")
    return HELD


def _compare(args: argparse.Namespace) -> int:
    if len(args.results) != 2:
        raise WrongError("viva load compare takes two results, as --json wrote them.")
    a, b = map(read, args.results)
    sys.stdout.write(compared(a, b))
    if "void" in (a.verdict, b.verdict):
        return UNUSABLE
    return BROKEN if worsened(a, b) else HELD


_WORDS = {"list": _list, "compare": _compare}


def _cause(error: Exception) -> Exception:
    inner: tuple[Exception, ...] = getattr(error, "exceptions", ())
    return _cause(inner[0]) if inner else error


async def _run(args: argparse.Namespace) -> Result:
    scenario = _scenario(args)
    name, progress = Path(args.scenario).stem, Progress()
    options = fewer(args)
    async with target(args, scenario) as aimed:
        ran: list[Scenario] = []

        async def attempt(tried: Scenario) -> Result:
            if ran:
                await aimed.calm()
            ran.append(tried)
            if aimed.foreign:  # users of the step before may have had all that they may
                aimed.keys = replace(aimed.keys, names=_names())
            result = await Run(name, tried, aimed, progress, options).result()
            progress.end()
            return result

        if scenario.knee is None:
            return await attempt(scenario)
        result, steps = await climb(scenario, scenario.knee, attempt)
        return replace(result, steps=steps)


def fewer(args: argparse.Namespace) -> list[str]:
    """Return the options by which less is asked for than the scenario's thresholds expect."""
    whole = scenarios.load(args.scenario)
    users = args.users if whole.knee is None else None  # there they are where it starts
    asked = ((USERS, users, whole.users.count), (SECONDS, args.seconds, whole.duration_s))
    return [
        option for option, given, own in asked if given is not None and (not own or given < own)
    ]


def _scenario(args: argparse.Namespace) -> Scenario:
    scenario = scenarios.load(args.scenario)
    if args.users is not None:
        scenario = changed(scenario, "users", count=args.users, per_second=0.0)
        if scenario.knee is not None:
            scenario = changed(scenario, "knee", start=float(args.users))
    if args.seed is not None:
        scenario = replace(scenario, seed=args.seed)
    if args.seconds is not None:
        scenario = replace(scenario, duration_s=args.seconds)
    return scenario


def _names() -> str:
    return f"load-{secrets.token_hex(3)}-"


@contextlib.asynccontextmanager
async def target(args: argparse.Namespace, scenario: Scenario) -> AsyncGenerator[Target]:
    """Give what is to be loaded: the deployment that is named, or servers of the run's own."""
    if args.url:
        secret, token = args.secret or "", args.token or ""
        if not (secret or token):  # what is said goes before what the shell holds
            secret = os.environ.get("VIVA_JWT_SECRET", "")
            token = os.environ.get("VIVA_TOKEN", "")
        if not (secret or token):
            raise WrongError("--url needs VIVA_JWT_SECRET, to sign users in, or a --token.")
        if scenario.strike is not None:
            raise WrongError(f"{args.scenario} kills an instance, so it starts them itself.")
        urls = [url.rstrip("/") for url in args.url]
        keys = Keys(urls=urls, secret=secret, token=token, names=_names())
        yield await found(keys, [url.rstrip("/") for url in args.metrics or ()])
        return
    with tempfile.TemporaryDirectory(prefix="viva-load-") as name:
        async with started(scenario, Path(name)) as target:
            yield target
