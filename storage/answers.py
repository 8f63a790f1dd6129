"""What is remembered of a command: its digest, and what it was answered."""

import hashlib

import msgspec

from protocol.commands import AnswerSubmit, DurableCommand, InterviewEnd
from protocol.effects import Reject
from storage.live import COMMAND_IDS, LAST_IDS, Answer


def digest_of(command: DurableCommand) -> str:
    """Return the digest of a command's content, by which a reused id is told from a repeat.

    Absent fields are left out: a version that knows more of them sees the same content.
    """
    fields = msgspec.structs.asdict(command).items()
    given = {name: value for name, value in fields if value is not None}
    content = msgspec.json.encode((command.__struct_config__.tag, given), order="deterministic")
    return hashlib.sha256(content).hexdigest()[:32]


def ids_for(command: DurableCommand) -> int:
    """Return how many ids may be used up before ``command`` is refused."""
    match command:
        case InterviewEnd():
            return COMMAND_IDS + LAST_IDS
        case AnswerSubmit():
            return COMMAND_IDS + LAST_IDS // 2
        case _:
            return COMMAND_IDS


def rejection(reject: Reject) -> str:
    """Return how a rejection is remembered."""
    return "r" + msgspec.json.encode(reject).decode()


def read_answer(remembered: str) -> Answer:
    """Read a remembered answer: the digest, then ``a<event id>`` or ``r<rejection>``."""
    digest, _, answer = remembered.partition(" ")
    if answer.startswith("a"):
        return Answer(digest, accepted=answer[1:])
    return Answer(digest, rejected=_reject.decode(answer[1:]))


_reject = msgspec.json.Decoder(Reject)
