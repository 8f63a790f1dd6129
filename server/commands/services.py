"""`viva services`: the embedded servers alone, in the foreground."""

import argparse
import asyncio
import contextlib
import signal
import sys

from server.embedded import EmbeddedError, Services, embedded


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; 0 then, 1 if the servers could not run or one of them ended.

    Prints `REDIS_URL=…`, `DATABASE_URL=…` and `ready` on stdout, everything else on stderr.
    """
    try:
        return asyncio.run(_serve(args))
    except EmbeddedError as error:
        _say(str(error))
        return 1


async def _serve(args: argparse.Namespace) -> int:
    stop = _on_signals()
    try:
        async with embedded(args.data_dir, progress=_say) as services:
            _announce(services, services.socket_url if args.socket else services.redis_url)
            raise EmbeddedError(await services.tended())
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        return 0


def _on_signals() -> asyncio.Event:
    """Cancel this task at the first SIGINT or SIGTERM; more must not break the orderly stop."""
    stop, loop, task = asyncio.Event(), asyncio.get_running_loop(), asyncio.current_task()

    def begin() -> None:
        if not stop.is_set() and task is not None:
            stop.set()
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, begin)
    return stop


def _announce(services: Services, redis_url: str) -> None:
    # Whoever read the addresses may have closed the pipe since; the servers go on.
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(f"REDIS_URL={redis_url}\nDATABASE_URL={services.database_url}\nready\n")
        sys.stdout.flush()


def _say(sentence: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(f"{sentence}\n")
        sys.stderr.flush()
