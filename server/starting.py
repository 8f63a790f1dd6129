"""What Ctrl-C does while the program is being loaded, from its first line on."""

import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager

INTERRUPTED = 130
"""What a shell reports for SIGINT."""


@contextmanager
def loading() -> Generator[None]:
    """While modules are loaded Ctrl-C ends the process there and then.

    Nothing is open yet, and an exception may be lost in a callback of what is being imported.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(_number: int, _frame: object) -> None:
    sys.stderr.write("interrupted while starting\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)
