"""A recorded interview, cut everywhere, ends as if it had never been cut.

`VIVA_CUT_SEED` repeats the random cuts of a run that failed.
"""

import copy
import os
import random
from collections.abc import Callable
from typing import Any, get_args

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side

from protocol.client import ClientSession, Misled, Reconnect
from protocol.codec import Encoding
from protocol.view import View
from tests.support.conversation import AT, TICKET, Candidate, Link, Server

ENCODINGS = get_args(Encoding)
SEED = int(os.environ.get("VIVA_CUT_SEED", "1"))
SEEDS = 150
ROUNDS = 4_000
"""More than any of these interviews takes."""
LOST = 1006

Fate = Callable[[str], bool]
"""Says of the next frame, ``up`` to the server or ``down`` to the client, whether it is lost."""


class Conversation:
    """A client and a server over connections that break where fate says so."""

    def __init__(self, encoding: Encoding, fate: Fate) -> None:
        self.encoding: Encoding = encoding
        self.fate = fate
        self.server = Server()
        self.client = ClientSession(encoding, "web")
        self.candidate = Candidate(self.client)
        self.received: list[bytes] = []
        self.connections = self.recoveries = 0
        self._up: list[bytes] = []
        self._connect(TICKET)

    def run(self, trim: "random.Random | None" = None) -> None:
        """Go on until nobody has anything to say."""
        for _ in range(ROUNDS):
            if self._exchange():
                continue
            if self.client.unanswered:
                for command_id in self.client.unanswered:
                    self._up += self.client.again(command_id)
            elif not self.server.advance():
                return
            if trim is not None and trim.random() < 0.05:
                self.server.trim()
                self._connect(None)
        raise AssertionError("the interview does not end")

    def _connect(self, ticket: str | None) -> None:
        if ticket is None:
            again = self.client.connection_closed(LOST, 0.5)
            assert isinstance(again, Reconnect)
            assert not again.needs_ticket
        self.connections += 1
        self.link = Link(self.server, self.encoding)
        self._up = self.client.connection_opened(ticket)

    def _exchange(self) -> bool:
        """Carry what is on the way, both ways; tell whether there was anything."""
        up, self._up, down = self._up, [], list[bytes]()
        for frame in up:
            if self.fate("up"):
                self._connect(self._ticket)
                return True
            down += self.link.receive(frame)
        down += self.link.poll()
        for frame in down:
            if self.fate("down"):
                self._connect(self._ticket)
                return True
            self.received.append(frame)
            self._take(frame)
        return bool(up or down or self._up)

    @property
    def _ticket(self) -> str | None:
        return None if self.client.resume_token else TICKET

    def _take(self, frame: bytes) -> None:
        got = self.client.receive(frame.decode() if self.encoding == "json" else frame)
        assert got.misled is None
        self._up += got.frames + self.candidate.react()


def shown(view: View, anew: bool) -> dict[str, Any]:  # noqa: FBT001
    """What the view shows, but for where the log stands: a cut may have split a delta.

    A client that began ``anew``, with a snapshot, was not told of notices and reports before it.
    """
    left_out = {"head", "notices", "report"} if anew else {"head"}
    return {name: value for name, value in vars(view).items() if name not in left_out}


def uncut(encoding: Encoding) -> Conversation:
    made = Conversation(encoding, lambda _: False)
    made.run()
    assert made.client.view.status == "completed"
    assert len(made.client.view.turns) == 14
    return made


def whole(made: Conversation, expected: Conversation, *, trimmed: bool = False) -> None:
    """The same interview at the client and at the server, with one effect a command."""
    assert shown(made.client.view, trimmed) == shown(expected.client.view, trimmed)
    assert made.client.view.head == made.server.head
    assert [turn.public() for turn in made.server.turns] == made.client.view.turns
    assert made.server.commands == expected.server.commands
    assert set(made.server.commands.values()) == {1}
    assert made.client.unanswered == []


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("way", ["up", "down"])
def test_lost_at_every_frame_of_a_running_interview(encoding: Encoding, way: str) -> None:
    expected = uncut(encoding)
    place = cuts = 0
    while True:
        passed = 0

        def fate(which: str, place: int = place) -> bool:
            nonlocal passed
            passed += which == way
            return which == way and passed == place + 1

        made = Conversation(encoding, fate)
        made.run()
        if made.connections == 1:
            break
        whole(made, expected)
        cuts += 1
        place += 1
    assert cuts == (len(expected.received) if way == "down" else 21)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_lost_again_and_again(encoding: Encoding) -> None:
    expected = uncut(encoding)
    for seed in range(SEED, SEED + SEEDS):
        print(f"VIVA_CUT_SEED={seed}")  # noqa: T201  # pytest shows the last one where it fails
        draw = random.Random(seed)
        made = Conversation(encoding, lambda _, draw=draw: draw.random() < 0.15)
        made.run()
        assert made.connections > 5
        whole(made, expected)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_lost_while_the_log_is_trimmed(encoding: Encoding) -> None:
    """Who comes back behind the log gets a snapshot, and goes on from it."""
    expected = uncut(encoding)
    for seed in range(SEED, SEED + SEEDS):
        print(f"VIVA_CUT_SEED={seed}")  # noqa: T201  # pytest shows the last one where it fails
        draw = random.Random(seed)
        made = Conversation(encoding, lambda _, draw=draw: draw.random() < 0.05)
        made.run(trim=draw)
        whole(made, expected, trimmed=True)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_cut_after_every_byte(encoding: Encoding) -> None:
    """The server's bytes arrive one by one; after each, a copy of the client starts over.

    The server has the whole interview by then: what the copy missed is in the log, what it says
    once more was said before.
    """
    recorded = uncut(encoding)
    stream, frames = Protocol(Side.SERVER, state=OPEN), recorded.received
    for frame in frames:
        stream.send_text(frame) if encoding == "json" else stream.send_binary(frame)
    raw = b"".join(stream.data_to_send())
    length, answers = len(recorded.server.log), dict(recorded.server.answers)

    client = ClientSession(encoding, "web")
    candidate = Candidate(client)
    client.connection_opened(TICKET)
    parser = Protocol(Side.CLIENT, state=OPEN, max_size=None)
    taken = 0
    for offset in range(len(raw)):
        parser.receive_data(raw[offset : offset + 1])
        for event in parser.events_received():
            assert isinstance(event, Frame)
            assert (event.opcode is Opcode.TEXT) == (encoding == "json")
            data = bytes(event.data)
            assert data == frames[taken], "only whole frames come out"
            assert client.receive(data.decode() if encoding == "json" else data).misled is None
            candidate.react()
            taken += 1
        resumed = copy.deepcopy(client)
        recovered = _resume(resumed, recorded.server, encoding)
        assert recovered == (client.view.head.seq > 0)
        assert shown(resumed.view, not recovered) == shown(recorded.client.view, not recovered)
        assert resumed.view.head == recorded.server.head
        assert resumed.unanswered == []
    assert taken == len(frames)
    assert (len(recorded.server.log), recorded.server.answers) == (length, answers)


def _resume(client: ClientSession, server: Server, encoding: Encoding) -> bool:
    """Connect once more, carry everything there is to say; tell whether the log was enough."""
    assert isinstance(client.connection_closed(LOST, 0.5), Reconnect)
    link = Link(server, encoding)
    up = client.connection_opened(None if client.resume_token else TICKET)
    while up:
        down: list[bytes] = []
        for frame in up:
            down += link.receive(frame)
        up: list[bytes] = []
        for frame in down + link.poll():
            got = client.receive(frame.decode() if encoding == "json" else frame)
            assert not isinstance(got.misled, Misled)
            up += got.frames
    return link.recovered


def test_the_recording_is_worth_cutting() -> None:
    made = uncut("json")
    turns = made.client.view.turns
    assert {turn.kind for turn in turns} == {"question", "probe", "answer", "reply", "closing"}
    assert [turn.text for turn in turns[:3]] == ["Wie zähmt man 🦁?", "é1 é2", "Wie z"]
    assert turns[2].outcome == "interrupted"
    assert all(turn.started_at == AT for turn in turns)
    assert made.client.view.report is not None
