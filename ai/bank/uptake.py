"""How a main question takes up the answer before it without a model: in the candidate's own words.

A lead that fits any answer shows that somebody heard it only by saying some of it back. So about
half of those in a practice interview quote a phrase, to the letter. It claims nothing: neither that
the answer was understood, nor that it was good. An assessment's leads quote nobody. Which phrase is
picked could tell a candidate what counts, and everybody is to be led on alike.
"""

from typing import NamedTuple

from ai.bank.agenda import rank
from ai.bank.answers import first_hits, readable
from ai.bank.echo import quote
from ai.bank.loading import load_bank
from ai.cues import is_english, load_cues
from ai.lacks import read_answer
from protocol.assessment import StarPart
from protocol.guide import GuideQuestion
from protocol.plan import Plan
from protocol.probing import recovers

TOLD: tuple[StarPart, ...] = ("action", "result")
FEWEST_WORDS = 4
"""A phrase of fewer words is as often a set expression as something that was said."""


class Uptake(NamedTuple):
    """A lead, and what goes into its slot."""

    template: str
    echo: str


def uptake(
    interview_id: str, number: int, plan: Plan, planned: GuideQuestion | None, text: str
) -> Uptake | None:
    """Return a lead into main question ``number`` that quotes ``text``; None: there is none.

    ``text`` is the answer to ``planned``, or to what followed it up. Quoted is what was done, or
    what came of it; nothing of an attack, of what is beside the question, nor of another language
    than that of the bank.
    """
    answer, phrases = readable((text,)), load_bank().phrases
    chance = rank(interview_id, "uptake")
    if plan.mode == "assessment" or chance[number % len(chance)] % 2:
        return None
    if not is_english(plan.language, (answer,)) or first_hits(phrases.words.rude, answer):
        return None
    if recovers(read_answer(plan, planned, text)):
        return None
    places = [place for part in TOLD for place in first_hits(load_cues().star[part], answer)[:1]]
    echo = quote(answer, places[0], phrases.words) if places else ""
    if len(echo.split()) < FEWEST_WORDS:
        return None
    leads = phrases.onward_echo  # one after the other, so that none is heard twice in a row
    return Uptake(leads[(chance[0] + number) % len(leads)], echo)
