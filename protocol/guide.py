"""The guide: an interview's main questions, prepared before it begins and never changed.

Structured interviews predict performance best because everybody is asked the same and rated by the
same anchors (Sackett et al. 2022, "Revisiting meta-analytic estimates of validity in personnel
selection"). The guide is that sameness: two interviews with equal versions ask and rate alike.
"""

from typing import Literal

from msgspec import Struct

from protocol.scalars import Ordinal, Text

Intent = Literal["clarify", "complete", "deepen", "challenge", "redirect"]
"""What a follow-up is after.

``clarify``: what was meant. ``complete``: what is missing. ``deepen``: more of the same.
``challenge``: what speaks against it. ``redirect``: back to what was asked.
"""


class Probe(Struct, frozen=True):
    """A prepared follow-up."""

    text: Text
    intent: Intent = "deepen"


class Anchors(
    Struct, frozen=True, rename={"one": "1", "three": "3", "five": "5"}, forbid_unknown_fields=True
):
    """What an answer is like that rates 1, 3 and 5 of 5."""

    one: Text
    three: Text
    five: Text


class GuideQuestion(Struct, frozen=True, kw_only=True):
    """A main question as it was planned. ``question_id`` is its name in the log (``core-2``)."""

    question_id: str
    bank_id: str
    competency: Text
    text: Text
    probes: tuple[Probe, ...] = ()
    hints: tuple[Text, ...] = ()
    anchors: Anchors
    minutes: Ordinal = 5


class Guide(Struct, frozen=True, kw_only=True):
    """An interview's questions in their order, fixed when it is created and never changed.

    ``version`` is a digest of the questions: equal versions ask and rate alike. ``missed`` are
    competencies that the plan names and no question looks at.
    """

    version: str
    questions: tuple[GuideQuestion, ...]
    missed: tuple[Text, ...] = ()

    def question(self, question_id: str) -> GuideQuestion | None:
        """Return the question of that name."""
        return next((q for q in self.questions if q.question_id == question_id), None)
