"""`viva up`: embedded servers, the schema, and instances on this machine, in the foreground."""

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from server.auth import sign
from server.cli import typed
from server.embedded import EmbeddedError, Services, embedded
from server.embedded.directory import kept_secret
from server.fleet import Fleet
from server.serving import ListenError, listen
from server.settings import SettingsError, read_setting
from server.signals import Signals
from storage.errors import StorageError
from storage.postgres.migrate import migrate

LOCAL_USER = "local"
LOCAL_TOKEN_S = 90 * 86_400
HIGHEST_PORT = 65_535


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; 0 then, 1 with one sentence where it could not."""
    try:
        with Signals() as signals:
            return asyncio.run(_up(args, signals))
    except (EmbeddedError, ListenError, SettingsError, StorageError) as error:
        _say(str(error))
        return 1


class Ending:
    """What signals do: the first cancels the task that this is made in, each later one hurries.

    So does the first where the end has `begun` by itself: to cut the orderly stop short would
    leave what was not told to end.
    """

    def __init__(self) -> None:
        self.begun = False
        self.fleet: Fleet | None = None
        self._task = asyncio.current_task()

    def signalled(self) -> None:
        """Take a signal."""
        if self.begun:
            if self.fleet is not None:
                self.fleet.hurry()
        elif self._task is not None:
            self.begun = True
            self._task.cancel()


async def _up(args: argparse.Namespace, signals: Signals) -> int:
    ending = Ending()
    with signals.taken(ending.signalled):
        try:
            await _serve(args, ending)
        except asyncio.CancelledError:
            if not ending.begun:
                raise
    return 0


async def _serve(args: argparse.Namespace, ending: Ending) -> None:
    ports = _ports(args.port, args.instances)
    drain_s = float(read_setting("VIVA_DRAIN_S", os.environ))
    for port in ports:
        listen("127.0.0.1", port).close()
    async with embedded(args.data_dir, progress=_say, avoided=ports) as services:
        try:
            secret = _secret(args.data_dir)
            _say("bringing the schema up to date …")
            await migrate(services.database_url)
            environment = _environment(services, secret, ports)
            fleet = Fleet(ports, args.data_dir.absolute(), environment, _say, drain_s=drain_s)
            try:
                _say("starting the server …")
                await fleet.start()
                _announce(ports, secret, args.data_dir)
                await _first(fleet.watch(), _failure(services.tended()))
            finally:
                ending.begun, ending.fleet = True, fleet
                _say("stopping the server …")
                await fleet.stop()
        finally:
            ending.begun = True


async def _first(*awaited: Coroutine[Any, Any, Any]) -> None:
    """Return, or raise, as the first of several does; the others are cancelled."""
    tasks = [asyncio.ensure_future(each) for each in awaited]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _failure(sentence: Coroutine[Any, Any, str]) -> None:
    raise EmbeddedError(await sentence)


def _secret(data_dir: Path) -> str:
    """Return the environment's secret, else the data directory's own, made on first use.

    Raises:
        SettingsError: the environment's is too short.
        EmbeddedError: the directory's cannot be used, see `kept_secret`.
    """
    if os.environ.get("VIVA_JWT_SECRET"):
        return str(read_setting("VIVA_JWT_SECRET", os.environ))
    return kept_secret(data_dir / "jwt.secret", 48)


def _environment(services: Services, secret: str, ports: list[int]) -> dict[str, str]:
    """Return what the instances get over the environment of this process.

    Backends are the embedded ones and no other: an address that the shell holds for another
    deployment would have lists and transcripts read from a stranger's database.
    """
    return {
        "REDIS_URL": services.socket_url,
        "CACHE_URL": "",
        "DATABASE_URL": services.database_url,
        "DATABASE_REPLICA_URL": "",
        "VIVA_JWT_SECRET": secret,
        "VIVA_HOSTS": _hosts(ports),
    }


def _ports(first: int, count: int) -> list[int]:
    """Return the instances' ports.

    Raises:
        ListenError: there are not so many.
    """
    if first + count - 1 > HIGHEST_PORT:
        raise ListenError(
            f"{count} instances from port {first} on need ports above {HIGHEST_PORT}, and there are"
            " none: choose a lower --port or fewer --instances"
        )
    return [first + number for number in range(count)]


def _hosts(ports: list[int]) -> str:
    return ",".join(f"{name}:{port}" for port in ports for name in ("127.0.0.1", "localhost"))


def _announce(ports: list[int], secret: str, data_dir: Path) -> None:
    token = sign(LOCAL_USER, "candidate", secret, LOCAL_TOKEN_S)
    lines = [f"  http://127.0.0.1:{port}/#token={token}" for port in ports]
    # No token of theirs is printed: whoever looks at this terminal need not see every interview.
    place = () if os.environ.get("VIVA_JWT_SECRET") else ("--data-dir", str(data_dir))
    reviewers = typed("token", "--user", "NAME", "--role", "reviewer", *place)
    told = [
        "",
        "viva is ready. Open",
        *lines,
        "",
        "Reviewers log in on the same page with what is printed by",
    ]
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write("\n".join([*told, f"  {reviewers}", "", "Ctrl-C stops it.", ""]))
        sys.stdout.flush()


def _say(sentence: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(f"{sentence}\n")
        sys.stderr.flush()
