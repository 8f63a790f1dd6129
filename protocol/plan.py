"""What an interview sets out to do, fixed when it is created."""

from typing import Annotated

from msgspec import Meta, Struct

from protocol.scalars import Difficulty, InterviewType, Level, Mode, Text

RoleTitle = Annotated[str, Meta(min_length=1, max_length=120, pattern=r"\A[^\x00]*\Z")]
Competency = Annotated[str, Meta(min_length=1, max_length=80, pattern=r"\A[^\x00]*\Z")]
Competencies = Annotated[tuple[Competency, ...], Meta(max_length=8)]
Minutes = Annotated[int, Meta(ge=15, le=60)]
Language = Annotated[str, Meta(pattern=r"\A([IiXx]-)?[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,9}\Z")]
"""A language tag, BCP 47 (RFC 5646), checked for its shape."""
Document = Annotated[Text, Meta(max_length=20_000)]


class Weight(Struct, frozen=True, forbid_unknown_fields=True):
    """How much a competency counts in the overall score, where not as much as the others."""

    competency: Competency
    weight: Annotated[int, Meta(ge=1, le=5)]


Weights = Annotated[tuple[Weight, ...], Meta(max_length=8)]


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The immutable frame of one interview: what is asked for, of whom, for how long."""

    type: InterviewType
    role: RoleTitle
    level: Level = "mid"
    difficulty: Difficulty = "medium"
    mode: Mode = "practice"
    duration_minutes: Minutes = 30
    language: Language = "en"
    competencies: Competencies = ()
    weights: Weights = ()
    """Competencies, by their names in the report, that weigh more than 1 in the overall score."""
    job_description: Document | None = None
    resume: Document | None = None

    @property
    def named(self) -> tuple[Competency, ...]:
        """The competencies that it names, to be looked at or to weigh more, each once."""
        names = (*self.competencies, *(weight.competency for weight in self.weights))
        return tuple({name.casefold(): name for name in names}.values())

    @property
    def duration_ms(self) -> int:
        """The planned length in milliseconds."""
        return self.duration_minutes * 60_000

    @property
    def main_questions(self) -> int:
        """How many main questions there are at most: one for seven minutes, at least two."""
        return max(2, self.duration_minutes // 7)

    @property
    def question_minutes(self) -> int:
        """How long they may take: four fifths of the time.

        The rest is for the warm-up, for what the candidate asks, and for those who need longer.
        """
        return self.duration_minutes * 4 // 5

    @property
    def probe_cap(self) -> int:
        """How many follow-ups a main question gets at most; see `protocol.probing.is_due`."""
        return 2
