"""`viva worker`: ratings and reports in a process of their own, without sockets."""

import argparse
import asyncio
import os
import signal
import sys

import structlog
import uvloop
from msgspec.structs import replace

from server.instance import Instance
from server.logs import configure_logs
from server.serving import SIGNALS, signals_held
from server.settings import Settings, SettingsError, read_settings

_log = structlog.get_logger()


def run(args: argparse.Namespace) -> int:
    """Work until SIGINT or SIGTERM; 0 then, 1 with one sentence where it could not."""
    try:
        settings = read_settings(os.environ)
        configure_logs(settings.log_level)
        jobs: int = args.jobs or settings.worker_jobs or 1
        with signals_held():
            return uvloop.run(_work(replace(settings, worker_jobs=jobs)))
    except (SettingsError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


async def _work(settings: Settings) -> int:
    instance = Instance(settings)
    over = asyncio.Event()
    failed = False

    def fail() -> None:
        nonlocal failed
        failed = True
        over.set()

    instance.on_failure = fail
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, over.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    async with instance.working():
        _log.info("working", jobs=settings.worker_jobs, assessor=instance.assessor.method)
        await over.wait()
        await asyncio.gather(instance.book.drained(5.0), instance.budgets.drained(5.0))
    return 1 if failed else 0
