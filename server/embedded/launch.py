"""Becomes the server: drops root, ties its life to the parent's, and executes the binary.

Run as `python -I -S launch.py PARENT SIGNAL UID GID ARGV0 BINARY ARGS…`. It is a program of its
own instead of a `preexec_fn`, because code between fork and exec of a process with threads may
deadlock.

Order matters: the kernel forgets the parent-death signal whenever the user changes, so it is asked
for last. The check of the parent afterwards closes the gap in which the parent may have died.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _drop_root(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _die_with(parent: int, signal: int) -> None:
    if sys.platform != "linux":
        return  # elsewhere the next start ends what a killed parent left behind
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:
        sys.exit("the parent is gone")


def main(argv: list[str]) -> None:
    """Execute what `argv` asks for; never returns.

    Raises:
        OSError: The user cannot be changed or the binary cannot be executed.
    """
    parent, signal, uid, gid = (int(word) for word in argv[:4])
    name, binary, *arguments = argv[4:]
    if uid >= 0:
        _drop_root(uid, gid)
    os.umask(0o077)
    _die_with(parent, signal)
    os.execv(binary, [name, *arguments])  # noqa: S606 - the point of this program


if __name__ == "__main__":
    main(sys.argv[1:])
