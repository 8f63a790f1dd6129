"""An interview told step by step, for tests of the state machine."""

from typing import Any

from protocol import commands as c
from protocol.effects import Emit, Keep, Reject
from protocol.machine import Finished, Input, Received, transition
from protocol.plan import Plan
from protocol.session import Session, Turn

AT = 1_700_000_000_000
CONSENT = c.Consent(version="1", at=AT)


class Story:
    """One interview and the effects of its last input."""

    def __init__(self, **plan: Any) -> None:
        fields: dict[str, Any] = {"type": "technical", "role": "r", "duration_minutes": 15} | plan
        agreed = Plan(**fields)
        self.session = Session(interview_id="i", user_id="u", created_at=AT, plan=agreed)
        self.effects: tuple[Any, ...] = ()
        self.turns: list[Turn] = []
        self.at = AT

    def take(self, happened: Input) -> None:
        self.session, self.effects = transition(self.session, happened)
        self.turns += [effect.turn for effect in self.effects if isinstance(effect, Keep)]

    def send(self, command: c.DurableCommand, logged: str = "") -> None:
        self.take(Received(command=command, at=self.at, logged=logged))

    def start(self) -> None:
        self.send(c.InterviewStart(id="s", consent=CONSENT))

    def say(self, text: str = "Why?") -> None:
        turn, attempt = self.open.turn, self.open.attempt
        self.take(Finished(turn=turn, attempt=attempt, text=text, at=self.at, source="model"))

    def hear(self, text: str, **how: Any) -> None:
        heard: dict[str, Any] = {"id": "f", "utterance_id": "u", "revision": 1, "text": text}
        self.send(c.SpeechFinal(**(heard | how)))

    def answer(self, text: str | None = "Because.") -> None:
        self.send(c.AnswerSubmit(id="a", text=text))

    @property
    def open(self) -> Any:
        assert self.session.open is not None
        return self.session.open

    @property
    def events(self) -> list[Any]:
        return [effect.event for effect in self.effects if isinstance(effect, Emit)]

    @property
    def reject(self) -> Reject:
        (effect,) = self.effects
        assert isinstance(effect, Reject)
        return effect


def begun() -> Story:
    """The candidate is to answer the warm-up question."""
    story = Story()
    story.start()
    story.say()
    return story
