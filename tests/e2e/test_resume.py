"""Resuming on real sockets: cut at every frame's edge and at many bytes, gone on with elsewhere."""

import random
from collections.abc import Callable, Generator

import pytest

from protocol import commands as c
from protocol.codec import Encoding
from tests.e2e.clients import Client, post, until_asked
from tests.e2e.instances import Instance
from tests.e2e.raw_sockets import RawSocket

Start = Callable[..., Instance]
ENCODINGS: tuple[Encoding, ...] = ("json", "msgpack")
TURNS = 6


@pytest.fixture(autouse=True)
def tidy() -> Generator[None]:
    yield
    RawSocket.abandon_all()


def _recorded(instance: Instance, encoding: Encoding) -> tuple[Client, str]:
    """An interview that stands still in its middle, and the client that saw all of it."""
    plan = {"type": "behavioral", "role": "Runner", "duration_minutes": 15}
    interview_id = str(post(instance, "", plan)["id"])
    client = Client(interview_id, encoding)
    client.connect(instance, post(instance, f"/{interview_id}/tickets", {})["ticket"])
    client.until_live()
    consent = c.Consent(version="1", at=1)
    client.post(client.session.send(c.InterviewStart(id="start", consent=consent)))
    for number in range(TURNS // 2):
        until_asked(client)
        given = c.SpeechFinal(id=f"s{number}", utterance_id="u", revision=1, text="naïve 👩🏽‍💻")
        client.post(client.session.send(given))
        client.post(client.session.send(c.AnswerSubmit(id=f"a{number}")))
    until_asked(client)
    client.post(client.session.send(c.InterviewPause(id="pause")))
    while client.session.unanswered or client.session.view.status != "paused":
        client.take()
    return client, interview_id


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
    interview_id = str(post(first, "", plan)["id"])
    client, draw = Client(interview_id, encoding), random.Random(2)
    client.connect(first, post(first, f"/{interview_id}/tickets", {})["ticket"])
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
