"""What a reader has to know before they believe a report, in plain sentences."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest

from protocol.assessment import Caveat, Coverage, Method, Rating
from protocol.scalars import Mode
from protocol.session import Session, Turn

OFFLINE = (
    "Offline: fixed rules looked at the answers, without a language model. What they found is "
    "a rough hint at what to practise, not a judgement."
)
UNSCORED = "No answer was scored: only somebody who understands it can."
_ENDINGS = {
    "terminated": "The interview was ended before it began.",
    "abandoned": "The candidate left and did not come back; what was said until then is rated.",
    "expired": "The interview expired before it was finished.",
}
_APART = "communication"
MENTIONED = 12
"""The most turns that a sentence lists."""


def notes_on(
    *,
    session: Session,
    turns: Sequence[Turn],
    ratings: Sequence[Rating],
    coverage: Coverage,
    missed: Sequence[str],
    composite: float | None,
    method: Method,
    disconnections: int,
    earlier: Mapping[Mode, int],
    others: Sequence[str],
) -> tuple[str, ...]:
    """Return the notes, the gravest first, each once; ``others`` are the caller's own."""
    found = (
        *_on_the_method(method, ratings),
        *_on_the_scores(method, coverage, composite, ratings),
        *_on_the_end(session, coverage),
        *_on_what_was_before(earlier),
        *((f"Asked for and not looked at: {_listed(missed)}.",) if missed else ()),
        *_on_the_words(turns, ratings),
        *_on_the_service(session, turns, disconnections),
        *(note.strip() for note in others if note.strip()),
    )
    return tuple(dict.fromkeys(found))


def _on_the_method(method: Method, ratings: Sequence[Rating]) -> Iterator[str]:
    if method == "offline":
        yield OFFLINE
        return
    offline = [rating for rating in ratings if rating.method == "offline"]
    if offline:
        yield (
            f"{_count(len(offline), 'rating')} of {len(ratings)} {_was(len(offline))} made "
            "offline, by fixed rules, because no model could be asked."
        )


def _on_the_scores(
    method: Method, coverage: Coverage, composite: float | None, ratings: Sequence[Rating]
) -> Iterator[str]:
    if method == "offline" and not coverage.rated:
        yield UNSCORED
        return
    if composite is None:
        yield (
            f"There is no overall score: {coverage.rated} of {coverage.planned} planned questions "
            f"{_was(coverage.rated)} rated, and it takes half of them."
        )
    # What could not be rated at all has a note of its own.
    unrated = sum(r.score is None and bool(r.turns) and r.question_id != _APART for r in ratings)
    if unrated:
        yield f"{_count(unrated, 'answer')} gave too little evidence to be scored."
    spread = [rating.competency for rating in ratings if "spread" in rating.caveats]
    if spread:
        yield f"Repeated ratings disagreed about {_listed(dict.fromkeys(spread))}."


def _on_the_end(session: Session, coverage: Coverage) -> Iterator[str]:
    if session.status in _ENDINGS:
        yield _ENDINGS[session.status]
    if "time_up" in session.noticed:
        yield "The planned time ran out."
    missed = coverage.planned - coverage.asked
    if missed > 0:
        yield f"{_count(missed, 'planned question')} {_was(missed)} not reached."
    silent = coverage.asked - coverage.answered
    if silent > 0:
        yield f"{_count(silent, 'question')} {_was(silent)} asked and not answered."


def _on_what_was_before(earlier: Mapping[Mode, int]) -> Iterator[str]:
    held = sum(earlier.values())
    if held:
        yield (
            f"The candidate had begun {_count(held, 'interview')} of this type before "
            f"({earlier.get('practice', 0)} for practice, {earlier.get('assessment', 0)} "
            "assessed), and may know some of the questions."
        )


def _on_the_words(turns: Sequence[Turn], ratings: Sequence[Rating]) -> Iterator[str]:
    cut = [t.turn for t in turns if t.speaker == "interviewer" and t.outcome == "interrupted"]
    if cut:
        yield f"The interviewer was interrupted ({_turns(cut)}); only what was heard is kept."
    hints = [turn.turn for turn in turns if turn.kind == "hint"]
    if hints:
        yield f"{_count(len(hints), 'hint')} {_was(len(hints))} given ({_turns(hints)})."
    broken = _broken(turns)
    if broken:
        yield f"An answer ended before it was complete ({_turns(broken)})."
    unsure = _with(ratings, "low_transcription_confidence")
    if unsure:
        yield (
            "Voice-to-text was unsure of some words, so that quotes may differ from what was said "
            f"({_turns(unsure)})."
        )


def _broken(turns: Sequence[Turn]) -> list[int]:
    """Return the answers that were cut short, not those that paused for a hint."""
    return [
        turn.turn
        for turn, after in zip_longest(turns, turns[1:])
        if turn
        and turn.speaker == "candidate"
        and turn.outcome != "final"
        and not (after and after.kind == "hint")
    ]


def _on_the_service(session: Session, turns: Sequence[Turn], disconnections: int) -> Iterator[str]:
    spoken = [turn for turn in turns if turn.speaker == "interviewer"]
    bank = [turn.turn for turn in spoken if turn.source == "bank"]
    if bank and len(bank) == len(spoken):
        yield "The question bank spoke for the interviewer throughout, without a model."
    elif bank:
        yield (
            f"The question bank spoke {len(bank)} of the interviewer's {len(spoken)} turns, "
            f"because no model answered ({_turns(bank)})."
        )
    failed = [turn.turn for turn in spoken if turn.outcome == "failed"]
    if failed:
        yield f"The interviewer failed to speak ({_turns(failed)})."
    if "budget_low" in session.noticed:
        yield "The budget for the model ran low during the interview."
    if session.rebuilt:
        yield "The live session came back from what was stored: after a long pause, or a loss."
    if disconnections:
        often = "once" if disconnections == 1 else f"{disconnections} times"
        yield f"The connection was lost {often}."


def _with(ratings: Sequence[Rating], caveat: Caveat) -> list[int]:
    return sorted({turn for r in ratings if caveat in r.caveats for turn in r.turns})


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _turns(numbers: Sequence[int]) -> str:
    more = len(numbers) - MENTIONED
    shown = [str(number) for number in numbers[:MENTIONED]]
    if more > 0:
        shown.append(f"{more} more")
    return f"turn {shown[0]}" if len(shown) == 1 else f"turns {_listed(shown)}"


def _listed(words: Iterable[str]) -> str:
    *head, last = words
    return f"{', '.join(head)} and {last}" if head else last
