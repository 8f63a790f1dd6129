"""The client's decisions: what it sends, keeps, drops, and when it comes back."""

from typing import Any, get_args

import pytest
from msgspec.structs import replace

from protocol import client as client_module
from protocol import commands as c
from protocol import events as e
from protocol.client import BACKOFF_CAP_S, BACKOFF_S, ClientSession, Reconnect, Stopped
from protocol.closes import STANDARD, Close, may_reconnect
from protocol.codec import (
    Encoding,
    MismatchError,
    UndecodableError,
    decode_command,
    decode_hello,
    encode,
)
from protocol.ids import EventId
from protocol.limits import LIMITS
from protocol.text import sha256
from tests.support.messages import SNAPSHOT

ENCODINGS = get_args(Encoding)
PAUSE = c.InterviewPause(id="p")
RESUME = c.InterviewResume(id="r")


def tell(client: ClientSession, message: Any) -> Any:
    return client.receive(encode(message, "json").decode())


def welcome(*, head: str = "5-5", snapshot: e.Snapshot | None = SNAPSHOT) -> e.Welcome:
    return e.Welcome(
        interview_id="i",
        role="candidate",
        recovered=snapshot is None,
        head=head,
        resume_token="token",
        heartbeat_ms=12_000,
        limits=LIMITS,
        snapshot=snapshot,
    )


def joined(snapshot: e.Snapshot | None = SNAPSHOT) -> ClientSession:
    client = ClientSession()
    client.connection_opened("ticket")
    tell(client, welcome(snapshot=snapshot))
    return client


def sent(frames: list[bytes]) -> list[Any]:
    return [decode_command(frame.decode(), "json") for frame in frames]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_hello_shows_the_ticket_first_and_the_newest_token_then(encoding: Encoding) -> None:
    client = ClientSession(encoding, "web")

    def hello(ticket: str | None = None) -> c.Hello:
        (frame,) = client.connection_opened(ticket)
        return decode_hello(frame.decode() if encoding == "json" else frame, encoding)

    with pytest.raises(ValueError, match="ticket"):
        client.connection_opened()
    assert hello("ticket") == c.Hello(credential="ticket", client="web")
    raw = encode(welcome(), encoding)
    client.receive(raw.decode() if encoding == "json" else raw)
    assert client.heartbeat_s == 12.0
    assert hello() == c.Hello(credential="token", last_event_id="5-5", client="web")
    assert hello("new").credential == "new"


def test_nothing_is_sent_before_the_welcome_and_all_of_it_then() -> None:
    client = ClientSession()
    assert client.send(PAUSE) == []
    assert client.send(c.Ping(nonce=1)) == []
    client.connection_opened("ticket")
    assert client.send(RESUME) == []
    assert sent(tell(client, welcome()).frames) == [PAUSE, RESUME]
    assert sent(client.send(c.Ping(nonce=1))) == [c.Ping(nonce=1)]


def test_a_command_is_kept_until_it_is_stored() -> None:
    client = joined()
    assert sent(client.send(PAUSE)) == [PAUSE]
    assert client.unanswered == client.unstored == ["p"]
    tell(client, e.Accepted(command_id="p", id="7-7", duplicate=False))
    assert (client.unanswered, client.unstored) == ([], ["p"])
    tell(client, e.Stored(id="6-6"))
    assert client.unstored == ["p"]
    tell(client, e.Stored(id="7-7"))
    assert (client.unstored, client.stored) == ([], EventId(7, 7))
    tell(client, e.Accepted(command_id="p", id="7-7", duplicate=True))
    assert client.unstored == []


def test_an_answer_behind_what_is_stored_lets_the_command_go() -> None:
    client = joined()
    client.send(PAUSE)
    tell(client, e.Stored(id="9-9"))
    tell(client, e.Accepted(command_id="p", id="7-7", duplicate=True))
    assert client.unstored == []


def test_only_a_final_rejection_lets_the_command_go() -> None:
    client = joined()
    client.send(PAUSE)
    reject = {"command_id": "p", "code": "x", "message": "m"}
    tell(client, e.Rejected(**reject, retryable=True))
    assert client.unanswered == ["p"]
    assert sent(client.again("p")) == [PAUSE]
    tell(client, e.Rejected(**reject, retryable=False))
    assert client.unstored == []
    assert client.again("p") == []
    tell(client, e.Rejected(**reject, retryable=False))


def test_a_snapshot_has_everything_sent_again_and_a_recovery_only_what_has_no_answer() -> None:
    client = joined()
    client.send(PAUSE)
    client.send(RESUME)
    tell(client, e.Accepted(command_id="p", id="7-7", duplicate=False))
    client.connection_closed(1006, 0.5)
    assert client.again("r") == []
    client.connection_opened()
    assert sent(tell(client, welcome(snapshot=None)).frames) == [RESUME]
    client.connection_closed(1006, 0.5)
    client.connection_opened()
    assert sent(tell(client, welcome()).frames) == [PAUSE, RESUME]


def test_an_answers_commands_go_out_one_by_one_in_order() -> None:
    client = joined()
    commands: list[Any] = [
        c.SpeechFinal(id="1", utterance_id="u", revision=1, text="t"),
        c.SpeechFinal(id="2", utterance_id="v", revision=1, text="t"),
        c.AnswerSubmit(id="3"),
    ]
    out = [sent(client.send(command)) for command in (*commands, PAUSE)]
    assert out == [[commands[0]], [], [], [PAUSE]]
    assert sent(client.again("1")) == [commands[0]]
    for number, following in enumerate((commands[1:2], commands[2:], []), 1):
        told = tell(client, e.Accepted(command_id=str(number), id="6-6", duplicate=False))
        assert sent(told.frames) == following


def test_too_many_commands_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "COMMANDS_KEPT", 1)
    client = joined()
    client.send(PAUSE)
    with pytest.raises(OverflowError):
        client.send(RESUME)


def test_live_says_that_the_client_has_caught_up() -> None:
    client = joined()
    assert not client.live
    tell(client, e.Live(id="5-5"))
    assert client.live
    client.connection_closed(4001, 0.5)
    assert not client.live


def delta(**fields: Any) -> e.TurnDelta:
    known: dict[str, Any] = {"id": "6-6", "turn": 2, "attempt": 1, "offset": 0, "text": "ab"}
    return e.TurnDelta(**(known | fields))


@pytest.mark.parametrize(
    "event",
    [
        delta(id="7-7"),
        delta(offset=3),
        delta(id=""),
        e.TurnCompleted(
            id="6-6", turn=2, attempt=1, length=1, sha256=sha256("a"), outcome="final", at=1
        ),
    ],
)
def test_a_client_that_was_misled_asks_for_a_snapshot(event: e.DurableEvent) -> None:
    client = joined()
    assert tell(client, event).misled is not None
    client.connection_closed(1006, 0.5)
    (frame,) = client.connection_opened()
    assert decode_hello(frame.decode(), "json").last_event_id is None


@pytest.mark.parametrize(
    "message",
    [
        e.Stored(id="9999999999999999-0"),
        e.Accepted(command_id="p", id="9999999999999999-0", duplicate=False),
        welcome(head="9999999999999999-0"),
    ],
)
def test_an_id_beyond_all_integers_misleads(message: Any) -> None:
    client = joined()
    client.send(PAUSE)
    assert tell(client, message).misled is not None


def test_a_welcome_without_anything_to_hold_misleads() -> None:
    client = ClientSession()
    client.connection_opened("ticket")
    assert tell(client, welcome(snapshot=None)).misled is not None
    forgotten = replace(welcome(snapshot=None), recovered=False)
    assert tell(joined(), forgotten).misled is not None


def test_ratings_for_observers_alone_are_no_part_of_the_log() -> None:
    client = joined()
    told = tell(client, e.RatingReady(turn=1, ratings=[{"score": 3}]))
    assert told.misled is None
    assert told.message.ratings == [{"score": 3}]
    assert client.view.head == EventId(5, 5)
    assert tell(client, e.RatingReady(id="6-6", turn=1, ratings=[])).misled is None
    assert client.view.head == EventId(6, 6)


def test_what_needs_nothing_is_handed_on() -> None:
    client = joined()
    for message in (e.Thinking(turn=1), e.Error(code="c", message="m")):
        told = tell(client, message)
        assert (told.message, told.frames, told.misled) == (message, [], None)


def test_frames_that_are_no_messages_are_raised() -> None:
    client = joined()
    with pytest.raises(UndecodableError):
        client.receive("{")
    with pytest.raises(MismatchError):
        client.receive('{"type":"stored","id":"x"}')


# --- closes --------------------------------------------------------------------------------------


def test_back_off_doubles_up_to_its_cap_and_begins_anew_when_live() -> None:
    client = joined()
    pauses: list[float] = []
    for _ in range(8):
        after = client.connection_closed(1006, 0.5)
        assert isinstance(after, Reconnect)
        pauses.append(after.after_s)
    assert pauses == [0.5 * min(BACKOFF_CAP_S, BACKOFF_S * 2**n) for n in range(8)]
    for _ in range(2_000):
        client.connection_closed(1006, 0.5)
    assert client.connection_closed(1006, 0.25) == Reconnect(0.25 * BACKOFF_CAP_S, False)
    tell(client, e.Live(id="5-5"))
    assert client.connection_closed(1006, 0.0) == Reconnect(0.0, False)
    assert client.connection_closed(1006, 0.5) == Reconnect(0.5, False)


def test_a_draining_server_names_the_time_once() -> None:
    client = joined()
    tell(client, e.Draining(reconnect_after_ms=1_500))
    assert client.connection_closed(4001, 0.9) == Reconnect(1.5, False)
    assert client.connection_closed(4001, 0.0) == Reconnect(0.0, False)


def test_an_unknown_credential_asks_for_a_ticket() -> None:
    client = joined()
    assert client.connection_closed(4401, 0.0) == Reconnect(0.0, True)
    with pytest.raises(ValueError, match="ticket"):
        client.connection_opened()
    (frame,) = client.connection_opened("new")
    assert decode_hello(frame.decode(), "json").last_event_id == "5-5"


CONTRACT = {
    True: [4000, 4001, 4008, 4009, 4010, 4011, 4029, 4401, 1001, 1006, 1011, 1012],
    False: [4500, 4503, 4504, 4505, 4506, 4508, 4510, 1002, 1003, 1007, 1008, 1009],
}


@pytest.mark.parametrize("code", [*CONTRACT[True], 4002, 4499])
def test_codes_that_ask_to_come_back(code: int) -> None:
    assert may_reconnect(code)
    assert isinstance(joined().connection_closed(code, 0.0), Reconnect)


@pytest.mark.parametrize("code", [*CONTRACT[False], 1000, 1005, 3999, 4501, 4999, 5000])
def test_codes_that_ask_to_stay_away(code: int) -> None:
    assert not may_reconnect(code)
    assert joined().connection_closed(code, 0.0) == Stopped(code)


def test_the_closes_are_those_of_the_contract_and_fit_into_a_frame() -> None:
    private = {int(close) for close in Close}
    assert private | set(STANDARD) == {*CONTRACT[True], *CONTRACT[False]}
    for close in Close:
        assert 0 < len(close.reason.encode()) <= 123


def test_the_limits_are_those_of_the_contract() -> None:
    assert (LIMITS.frame_bytes, LIMITS.hello_bytes) == (65_536, 4_096)
    assert (LIMITS.answer_bytes, LIMITS.message_bytes) == (32_768, 524_288)
    assert (LIMITS.commands_per_second, LIMITS.command_burst) == (20, 40)
    assert (LIMITS.partials_per_second, LIMITS.command_ids) == (10, 10_000)
