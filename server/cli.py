"""The command `viva`: each subcommand is a module, imported when it runs."""

import argparse
import importlib
import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from server.starting import INTERRUPTED, loading

DEFAULT_DATA_DIR = Path(".viva")
DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_USER = "local"

# The protocol's, which is not loaded for `--help`; a test holds them to it.
TYPES = (
    "behavioral",
    "situational",
    "technical",
    "coding",
    "system_design",
    "case",
    "screening",
    "mixed",
)
LEVELS = ("intern", "junior", "mid", "senior", "staff")
DIFFICULTIES = ("easy", "medium", "hard")
MODES = ("practice", "assessment")


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: its name, a line of help, what adds its options, and its package.

    The harness has commands in a package of its own: the server is not to know it, only its name.
    """

    name: str
    summary: str
    add_options: Callable[[argparse.ArgumentParser], None]
    package: str = "server.commands"

    @property
    def module(self) -> str:
        """The module with `run(args) -> int`."""
        return f"{self.package}.{self.name}"

    @property
    def present(self) -> bool:
        """Whether the module is installed."""
        try:
            return importlib.util.find_spec(self.module) is not None
        except ModuleNotFoundError:
            return False

    def run(self, args: argparse.Namespace) -> int:
        """Import the module and run it; its exit code."""
        with loading():
            module = importlib.import_module(self.module)
        run = cast("Callable[[argparse.Namespace], int]", module.run)
        return run(args)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse `argv` (default: the process's arguments), run the subcommand, return the exit code."""
    args = parser().parse_args(argv)
    command = cast("Command", args.command)
    try:
        return command.run(args)
    except KeyboardInterrupt:
        return INTERRUPTED


def typed(*words: str) -> str:
    """Return a command of viva as it can be typed here: by the path of this one, if need be."""
    started, found = sys.argv[0], shutil.which("viva")
    known = found is not None and Path(found).absolute() == Path(started).absolute()
    return shlex.join((started if Path(started).name == "viva" and not known else "viva", *words))


def parser() -> argparse.ArgumentParser:
    """The parser of every subcommand whose module is there."""
    top = argparse.ArgumentParser(
        prog="viva", description="A real-time interview server whose sessions survive any instance."
    )
    top.add_argument("--version", action=_Version, help="print the version and exit")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        if not command.present:
            continue
        sub = commands.add_parser(
            command.name, help=command.summary, description=_sentence(command.summary)
        )
        command.add_options(sub)
        sub.set_defaults(command=command)
    return top


class _Version(argparse.Action):
    """Reads the version only when it is asked for; that costs more than the rest of the start."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:  # noqa: A002 - argparse's name
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.exit(message=f"viva {importlib.metadata.version('viva')}\n")


def _sentence(summary: str) -> str:
    return summary[0].upper() + summary[1:] + "."


def _port(text: str) -> int:
    port = int(text) if text.isdecimal() else 0
    if not 1 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port (1 to 65535)")
    return port


def _count(text: str) -> int:
    count = int(text) if text.isdecimal() else 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of at least 1")
    return count


def _data_dir(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--data-dir",
        type=Path,
        default=DEFAULT_DATA_DIR,
        metavar="DIR",
        help="where the embedded servers keep their data (default: %(default)s)",
    )


def _services(sub: argparse.ArgumentParser) -> None:
    _data_dir(sub)
    sub.add_argument(
        "--socket",
        action="store_true",
        help="tell Valkey's address by its socket file: for instances on this machine it is the"
        " cheaper one, and tools may not know it",
    )


def _up(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--port", type=_port, default=8000, help="of the page and the API (default: %(default)s)"
    )
    sub.add_argument(
        "--instances",
        type=_count,
        default=1,
        metavar="N",
        help="server processes, on the port and those after it (default: %(default)s)",
    )
    _data_dir(sub)


def _serve(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    sub.add_argument("--port", type=_port, default=8000, help="default: %(default)s")


def _token(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--user", required=True, metavar="U", help="the user's id (claim `sub`)")
    sub.add_argument(
        "--role",
        choices=("candidate", "reviewer", "admin"),
        default="candidate",
        help="default: %(default)s",
    )
    sub.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="sign with the secret that `viva up` keeps there (default: with VIVA_JWT_SECRET)",
    )


def _url(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--url",
        default=os.environ.get("VIVA_URL") or DEFAULT_URL,
        help=f"where viva is served (default: VIVA_URL, else {DEFAULT_URL})",
    )


def _bank(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("action", choices=("check",), help="what to do")
    sub.add_argument(
        "folder",
        nargs="?",
        type=Path,
        metavar="FOLDER",
        help="of TOML files (default: the bank that comes with viva)",
    )


def _talk(sub: argparse.ArgumentParser) -> None:
    _url(sub)
    sub.add_argument("--type", choices=TYPES, default="behavioral", help="default: %(default)s")
    sub.add_argument("--role", default="Software engineer", help="default: %(default)s")
    sub.add_argument("--level", choices=LEVELS, default="mid", help="default: %(default)s")
    sub.add_argument(
        "--difficulty", choices=DIFFICULTIES, default="medium", help="default: %(default)s"
    )
    sub.add_argument("--mode", choices=MODES, default="practice", help="default: %(default)s")
    sub.add_argument("--minutes", type=_count, default=15, help="default: %(default)s")
    sub.add_argument("--resume", metavar="ID", help="go on with an interview")
    sub.add_argument(
        "--cv",
        type=Path,
        metavar="FILE",
        help="your résumé, a PDF or text, which a language model takes up in its questions",
    )
    sub.add_argument(
        "--job-description", type=Path, metavar="FILE", help="that of the position, likewise"
    )
    sub.add_argument("--token", help="a JWT (default: VIVA_TOKEN, else one made for --user)")
    sub.add_argument("--user", default=DEFAULT_USER, help="whose interview (default: %(default)s)")
    _data_dir(sub)
    sub.add_argument("--plain", action="store_true", help="plain lines, as in a pipe")
    sub.add_argument("--yes", action="store_true", help="agree to the notice beforehand")
    sub.add_argument(
        "--save",
        type=Path,
        metavar="FILE",
        help="keep the transcript as Markdown; the report, where FILE ends in .report.md",
    )
    sub.add_argument("--report", type=Path, metavar="FILE", help="keep the report as Markdown")


def _load(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "scenario",
        nargs="?",
        default="smoke",
        metavar="SCENARIO",
        help="one that comes with viva (`list` names them), or a TOML file; or `compare`"
        " (default: %(default)s)",
    )
    sub.add_argument(
        "results", nargs="*", default=[], type=Path, metavar="RESULT", help="two results to compare"
    )
    sub.add_argument(
        "--url",
        action="append",
        help="load the viva that is served there; repeat it for several instances"
        " (default: servers of its own)",
    )
    sub.add_argument(
        "--metrics",
        action="append",
        metavar="URL",
        help="an instance's own address, whose /metrics is read; repeat it (default: --url,"
        " where one instance answers there)",
    )
    sub.add_argument(
        "--secret", help="that signs users in there (default: VIVA_JWT_SECRET, which `ps` hides)"
    )
    sub.add_argument("--token", help="a JWT for all, instead of a secret (default: VIVA_TOKEN)")
    sub.add_argument("--users", type=_count, metavar="N", help="so many, instead of the scenario's")
    sub.add_argument(
        "--seconds", type=float, metavar="S", help="for so long, instead of the scenario's time"
    )
    sub.add_argument("--seed", type=int, help="instead of the scenario's")
    sub.add_argument("--html", type=Path, metavar="FILE", help="write a page with charts there")
    sub.add_argument("--json", type=Path, metavar="FILE", help="write the result there")


def _chaos(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--kills",
        type=_count,
        default=10,
        metavar="N",
        help="how often an instance is killed (default: %(default)s)",
    )
    sub.add_argument("--seed", type=int, help="repeat the run of this seed (default: a new one)")
    sub.add_argument(
        "--model",
        choices=("bank", "chat", "responses"),
        default="bank",
        help="whose words are cut: the bank's, or a fake provider's (default: %(default)s)",
    )


def _evaluate(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--url",
        help="judge the viva that is served there, with its VIVA_JWT_SECRET in the environment"
        " (default: instances of its own)",
    )
    sub.add_argument(
        "--source",
        action="append",
        choices=("offline", "fake", "model"),
        help="who speaks and rates: the question bank, a scripted provider, or a real model by"
        " OPENAI_API_KEY and OPENAI_BASE_URL; may be repeated (default: offline and fake)",
    )
    sub.add_argument("--types", metavar="T,…", help="types of interview (default: all)")
    sub.add_argument("--modes", metavar="M,…", help="practice, assessment (default: both)")
    sub.add_argument("--kinds", metavar="K,…", help="kinds of candidates (default: all)")
    sub.add_argument("--short", action="store_true", help="a few interviews that show most")
    sub.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    sub.add_argument(
        "--at-once",
        type=_count,
        default=6,
        metavar="N",
        help="interviews at the same time (default: %(default)s)",
    )
    sub.add_argument(
        "--budget",
        type=float,
        default=1.0,
        metavar="USD",
        help="what a real model may cost in all (default: %(default)s)",
    )
    sub.add_argument(
        "--least",
        type=float,
        default=0.9,
        metavar="SHARE",
        help="of the interviews that have to pass what only should be so (default: %(default)s)",
    )
    sub.add_argument("--html", type=Path, metavar="FILE", help="write the page there")
    sub.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    sub.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep each interview's recording and report there"
    )


def _worker(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--jobs",
        type=_count,
        metavar="N",
        help="made at the same time (default: VIVA_WORKER_JOBS)",
    )


def _nothing(_: argparse.ArgumentParser) -> None:
    """The command is set up by the environment alone."""


COMMANDS = (
    Command("up", "start embedded servers, migrate, and serve the page on this machine", _up),
    Command("serve", "run one instance on the Redis and Postgres of the environment", _serve),
    Command("worker", "make ratings and reports, and nothing else, in this process", _worker),
    Command("services", "run only the embedded Valkey and PostgreSQL", _services),
    Command("migrate", "bring the schema of DATABASE_URL up to date", _nothing),
    Command("token", "print a JWT signed with VIVA_JWT_SECRET", _token),
    Command("bank", "check a question bank and show how its questions are spread", _bank),
    Command("talk", "have an interview in the terminal", _talk),
    Command(
        "load", "simulate users in numbers and measure what they see", _load, "loadtest.commands"
    ),
    Command(
        "chaos", "kill instances under load and count what was lost", _chaos, "loadtest.commands"
    ),
    Command(
        "evaluate",
        "interview simulated candidates and check the quality",
        _evaluate,
        "loadtest.commands",
    ),
)
