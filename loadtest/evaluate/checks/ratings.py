"""Whether each rating can be defended: proven, by its anchors, blind to what is not to be rated."""

import re
from collections.abc import Iterator

from loadtest.evaluate.checks.base import Catalogue, by_model, by_rules, reported
from loadtest.evaluate.recording import Recording
from protocol import commands as c
from protocol.assessment import UNSURE, Rating, answers_to, verified

CATALOGUE = Catalogue("ratings")
_check = CATALOGUE.check

WIDEST = 1
"""How far repeated ratings of one answer may be apart."""
NEVER_RATED = re.compile(
    r"\b(?:accent|dialect|pronunciation|nervous\w*|anxi\w+|likeab\w+|handsome|attractive"
    r"|tone of voice|native speaker|foreigners?|foreign origin|nationality"
    r"|ethnic\w*|religio\w*|gender"
    r"|pregnan\w*|disab\w+"
    r"|sounds? (?:confident|unsure|young|old)|(?:lacks?|shows?) confidence|his age|her age)\b",
    re.IGNORECASE,
)


def _ratings(r: Recording) -> tuple[Rating, ...]:
    if r.report is None:
        return ()
    also = (r.report.communication,) if r.report.communication else ()
    return (*r.report.ratings, *also)


def _of_questions(r: Recording) -> tuple[Rating, ...]:
    return r.report.ratings if r.report else ()


@_check("no-score-without-a-quote", applies=reported)
def no_score_without_a_quote(r: Recording) -> Iterator[str]:
    """A score has evidence, or it is none."""
    for rating in _ratings(r):
        if rating.score is not None and not rating.evidence:
            yield f"{rating.question_id} is scored {rating.score} for nothing"


@_check("quotes-exact", applies=reported)
def quotes_exact(r: Recording) -> Iterator[str]:
    """Each quote stands at its place in the transcript, to the letter."""
    by_number = {turn.turn: turn.text for turn in r.turns}
    for rating in _ratings(r):
        for place in rating.evidence:
            if by_number.get(place.turn, "")[place.start : place.end] != place.quote:
                yield f"{rating.question_id}: “{place.quote[:60]}” does not stand in {place.turn}"


@_check("quotes-of-the-candidate", applies=reported)
def quotes_of_the_candidate(r: Recording) -> Iterator[str]:
    """No quote is the interviewer's."""
    theirs = {turn.turn for turn in r.answers}
    for rating in _ratings(r):
        for place in rating.evidence:
            if place.turn not in theirs:
                yield f"{rating.question_id} quotes turn {place.turn}"


@_check("quotes-of-that-question", applies=reported)
def quotes_of_that_question(r: Recording) -> Iterator[str]:
    """Each quote was said in answer to the question that is rated."""
    for rating in _of_questions(r):
        own = {turn.turn for turn in r.answers if turn.question_id == rating.question_id}
        for place in rating.evidence:
            if place.turn not in own:
                yield f"{rating.question_id} quotes turn {place.turn}"


@_check("verified-by-the-contract", applies=reported)
def verified_by_the_contract(r: Recording) -> Iterator[str]:
    """Each rating passes the server's own test, run here anew."""
    for rating in _ratings(r):
        if not verified(rating, r.turns):
            yield f"{rating.question_id} does not"


@_check("turns-read-are-the-answers", applies=reported)
def turns_read_are_the_answers(r: Recording) -> Iterator[str]:
    """A rating was made from all answers to its question."""
    for rating in _of_questions(r):
        read = {turn.turn for turn in answers_to(rating.question_id, r.turns)}
        if rating.score is not None and set(rating.turns) != read:
            yield f"{rating.question_id} read {sorted(rating.turns)}, said was {sorted(read)}"


@_check("what-was-asked-is-rated", applies=reported)
def what_was_asked_is_rated(r: Recording) -> Iterator[str]:
    """Each main question that was asked has one rating, or the report says why not."""
    told = " ".join(r.report.notes) if r.report else ""
    rated = [rating.question_id for rating in _of_questions(r)]
    for turn in r.main:
        name = str(turn.question_id)
        if rated.count(name) != 1 and f"answers to {name} could not be rated" not in told:
            yield f"{name} has {rated.count(name)} ratings"


@_check("no-rating-failed", severity="should", applies=reported)
def no_rating_failed(r: Recording) -> Iterator[str]:
    """No rating had to be given up."""
    notes = r.report.notes if r.report else ()
    yield from (note for note in notes if "could not be rated" in note)


@_check("silence-is-not-scored", applies=reported)
def silence_is_not_scored(r: Recording) -> Iterator[str]:
    """An answer that says nothing gets no score."""
    for rating in _of_questions(r):
        said = re.sub(r"i (?:do not|don't) know|sorry", "", r.answered(rating.question_id).lower())
        if rating.score is not None and not re.search(r"\w", said):
            yield f"{rating.question_id} is scored {rating.score}"


@_check("anchor-near-the-score", applies=reported)
def anchor_near_the_score(r: Recording) -> Iterator[str]:
    """The anchor that is named is one away from the score at most."""
    for rating in _ratings(r):
        if (rating.score is None) != (rating.anchor is None) or _far(rating):
            yield f"{rating.question_id}: score {rating.score}, anchor {rating.anchor}"


@_check("anchor-told", applies=by_model)
def anchor_told(r: Recording) -> Iterator[str]:
    """A score comes with the words of its anchor."""
    for rating in _ratings(r):
        if rating.score is not None and not rating.anchor_text.strip():
            yield f"{rating.question_id} has none"


@_check("reasons-given", applies=reported)
def reasons_given(r: Recording) -> Iterator[str]:
    """A rating says why, and below 5 what was missing."""
    for rating in _ratings(r):
        if not rating.rationale.strip():
            yield f"{rating.question_id} says nothing"
        elif rating.score is None or "low_transcription_confidence" in rating.caveats:
            continue  # held below 5 by the words, not by what they lacked
        elif rating.score < 5 and not rating.missing.strip():
            yield f"{rating.question_id} does not say what was missing"


@_check("score-is-the-median", applies=by_model)
def score_is_the_median(r: Recording) -> Iterator[str]:
    """The score is the lower median of the samples, held to the middle where speech was unclear."""
    for rating in _ratings(r):
        known = sorted(sample for sample in rating.samples if sample is not None)
        if rating.score is None or not known:
            continue
        median = known[(len(known) - 1) // 2]
        if "low_transcription_confidence" in rating.caveats:
            median = min(4, max(2, median))
        if rating.score != median:
            yield f"{rating.question_id} is {rating.score}, samples {list(rating.samples)}"


@_check("spread-true", applies=by_model)
def spread_true(r: Recording) -> Iterator[str]:
    """The spread is what the samples show."""
    for rating in _ratings(r):
        known = [sample for sample in rating.samples if sample is not None]
        if rating.spread != (max(known) - min(known) if known else 0):
            yield f"{rating.question_id}: {rating.spread} of {list(rating.samples)}"


@_check("spread-small", severity="should", applies=by_model)
def spread_small(r: Recording) -> Iterator[str]:
    """Repeated ratings of one answer are at most 1 apart."""
    for rating in _ratings(r):
        if rating.spread > WIDEST:
            yield f"{rating.question_id} is {rating.spread} apart"


@_check("unclear-speech-told", applies=lambda r: by_model(r) and _unclear(r))
def unclear_speech_told(r: Recording) -> Iterator[str]:
    """Where voice-to-text was unsure the rating says so and concludes less."""
    for rating in _of_questions(r):
        if rating.score is None:
            continue
        if "low_transcription_confidence" not in rating.caveats:
            yield f"{rating.question_id} does not say so"
        elif not 2 <= rating.score <= 4:
            yield f"{rating.question_id} is scored {rating.score}"


@_check("rubric-named", applies=reported)
def rubric_named(r: Recording) -> Iterator[str]:
    """Every rating was made by the report's rubric."""
    assert r.report is not None  # noqa: S101  # it applies
    if not r.report.rubric:
        yield "the report names none"
    for rating in _of_questions(r):
        if rating.rubric != r.report.rubric:
            yield f"{rating.question_id} was rated by {rating.rubric}"


@_check("model-and-prompt-named", applies=by_model)
def model_and_prompt_named(r: Recording) -> Iterator[str]:
    """A model's rating names the model and the digest of its prompt."""
    for rating in _ratings(r):
        asked = rating.method == "model" and bool(rating.samples)
        if asked and not (rating.model and re.fullmatch("[0-9a-f]{64}", rating.prompt_sha256)):
            yield f"{rating.question_id} does not"


@_check("never-rated", applies=reported)
def never_rated(r: Recording) -> Iterator[str]:
    """No reason names accent, emotion, confidence, origin or the like."""
    for rating in _ratings(r):
        found = NEVER_RATED.search(f"{rating.rationale} {rating.missing}")
        if found:
            yield f"{rating.question_id}: “{found[0]}”"


@_check("communication-apart", applies=reported)
def communication_apart(r: Recording) -> Iterator[str]:
    """Communication is rated apart, and is no competency of the composite."""
    for rating in _of_questions(r):
        if rating.question_id == "communication":
            yield "it stands among the questions"


@_check("no-score-offline", applies=by_rules)
def no_score_offline(r: Recording) -> Iterator[str]:
    """Whoever cannot understand an answer gives it no score."""
    for rating in _ratings(r):
        if rating.score is not None or rating.samples:
            yield f"{rating.question_id} is scored {rating.score} by rules"


@_check("offline-rating-says-so", applies=by_rules)
def offline_rating_says_so(r: Recording) -> Iterator[str]:
    """A rating without a model is marked as that, in its words too."""
    for rating in _ratings(r):
        told = "without a model" in rating.rationale or "no answer to rate" in rating.rationale
        if rating.method != "offline" or not told:
            yield f"{rating.question_id} does not say so"


def _far(rating: Rating) -> bool:
    return rating.score is not None and abs(rating.score - (rating.anchor or rating.score)) > 1


def _unclear(r: Recording) -> bool:
    sure = [
        sent.command.confidence
        for sent in r.sent
        if isinstance(sent.command, c.SpeechFinal) and sent.command.confidence is not None
    ]
    return bool(sure) and max(sure) < UNSURE
