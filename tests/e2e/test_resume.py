"""Resuming on real sockets: cut at every frame's edge and at many bytes, gone on with elsewhere."""

import contextlib
import json
import random
import urllib.request
from collections.abc import Callable, Generator
from typing import Any

import pytest
from msgspec.structs import replace

from protocol import commands as c
from protocol.client import ClientSession
from protocol.codec import Encoding
from protocol.events import Live, OpenView, TurnView
from server.auth import sign
from tests.e2e.instances import SECRET, Instance
from tests.e2e.raw_sockets import BINARY, TEXT, CutError, RawSocket, frame

Start = Callable[..., Instance]
ENCODINGS: tuple[Encoding, ...] = ("json", "msgpack")
TURNS = 6


@pytest.fixture(autouse=True)
def tidy() -> Generator[None]:
    yield
    RawSocket.abandon_all()


class Client:
    """`ClientSession` over a socket whose bytes are counted."""

    def __init__(self, interview_id: str, encoding: Encoding) -> None:
        self.session = ClientSession(encoding)
        self.frames: list[str | bytes] = []
        """What was received, in order."""
        self.edges: list[int] = []
        """How many bytes of the stream had come by the end of each frame."""
        self._id = interview_id
        self._encoding: Encoding = encoding
        self._raw: RawSocket | None = None

    def connect(
        self, instance: Instance, ticket: str | None = None, cut: int | None = None
    ) -> None:
        """Join; after ``cut`` bytes of the stream the connection will be abandoned."""
        if self._raw is not None:
            self._raw.abandon()
        self._raw = RawSocket(instance.port, self._id, subprotocol=f"interview.v1.{self._encoding}")
        self._raw.left = cut
        self.edges.clear()
        self.post(self.session.connection_opened(ticket))

    def post(self, frames: list[bytes]) -> None:
        assert self._raw is not None
        for each in frames:
            self._raw.raw(frame(TEXT if self._encoding == "json" else BINARY, each))

    def take(self) -> Any:
        """Receive one message.

        Raises:
            CutError: the connection is to be abandoned here.
        """
        assert self._raw is not None
        opcode, payload = self._raw.read()
        assert opcode in (TEXT, BINARY), f"closed: {payload!r}"
        self.edges.append(self._raw.received - len(self._raw.unread))
        received = payload.decode() if opcode == TEXT else payload
        self.frames.append(received)
        taken = self.session.receive(received)
        assert taken.misled is None, taken.misled
        self.post(taken.frames)
        return taken.message

    def until_live(self) -> None:
        while not isinstance(self.take(), Live):
            pass

    def abandoned(self) -> None:
        """Take what there is until the cut, or until nothing comes; be gone without a word."""
        assert self._raw is not None
        self._raw.tcp.settimeout(1.0)
        with contextlib.suppress(CutError, TimeoutError):
            while True:
                self.take()
        self._raw.abandon()

    @property
    def picture(self) -> tuple[Any, ...]:
        """Everything the view holds but times, which are the server's."""
        view = self.session.view
        turns = [_timeless(turn) for turn in view.turns]
        opened = None if view.open is None else replace(view.open, started_at=None)
        return (view.head, view.status, view.phase, turns, opened)


def _timeless(turn: TurnView) -> TurnView:
    return replace(turn, started_at=0, ended_at=0)


def _ticket(instance: Instance, path: str, body: Any) -> Any:
    request = urllib.request.Request(
        f"{instance.url}/api/interviews{path}",
        data=json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {sign('ada', 'candidate', SECRET, 600)}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


def _recorded(instance: Instance, encoding: Encoding) -> tuple[Client, str]:
    """An interview that stands still in its middle, and the client that saw all of it."""
    plan = {"type": "behavioral", "role": "Runner", "duration_minutes": 15}
    interview_id = str(_ticket(instance, "", plan)["id"])
    client = Client(interview_id, encoding)
    client.connect(instance, _ticket(instance, f"/{interview_id}/tickets", {})["ticket"])
    client.until_live()
    consent = c.Consent(version="1", at=1)
    client.post(client.session.send(c.InterviewStart(id="start", consent=consent)))
    for number in range(TURNS // 2):
        _until_asked(client)
        given = c.SpeechFinal(id=f"s{number}", utterance_id="u", revision=1, text="naïve 👩🏽‍💻")
        client.post(client.session.send(given))
        client.post(client.session.send(c.AnswerSubmit(id=f"a{number}")))
    _until_asked(client)
    client.post(client.session.send(c.InterviewPause(id="pause")))
    while client.session.unanswered or client.session.view.status != "paused":
        client.take()
    return client, interview_id


def _until_asked(client: Client) -> None:
    opened: OpenView | None = client.session.view.open
    while opened is None or opened.speaker != "candidate" or client.session.unanswered:
        client.take()
        opened = client.session.view.open


def _holding(recorded: Client, interview_id: str, frames: int, encoding: Encoding) -> Client:
    """A client that received only the first ``frames`` of what was recorded."""
    client = Client(interview_id, encoding)
    client.session.connection_opened("a ticket")
    for received in recorded.frames[:frames]:
        client.session.receive(received)
    client.session.resume_token = recorded.session.resume_token
    return client


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("offsets", [60, pytest.param(500, marks=pytest.mark.torture)])
def test_cut_anywhere_and_resumed_elsewhere(start: Start, encoding: Encoding, offsets: int) -> None:
    first, second = start(VIVA_BANK_PACE="60"), start(VIVA_BANK_PACE="60")
    recorded, interview_id = _recorded(first, encoding)
    whole, draw = recorded.picture, random.Random(1)

    def resumed(held: int, cut: int) -> None:
        client = _holding(recorded, interview_id, held, encoding)
        instances = [first, second]
        draw.shuffle(instances)
        client.connect(instances[0], cut=cut)
        client.abandoned()
        client.connect(instances[1])
        client.until_live()
        assert client.picture == whole, (held, cut)

    early = _holding(recorded, interview_id, 3, encoding)
    early.connect(second)
    early.until_live()
    assert early.picture == whole
    edges = list(early.edges)
    for edge in edges:
        resumed(3, edge)
    for _ in range(offsets):
        held = draw.randrange(1, len(recorded.frames))
        client = _holding(recorded, interview_id, held, encoding)
        client.connect(first)
        client.until_live()
        resumed(held, draw.randrange(1, client.edges[-1] + 1))
    print(f"{len(edges)} edges and {offsets} offsets in {encoding}, {edges[-1]} bytes")  # noqa: T201


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_cut_while_the_words_stream(start: Start, encoding: Encoding) -> None:
    first, second = start(VIVA_BANK_PACE="60"), start(VIVA_BANK_PACE="60")
    plan = {"type": "technical", "role": "Sprinter", "duration_minutes": 15}
    interview_id = str(_ticket(first, "", plan)["id"])
    client, draw = Client(interview_id, encoding), random.Random(2)
    client.connect(first, _ticket(first, f"/{interview_id}/tickets", {})["ticket"])
    client.until_live()
    consent = c.Consent(version="1", at=1)
    client.post(client.session.send(c.InterviewStart(id="start", consent=consent)))
    cuts = 0
    opened = client.session.view.open
    while opened is None or opened.speaker != "candidate":
        client.connect(draw.choice((first, second)), cut=draw.randrange(1, 1_500))
        client.abandoned()
        cuts += 1
        opened = client.session.view.open
    client.connect(second)
    client.until_live()
    assert len(client.session.view.turns) == 1
    assert client.session.view.turns[0].outcome == "final"
    print(f"{cuts} cuts while one question streamed in {encoding}")  # noqa: T201
    assert cuts > 5
