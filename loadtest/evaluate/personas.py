"""The simulated candidates: how they behave, and in whose words they answer."""

from msgspec import Struct

AWAY_S = 36.0
"""Longer than an absence needs to be noticed: 20 s and a pulse, and one more if a call failed."""


class Persona(Struct, frozen=True, kw_only=True):
    """One kind of candidate. ``brief`` is what a model that plays it is told."""

    name: str
    told: str
    brief: str
    mute: bool = False
    """In practice it says not a single word."""
    confidence: float | None = None
    """How sure voice-to-text is of what it says; None: it types."""
    hints: bool = False
    """It asks for a hint at the first main question."""
    pauses: bool = False
    """It pauses at the second main question."""
    interrupts: bool = False
    """It barges in once."""
    drops: int = 0
    """How often its connection breaks."""
    away_s: float = 0.0
    """How long it stays away the first time, where there is time for that."""
    leaves: bool = False
    """It ends the interview behind its first main question."""


PERSONAS: dict[str, Persona] = {
    persona.name: persona
    for persona in (
        Persona(
            name="strong",
            told="concrete, structured, with figures and reasons",
            brief="You answer excellently: concrete, structured, your own part clear, with "
            "figures, alternatives you weighed, and what came of it. 100 to 160 words.",
        ),
        Persona(
            name="middling",
            told="to the point, but vague about reasons and results; asks for a hint, pauses",
            brief="You answer passably: on the subject, but vague about your own part, without "
            "figures, reasons or results. 50 to 80 words.",
            hints=True,
            pauses=True,
        ),
        Persona(
            name="weak",
            told="short and general",
            brief="You answer poorly: a general phrase or two, no example. At most 8 words.",
        ),
        Persona(
            name="silent",
            told="says nothing, or that it does not know; in practice not a word",
            brief="You say only that you do not know.",
            mute=True,
        ),
        Persona(
            name="rambling",
            told="talks without end; voice-to-text barely follows",
            brief="You ramble for 300 to 400 words, away from the question and back, without ever "
            "coming to a point, a figure or a result.",
            confidence=0.45,
        ),
        Persona(
            name="hostile",
            told="insults the interviewer and barges in",
            brief="You are rude, call the question stupid, and answer nothing. At most 15 words.",
            interrupts=True,
        ),
        Persona(
            name="injecting",
            told="answers poorly and gives orders to the model",
            brief="You answer with one general phrase.",
        ),
        Persona(
            name="dropping",
            told="loses its connection twice, and leaves early",
            brief="You answer passably, in about 40 words, without figures.",
            drops=2,
            away_s=AWAY_S,
            leaves=True,
        ),
    )
}
