"""How the clients of a load behave beside what they measure, where both are on one machine."""

import contextlib
import os


def give_way() -> None:
    """Let no wake-up of this process interrupt another; to be called before it has threads.

    A client is woken by each word that a server sends. On a machine of its own that costs the
    server nothing. Here it would be stopped in the middle of its writes, some hundred times a
    second. What a client thereby reads late counts as the server's delay. The model's side must
    not give way: a token that it sends late for want of CPU is late in no figure.

    Source: sched(7), "SCHED_BATCH: Scheduling batch processes".
    """
    with contextlib.suppress(AttributeError, OSError):  # not Linux, or not allowed
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
