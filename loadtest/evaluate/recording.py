"""All that was seen of one interview, and the words in which the checks ask about it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from protocol import commands as c
from protocol import events as e
from protocol.assessment import Report
from protocol.ids import parse_event_id
from protocol.session import Turn

Expected = Literal["offline", "model", ""]
"""Who was to speak and to rate; empty where nobody told the harness."""


class Seen(Struct, frozen=True):
    """A message of the server: when it came, in seconds, and over which connection."""

    at: float
    connection: int
    message: e.ServerMessage


class Sent(Struct, kw_only=True):
    """A durable command, and what it was answered."""

    at: float
    command: c.DurableCommand
    accepted: bool = False
    rejected: str = ""


class Recording(Struct, kw_only=True):
    """One interview of one simulated candidate, as the contract shows it."""

    name: str
    persona: str
    user: str
    expected: Expected
    plan: Mapping[str, Any]
    secrets: tuple[str, ...]
    """Words that this candidate said or wrote and nobody else."""
    seen: list[Seen] = []
    sent: list[Sent] = []
    closes: list[int] = []
    drops: int = 0
    away_s: float = 0.0
    """The longest time that it stayed away, or 0 where it came back at once."""
    faults: list[str] = []
    """What the client itself found wrong: misled, told of an error, turned away."""
    interview: Mapping[str, Any] = {}
    turns: list[Turn] = []
    """The stored transcript."""
    report: Report | None = None
    report_fault: str = ""
    """Why there is no report, as the API puts it, or why it is none."""
    report_for_candidate: int = 0
    """The HTTP status that the candidate got when asking for the report."""
    markdown: str = ""
    html: str = ""
    pdf: bytes = b""
    budget_usd: float = 0.10

    # --- the plan ---

    @property
    def mode(self) -> str:
        """The plan's mode."""
        return str(self.plan.get("mode", "practice"))

    @property
    def offline(self) -> bool:
        """Whether nothing but the question bank was to speak."""
        return self.expected == "offline"

    @property
    def duration_ms(self) -> int:
        """The planned length."""
        return int(self.plan.get("duration_minutes", 30)) * 60_000

    @property
    def early(self) -> bool:
        """Whether the candidate ended the interview before its end."""
        return any(isinstance(sent.command, c.InterviewEnd) for sent in self.sent)

    # --- the log ---

    @property
    def events(self) -> list[e.DurableEvent]:
        """The durable events, each once, in order."""
        newest, found = 0, list[e.DurableEvent]()
        for seen in self.seen:
            message = seen.message
            if isinstance(message, e.Event) and message.id:
                seq = parse_event_id(message.id).seq
                if seq > newest:
                    newest = seq
                    found.append(message)
        return found

    @property
    def ended(self) -> e.InterviewEnded | None:
        """The event that ended it."""
        return next((x for x in self.events if isinstance(x, e.InterviewEnded)), None)

    @property
    def phases(self) -> list[str]:
        """The phases in the order in which they were entered."""
        return [x.phase for x in self.events if isinstance(x, e.PhaseChanged)]

    def of(self, kind: type[Any]) -> list[Any]:
        """Return all messages of a kind, also what came twice."""
        return [seen.message for seen in self.seen if isinstance(seen.message, kind)]

    # --- the transcript ---

    @property
    def spoken(self) -> list[Turn]:
        """The interviewer's turns."""
        return [turn for turn in self.turns if turn.speaker == "interviewer"]

    @property
    def whole(self) -> list[Turn]:
        """The interviewer's turns that nobody interrupted."""
        return [turn for turn in self.spoken if turn.outcome == "final"]

    @property
    def answers(self) -> list[Turn]:
        """The candidate's turns."""
        return [turn for turn in self.turns if turn.speaker == "candidate"]

    @property
    def main(self) -> list[Turn]:
        """The turns that put the main questions."""
        return [t for t in self.spoken if t.kind == "question" and is_main(t.question_id)]

    @property
    def probes(self) -> list[Turn]:
        """The follow-ups."""
        return [turn for turn in self.spoken if turn.kind == "probe"]

    def answered(self, question_id: str | None) -> str:
        """Return all that the candidate said to a question, in one text."""
        return "\n".join(turn.text for turn in self.answers if turn.question_id == question_id)

    def before(self, turn: Turn) -> str:
        """Return what the candidate said last before a turn."""
        earlier = [answer.text for answer in self.answers if answer.turn < turn.turn]
        return earlier[-1] if earlier else ""

    # --- the ratings ---

    @property
    def scores(self) -> list[int]:
        """The scores of the main questions that have one."""
        ratings = self.report.ratings if self.report else ()
        return [rating.score for rating in ratings if rating.score is not None]

    @property
    def all_words(self) -> str:
        """Every text that the server sent or showed about this interview."""
        return "\n".join(self._texts())

    def _texts(self) -> Iterator[str]:
        for message in self.of(e.TurnDelta):
            yield message.text
        for turn in self.turns:
            yield turn.text
        for message in self.of(e.Notice):
            yield message.message
        for message in self.of(e.RatingReady):
            yield str(message.ratings)
        yield self.markdown
        yield self.html


def is_main(question_id: str | None) -> bool:
    """Whether a question is one of the plan's main ones."""
    return (question_id or "").startswith("core-")


def mean(scores: Sequence[int]) -> float | None:
    """Return the mean of scores, None for none."""
    return sum(scores) / len(scores) if scores else None
