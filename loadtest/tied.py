"""Becomes a process of the harness: ties its life to the harness's, and executes the command.

Run as `python -I -S tied.py PARENT BINARY ARGS…`. A harness that is killed leaves nobody behind who
goes on for ever. Like the server's launcher, which the harness may not know, it is a program of its
own: code between fork and exec of a process with threads may deadlock.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(argv: list[str]) -> None:
    """Execute what `argv` asks for; never returns.

    Raises:
        OSError: it cannot be.
    """
    parent, *command = argv
    if sys.platform == "linux":  # elsewhere it outlives a harness that is killed
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        if os.getppid() != int(parent):  # it died before it was asked for
            sys.exit("the parent is gone")
    os.execv(command[0], command)  # noqa: S606 - the point of this program


if __name__ == "__main__":
    main(sys.argv[1:])
