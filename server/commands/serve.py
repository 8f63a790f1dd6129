"""`viva serve`: one instance on the Redis and Postgres of the environment."""

import argparse
import contextlib
import os
import resource
import sys

import uvloop

from server import garbage
from server.app import create_app
from server.instance import Instance
from server.logs import configure_logs
from server.serving import Host, ListenError, listen
from server.settings import Settings, SettingsError, read_settings
from server.signals import Signals


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; 0 then, 1 with one sentence where it could not."""
    try:
        with Signals() as signals:
            settings = read_settings(os.environ)
            configure_logs(settings.log_level)
            allow_files()
            return uvloop.run(_serve(settings, signals, args.host, args.port))
    except (SettingsError, ListenError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def allow_files() -> None:
    """Have as many open files as the system allows: a socket is one, and a model's reply another.

    Shells begin with 1,024 on most systems, and allow far more.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _serve(settings: Settings, signals: Signals, host: str, port: int) -> int:
    listener = listen(host, port, reuse_port=settings.reuse_port)
    instance = Instance(settings)
    serving = Host(create_app(instance), listener, sockets=settings.max_connections)
    instance.on_failure = serving.fail
    garbage.settle()
    return await serving.run(signals, instance.drain.run)
