"""A client whose bytes are counted, over a raw socket, and what it needs to join."""

import contextlib
import json
import urllib.request
from typing import Any

from msgspec.structs import replace

from protocol.client import ClientSession
from protocol.codec import Encoding
from protocol.events import Live, OpenView, TurnView
from server.auth import sign
from tests.e2e.instances import SECRET, Instance
from tests.e2e.raw_sockets import BINARY, TEXT, CutError, RawSocket, frame


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


def post(instance: Instance, path: str, body: Any) -> Any:
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


def until_asked(client: Client) -> None:
    opened: OpenView | None = client.session.view.open
    while opened is None or opened.speaker != "candidate" or client.session.unanswered:
        client.take()
        opened = client.session.view.open
