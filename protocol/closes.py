"""Close codes and what they ask of the client: reconnect (4000-4499) or stay away (4500-4999)."""

from enum import IntEnum


class Close(IntEnum):
    """Why a socket was closed (private-use codes of RFC 6455, §7.4.2, and 1009 of §7.4.1)."""

    MESSAGE_TOO_BIG = 1009
    INTERNAL = 4000
    DRAINING = 4001
    TOO_SLOW = 4008
    HEARTBEAT_LOST = 4009
    RESYNCHRONISE = 4010
    BACKEND_DOWN = 4011
    RATE_LIMITED = 4029
    CREDENTIAL = 4401
    UNDECODABLE = 4500
    FORBIDDEN = 4503
    OVER = 4504
    REPLACED = 4505
    NO_SUBPROTOCOL = 4506
    NO_HELLO = 4508
    ABUSE = 4510

    @property
    def reason(self) -> str:
        """A sentence for the close frame, well under RFC 6455's 123 bytes."""
        return _REASONS[self]


_REASONS: dict[int, str] = {
    Close.MESSAGE_TOO_BIG: "the frame is larger than welcome.limits allows",
    Close.INTERNAL: "internal error; reconnect",
    Close.DRAINING: "this instance is going away; reconnect",
    Close.TOO_SLOW: "events are read too slowly; reconnect",
    Close.HEARTBEAT_LOST: "no message and no ping within 2.25 heartbeats; reconnect",
    Close.RESYNCHRONISE: "the log changed under this socket; reconnect",
    Close.BACKEND_DOWN: "a backend is down; reconnect",
    Close.RATE_LIMITED: "too many commands or frames; slow down and reconnect",
    Close.CREDENTIAL: "the credential is expired or unknown; get a new ticket",
    Close.UNDECODABLE: "the frame cannot be decoded",
    Close.FORBIDDEN: "no such interview for this credential",
    Close.OVER: "the interview is over",
    Close.REPLACED: "replaced by a newer socket",
    Close.NO_SUBPROTOCOL: "ask for interview.v1.json or interview.v1.msgpack",
    Close.NO_HELLO: "no hello within 5 s",
    Close.ABUSE: "too many messages that do not fit their schema",
}

STANDARD = {
    1001: "going away",
    1002: "protocol error",
    1003: "unsupported kind of frame",
    1006: "the connection was lost without a close frame",
    1007: "text is not UTF-8",
    1008: "policy violation",
    1009: "the frame is too big",
    1011: "internal error",
    1012: "service restart",
}
"""The codes of RFC 6455, §7.4.1, and its registry that the contract names, with their meanings."""

_STANDARD_RECONNECT = frozenset((1001, 1006, 1011, 1012))
"""The standard codes that ask for a reconnect. Every other standard code does not."""


def reason_of(code: int) -> str:
    """Return what a close frame tells beside ``code``; nothing for one that is in no table."""
    return _REASONS.get(code) or STANDARD.get(code, "")


def may_reconnect(code: int) -> bool:
    """Tell a client whether to come back after ``code``."""
    return 4000 <= code <= 4499 or code in _STANDARD_RECONNECT
