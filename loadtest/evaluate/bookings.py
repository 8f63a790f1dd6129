"""Which interviews a run has: each type in both modes, each persona in both modes, and twins."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from msgspec import Struct

from loadtest.evaluate.personas import PERSONAS
from protocol.scalars import InterviewType, Mode

Source = Literal["offline", "fake", "model"]
"""Who speaks and rates: nobody but the bank, the scripted fake provider, a real provider."""

TYPES: tuple[InterviewType, ...] = get_args(InterviewType)
MODES: tuple[Mode, ...] = get_args(Mode)
MINUTES = 15
COMPARED: InterviewType = "behavioral"
"""The type in which the personas are compared."""

_ROLES: Mapping[str, str] = {
    "behavioral": "Product manager",
    "situational": "Support lead",
    "technical": "Backend engineer",
    "coding": "Software engineer",
    "system_design": "Platform engineer",
    "case": "Strategy analyst",
    "screening": "Account manager",
    "mixed": "Engineering manager",
}


class Booking(Struct, frozen=True, kw_only=True):
    """One interview to be had. ``user`` names who has it, so that somebody may come back."""

    name: str
    persona: str
    type: InterviewType
    mode: Mode
    source: Source
    user: str

    def plan(self, private: str) -> dict[str, Any]:
        """Return the plan that is posted; strong candidates hand in a résumé."""
        plan: dict[str, Any] = {
            "type": self.type,
            "role": _ROLES[self.type],
            "mode": self.mode,
            "duration_minutes": MINUTES,
        }
        if self.persona == "strong":
            plan["resume"] = f"{private}\nFive years in this role; two teams, three products."
        return plan


class Selection(Struct, frozen=True, kw_only=True):
    """What of all that is wanted."""

    sources: Sequence[Source] = ("offline", "fake")
    types: Sequence[InterviewType] = TYPES
    modes: Sequence[Mode] = MODES
    personas: Sequence[str] = tuple(PERSONAS)
    short: bool = False


def book(selection: Selection, source: Source) -> list[list[Booking]]:
    """Return the interviews with one source, in waves: a later one needs the earlier to be over."""
    if selection.short:
        return [_short(source)]
    first = selection.personas[0] if "strong" not in selection.personas else "strong"
    wave = [
        _booking(source, first, kind, mode) for kind in selection.types for mode in selection.modes
    ]
    compared = COMPARED if COMPARED in selection.types else selection.types[0]
    others = (persona for persona in selection.personas if persona != first)
    wave += [
        _booking(source, persona, compared, mode) for persona in others for mode in selection.modes
    ]
    return [wave, [_booking(source, first, compared, mode, again=True) for mode in selection.modes]]


def _short(source: Source) -> list[Booking]:
    """Return the few interviews that still touch most checks."""
    if source == "offline":
        having: Iterable[tuple[str, InterviewType, Mode]] = (
            ("middling", "technical", "practice"),
            ("silent", "behavioral", "assessment"),
            ("hostile", "case", "practice"),
            ("dropping", "mixed", "practice"),
        )
    else:
        compared = ("strong", "middling", "weak", "injecting")
        having = (
            *((persona, COMPARED, "assessment") for persona in compared),
            ("rambling", "coding", "practice"),
        )
    return [_booking(source, *one) for one in having]


def _booking(
    source: Source, persona: str, kind: InterviewType, mode: Mode, *, again: bool = False
) -> Booking:
    name = f"{source} {kind} {mode} {persona}"
    return Booking(
        name=f"{name} again" if again else name,
        persona=persona,
        type=kind,
        mode=mode,
        source=source,
        user=name.replace(" ", "-"),
    )
