"""Puts a turn together of shared wordings, the same everywhere while the cache is the same."""

from collections.abc import Sequence
from typing import Protocol

from ai.bank.agenda import rank
from ai.bank.echo import clean
from ai.bank.templates import fill
from ai.speech import TurnRequest
from ai.wording.needs import Need, lines_of

STEM = 24
"""Code points by which a lead that was heard in the interview is told."""


class Wordings(Protocol):
    """Where shared wordings are kept."""

    async def find(self, interview_id: str, needs: Sequence[Need]) -> Sequence[tuple[str, ...]]:
        """Return the variants of each need, none where there are none; never fails, nor takes long.

        What is missing, or old, is made for the next time.
        """
        ...


async def shared_text(wordings: Wordings, request: TurnRequest) -> str:
    """Return all of a turn's text; empty where it is to be worded for this interview.

    Chance, the same for all instances, chooses among the variants: a lead that was not heard yet
    while there is one.
    """
    lines = lines_of(request)
    needs = [line.need for line in lines if line.need is not None]
    if not lines:
        return ""
    found = dict(zip(needs, await wordings.find(request.interview_id, needs), strict=True))
    if not all(found.values()):
        return ""
    spoken = (
        line.text if line.need is None else _chosen(request, found[line.need]) for line in lines
    )
    return " ".join(spoken)


def _chosen(request: TurnRequest, variants: Sequence[str]) -> str:
    heard = [turn.text for turn in request.turns if turn.speaker == "interviewer"]
    ranked = sorted(variants, key=lambda text: rank(request.interview_id, request.turn, text))
    fresh = (text for text in ranked if not any(said.startswith(text[:STEM]) for said in heard))
    return fill(next(fresh, ranked[0]), {"role": clean(request.plan.role)})
