"""`viva evaluate`: interview simulated candidates, check what happened, write it down."""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from loadtest.commands.ending import TERMINATED, TerminatedError, run_to_end
from loadtest.commands.wrong import WrongError, check_directory, check_files
from loadtest.evaluate.bookings import MODES, TYPES, Booking, Selection
from loadtest.evaluate.judge import Verdict, judge
from loadtest.evaluate.page import page
from loadtest.evaluate.personas import PERSONAS
from loadtest.evaluate.recording import Recording
from loadtest.evaluate.run import Config, Deployment, Evaluation, Provider
from loadtest.processes import ProcessError, services

_PASSED_ON = ("VIVA_MODEL", "VIVA_ASSESSOR_MODEL", "VIVA_API", "VIVA_PRICES", "OPENAI_BASE_URL")
_DEFAULT_BASE = "https://api.openai.com/v1"
_DEFAULT_MODEL = "gpt-5.4-mini"


def run(args: argparse.Namespace) -> int:
    """Run it; 0 where every check is met, 1 where one is not, 2 where it cannot be run."""
    try:
        check_files(args.html, args.json)
        check_directory(args.keep)
        config = _config(args)
        verdict, recordings = run_to_end(_run(config, args.least))
    except TerminatedError:
        sys.stderr.write(f"the run with --seed {args.seed} was ended by SIGTERM\n")
        return TERMINATED
    except WrongError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (ProcessError, ExceptionGroup) as error:
        sys.stderr.write(f"the run with --seed {args.seed} failed: {error}\n")
        return 2
    sys.stdout.write(_told(verdict))
    try:
        _write(args, verdict, recordings)
    except OSError as error:
        sys.stderr.write(f"the findings could not be kept: {error}\n")
        return 2
    return 0 if verdict.ok else 1


def _config(args: argparse.Namespace) -> Config:
    selection = Selection(
        sources=args.source or (("model",) if args.url else ("offline", "fake")),
        types=_chosen("type", args.types, TYPES),
        modes=_chosen("mode", args.modes, MODES),
        personas=_chosen("kind of candidate", args.kinds, tuple(PERSONAS)),
        short=args.short,
    )
    key = os.environ.get("OPENAI_API_KEY", "")
    provider = None
    if "model" in selection.sources and not args.url:
        if not key:
            raise WrongError("--source model asks a real model: set OPENAI_API_KEY.")
        settings = {name: os.environ[name] for name in _PASSED_ON if os.environ.get(name)}
        provider = Provider(
            key=key,
            base_url=os.environ.get("OPENAI_BASE_URL") or _DEFAULT_BASE,
            model=os.environ.get("VIVA_MODEL") or _DEFAULT_MODEL,
            settings={"OPENAI_API_KEY": key, **settings},
        )
    return Config(
        selection=selection,
        seed=args.seed,
        at_once=args.at_once,
        budget_usd=args.budget,
        deployment=_deployment(args),
        provider=provider,
    )


def _deployment(args: argparse.Namespace) -> Deployment | None:
    if not args.url:
        return None
    secret = os.environ.get("VIVA_JWT_SECRET")
    if not secret:
        raise WrongError("--url needs VIVA_JWT_SECRET, to sign in candidates and a reviewer.")
    return Deployment(url=args.url.rstrip("/"), secret=secret)


def _chosen(what: str, asked: str | None, there: Sequence[Any]) -> tuple[Any, ...]:
    names = tuple(part.strip() for part in asked.split(",") if part.strip()) if asked else ()
    for name in names:
        if name not in there:
            raise WrongError(f"There is no {what} {name}; there are {', '.join(there)}.")
    return names or tuple(there)


async def _run(config: Config, least: float) -> tuple[Verdict, list[Recording]]:
    began = time.monotonic()
    async with _prepared(config) as ready:
        progress = _Progress(began)
        evaluation = Evaluation(ready, progress.tell)
        progress.whole = evaluation.bookings
        recordings = await evaluation.run()
    verdict = judge(
        recordings,
        seed=config.seed,
        took_s=time.monotonic() - began,
        least=least,
        spent_usd=evaluation.spent_usd,
        left_out=[booking.name for booking in evaluation.left_out],
    )
    return verdict, recordings


@contextlib.asynccontextmanager
async def _prepared(config: Config) -> AsyncGenerator[Config]:
    """Start the embedded servers, unless a deployment is judged."""
    if config.deployment is not None:
        yield config
        return
    with tempfile.TemporaryDirectory(prefix="viva-evaluate-") as name:
        directory = Path(name)
        async with services(directory / "services") as urls:
            yield msgspec.structs.replace(config, services=urls, directory=directory)


class _Progress:
    """Tells on standard error how far it is: one line that changes, or one for each interview."""

    def __init__(self, began: float) -> None:
        self.whole = 0
        self._began = began
        self._done = 0
        self._going: list[str] = []

    def tell(self, what: Recording | Booking) -> None:
        """Tell that an interview begins or is over."""
        if isinstance(what, Booking):
            self._going.append(what.name)
        else:
            self._done += 1
            self._going.remove(what.name)
        head = f"{self._done:3} of {self.whole}  {time.monotonic() - self._began:5.0f} s"
        if sys.stderr.isatty():
            going = f"  {len(self._going)} under way: {', '.join(self._going)}"
            sys.stderr.write(f"\r\x1b[2K{head}{going}"[:110] + ("\n" if self._over else ""))
        elif isinstance(what, Recording):
            scores = " ".join(map(str, what.scores)) or "no scores"
            sys.stderr.write(f"{head}  {what.name}: {len(what.turns)} turns, {scores}\n")
        sys.stderr.flush()

    @property
    def _over(self) -> bool:
        return self._done == self.whole


class _Kept(NamedTuple):
    suffix: str
    content: bytes


def _write(args: argparse.Namespace, verdict: Verdict, recordings: Sequence[Recording]) -> None:
    if args.html:
        args.html.write_text(page(verdict), encoding="utf-8")
    if args.json:
        args.json.write_bytes(msgspec.json.format(msgspec.json.encode(verdict)) + b"\n")
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
        for recording in recordings:
            for kept in _kept(recording):
                name = recording.name.replace(" ", "-") + kept.suffix
                (args.keep / name).write_bytes(kept.content)


def _kept(recording: Recording) -> list[_Kept]:
    forms = [
        _Kept(".md", recording.markdown.encode()),
        _Kept(".html", recording.html.encode()),
        _Kept(".pdf", recording.pdf),
    ]
    whole = _Kept(".json", msgspec.json.encode(recording))
    return [whole, *(form for form in forms if form.content)]


def _told(verdict: Verdict) -> str:
    lines: list[str] = []
    for result in verdict.results:
        if result.failures:
            mark = "ok  " if result.ok else "FAIL"
            first = result.failures[0]
            lines.append(
                f"{mark} {result.name}: {result.passed} of {result.looked_at} passed;"
                f" {first.interview}: {'; '.join(first.told)}"
            )
    looked_at = [result for result in verdict.results if result.looked_at]
    lines.append(
        f"seed {verdict.seed}: {len(verdict.interviews)} interviews, {len(looked_at)} of"
        f" {len(verdict.results)} checks could be made,"
        f" {sum(not result.ok for result in looked_at)} failed; {verdict.took_s:.0f} s,"
        f" ${verdict.spent_usd:.3f}"
    )
    if verdict.left_out:
        lines.append(f"left out, the budget being spent: {', '.join(verdict.left_out)}")
    return "\n".join(lines) + "\n"
