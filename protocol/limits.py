"""The contract's numbers, announced to every client in ``welcome.limits``."""

from msgspec import Struct

from protocol.scalars import Count


class Limits(Struct, frozen=True, kw_only=True):
    """What one socket may do. Sizes in bytes, rates a second."""

    frame_bytes: Count = 64 * 1024
    hello_bytes: Count = 4 * 1024
    answer_bytes: Count = 32 * 1024
    message_bytes: Count = 512 * 1024
    commands_per_second: Count = 20
    command_burst: Count = 40
    partials_per_second: Count = 10
    command_ids: Count = 10_000


LIMITS = Limits()

SEGMENTS_PER_ANSWER = 1_000
"""Final segments of one answer: each costs room in every snapshot, even an empty one."""
UTTERANCE_IDS_BYTES = 144 * 1024
"""Of the ids of these, as JSON: all that may come of the longest ids in ASCII."""
RECORDED_BYTES = 2 * 1024 * 1024
"""Of all that is recorded of one answer, as the log keeps it: revisions that were replaced, too."""

HELLO_TIMEOUT_S = 5.0
HEARTBEAT_MS = 15_000
HEARTBEATS_MISSED = 2.25
OVERRATE_CLOSE_S = 10.0
ERRORS_TO_CLOSE = 3
ERROR_WINDOW_S = 60.0
OVER_LINGER_S = 60.0
"""How long a socket of an interview that is over waits for its report."""

RESUME_TOKEN_S = 24 * 3600
TICKET_S = 60
