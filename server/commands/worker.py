"""`viva worker`: ratings and reports in a process of their own, without sockets."""

import argparse
import asyncio
import os
import sys

import structlog
import uvloop
from msgspec.structs import replace

from server.instance import Instance
from server.logs import configure_logs
from server.settings import Settings, SettingsError, read_settings
from server.signals import Signals

_log = structlog.get_logger()


def run(args: argparse.Namespace) -> int:
    """Work until SIGINT or SIGTERM; 0 then, 1 with one sentence where it could not."""
    try:
        with Signals() as signals:
            settings = read_settings(os.environ)
            configure_logs(settings.log_level)
            jobs: int = args.jobs or settings.worker_jobs or 1
            return uvloop.run(_work(replace(settings, worker_jobs=jobs), signals))
    except (SettingsError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


async def _work(settings: Settings, signals: Signals) -> int:
    instance = Instance(settings)
    over = asyncio.Event()
    failed = False

    def fail() -> None:
        nonlocal failed
        failed = True
        over.set()

    instance.on_failure = fail
    with signals.taken(over.set):
        async with instance.working():
            _log.info(
                "working",
                jobs=settings.worker_jobs,
                assessor=instance.assessor.method,
                consumer=instance.worker.consumer,
            )
            await over.wait()
            await asyncio.gather(instance.book.drained(5.0), instance.budgets.drained(5.0))
    return 1 if failed else 0
