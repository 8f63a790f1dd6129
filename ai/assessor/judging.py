"""From samples that passed every check to a rating: the median, its limits, its caveats.

All of it is decided here, by fixed rules, whoever made the samples.
"""

from collections.abc import Iterator, Sequence

from ai.assessor.case import READ, Case
from ai.assessor.replies import Anchor, Sample, anchors_near
from ai.bank.answers import words_in
from protocol.assessment import UNSURE, Anchors, Caveat, Method, Rating, Score

SHORT_WORDS = 25
"""Answers of fewer words than this, all to one question together, are noted as short."""
SPREAD = 2
"""Samples that differ by so much disagree."""
NO_ANSWER = "There is no answer to rate: nothing was said beyond not knowing, or asking back."
UNSURE_SCORES = (2, 4)
"""The least and the most that words may rate which were perhaps not said like this.

An extreme score says that an answer was clearly like its anchor; that cannot be clear where the
words themselves are in doubt. The raw scores stay in ``samples``.
"""


def nothing_said(case: Case, method: Method) -> Rating:
    """Return the rating of a case that is empty, for which nobody has to be asked."""
    return Rating(
        question_id=case.question.question_id,
        competency=case.question.competency,
        turns=tuple(turn.turn for turn in case.answers),
        score=None,
        rationale=NO_ANSWER,
        caveats=tuple(_caveats(case, unsure=False)),
        method=method,
        rubric=case.rubric,
    )


def conclude(case: Case, samples: Sequence[Sample], *, model: str, prompt: str) -> Rating:
    """Return the rating that ``samples``, one at least, of a model give together.

    Where half of them or more found too little evidence, so does the rating. Else the score is the
    lower median of the others, and the words are those of the first sample with that score.
    """
    scores = sorted(sample.score for sample in samples if sample.score is not None)
    enough = 2 * len(scores) > len(samples)
    median = scores[(len(scores) - 1) // 2] if enough else None
    chosen = next(sample for sample in samples if sample.score == median)
    unsure = is_unsure(case, chosen)
    score = _held_back(median) if unsure else median
    anchor = _anchor(score, chosen.anchor)
    return Rating(
        question_id=case.question.question_id,
        competency=case.question.competency,
        turns=tuple(turn.turn for turn in case.answers),
        score=score,
        anchor=anchor,
        anchor_text=_text_of(anchor, case.question.anchors),
        evidence=chosen.evidence,
        star=chosen.star,
        rationale=chosen.rationale,
        missing=chosen.missing,
        caveats=(*_caveats(case, unsure=unsure), *_disagreement(samples)),
        method="model",
        model=model,
        prompt_sha256=prompt,
        rubric=case.rubric,
        samples=tuple(sample.score for sample in samples),
        spread=scores[-1] - scores[0] if scores else 0,
    )


def is_unsure(case: Case, sample: Sample) -> bool:
    """Whether voice-to-text was unsure of the answers on the whole, or of a turn that is quoted."""
    known = [turn for turn in case.answers if turn.turn in case.confidence]
    if not known:
        return False
    length = sum(len(turn.text) for turn in known)
    mean = sum(len(turn.text) * case.confidence[turn.turn] for turn in known) / length
    quoted = (case.confidence.get(place.turn, 1.0) for place in sample.evidence)
    return min(mean, *quoted, 1.0) < UNSURE


def offline_caveats(case: Case, sample: Sample) -> tuple[Caveat, ...]:
    """Return the caveats of feedback that was computed without a model."""
    return tuple(_caveats(case, unsure=is_unsure(case, sample)))


def _held_back(score: Score | None) -> Score | None:
    least, most = UNSURE_SCORES
    return None if score is None else min(max(score, least), most)


def _anchor(score: Score | None, said: Anchor | None) -> Anchor | None:
    """Return the anchor that goes with the score: the sample's where it may, else the lower."""
    near = anchors_near(score)
    return said if said in near else near[0]


def _text_of(anchor: Anchor | None, anchors: Anchors) -> str:
    match anchor:
        case 1:
            return anchors.one
        case 3:
            return anchors.three
        case 5:
            return anchors.five
        case None:
            return ""


def _caveats(case: Case, *, unsure: bool) -> Iterator[Caveat]:
    rates_answers = case.task == "rate"
    if rates_answers and _was_interrupted(case):
        yield "interrupted"
    if unsure:
        yield "low_transcription_confidence"
    if rates_answers and sum(words_in(turn.text[:READ]) for turn in case.answers) < SHORT_WORDS:
        yield "short_answer"
    if rates_answers and any(turn.kind == "hint" for turn in case.turns):
        yield "hints_used"


def _was_interrupted(case: Case) -> bool:
    """Whether an answer was broken off, other than by asking for a hint and going on."""
    hints = [place for place, turn in enumerate(case.turns) if turn.kind == "hint"]
    return any(
        turn.speaker == "candidate" and turn.outcome != "final" and place + 1 not in hints
        for place, turn in enumerate(case.turns)
    )


def _disagreement(samples: Sequence[Sample]) -> Iterator[Caveat]:
    scores = [sample.score for sample in samples if sample.score is not None]
    split = 0 < len(scores) < len(samples)
    if split or (scores and max(scores) - min(scores) >= SPREAD):
        yield "spread"
