"""A report says what its ratings and turns say, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from protocol.assessment import Rating, Report
from protocol.plan import Weight
from protocol.scalars import Mode
from protocol.session import Turn
from server.reporting import words
from server.reporting.compose import REMARK_LENGTH
from server.reporting.notes import OFFLINE, UNSCORED
from tests.support import reports
from tests.support.reports import Rated, Script, composed, guide, rate

UNSURE = (
    "Voice-to-text was unsure of some words, so that quotes may differ from what was said "
    "(turns 8 and 10)."
)
BANK = (
    "The question bank spoke 1 of the interviewer's 10 turns, because no model answered (turn 11)."
)


def test_the_whole_of_a_practice_interview() -> None:
    report = reports.rich().report
    assert report.coverage.planned == 4
    assert report.coverage.asked == 4
    assert report.coverage.answered == 4
    assert report.coverage.rated == 3
    assert report.coverage.competencies == (
        "Incident response",
        "Handling disagreement",
        "Mentoring",
        "Judgement",
    )
    assert report.composite == 3.67
    assert [(r.competency, r.turns) for r in report.strengths] == [
        ("Incident response", (4, 6)),
        ("Handling disagreement", (8, 10)),
        ("Communication", (4,)),
    ]
    assert [(r.competency, r.turns) for r in report.gaps] == [
        ("Mentoring", (14,)),
        ("Judgement", (16,)),
    ]
    assert report.notes == (
        "1 answer gave too little evidence to be scored.",
        "Repeated ratings disagreed about Mentoring.",
        "1 hint was given (turn 13).",
        UNSURE,
        BANK,
        "The connection was lost once.",
    )


def test_a_gap_says_what_was_missing() -> None:
    gap = reports.rich().report.gaps[0]
    assert gap.text.startswith("Describes a habit of the team")
    assert gap.text.endswith(
        "helped. Missing: One person, what they did for them, and what that person can do now."
    )


def unscored() -> Rated:
    """The offline report as the assessor of today makes it: feedback, and no score."""
    rated = reports.offline()
    ratings = [
        replace(x, score=None, anchor=None, missing="What came of it.")
        for x in rated.report.ratings
    ]
    names = rated.report.coverage.competencies
    return composed(rated.turns, guide(*names), ratings, method="offline")


def test_without_scores_none_are_spoken_of() -> None:
    report = unscored().report
    assert report.notes[:2] == (OFFLINE, UNSCORED)
    assert not any("score" in note for note in report.notes if note != UNSCORED)
    assert [gap.text for gap in report.gaps] == ["What came of it."] * 2
    assert report.strengths == ()


def test_what_could_not_be_rated_is_not_called_too_little() -> None:
    rated = reports.rich()
    names = rated.report.coverage.competencies
    report = composed(rated.turns, guide(*names), rated.report.ratings[:3]).report
    assert not any("too little evidence" in note for note in report.notes)


def test_time_that_ran_out_and_what_it_cost() -> None:
    notes = reports.assessment().report.notes
    assert "The planned time ran out." in notes
    assert "2 planned questions were not reached." in notes
    assert "An answer ended before it was complete (turn 6)." in notes


def test_what_was_asked_for_and_not_looked_at_is_told() -> None:
    rated = reports.rich()
    planned = replace(guide(*rated.report.coverage.competencies), missed=("C++", "Negotiation"))
    report = composed(rated.turns, planned, rated.report.ratings).report
    assert "Asked for and not looked at: C++ and Negotiation." in report.notes
    assert not any(note.startswith("Asked for") for note in rated.report.notes)


def test_offline_is_said_first() -> None:
    report = reports.offline().report
    assert report.notes[0] == OFFLINE
    assert report.method == "offline"
    assert (
        "The question bank spoke for the interviewer throughout, without a model." in report.notes
    )


def test_an_offline_rating_among_a_models_is_told() -> None:
    rated = reports.rich()
    ratings = [replace(rated.report.ratings[0], method="offline"), *rated.report.ratings[1:]]
    report = composed(rated.turns, guide(*rated.report.coverage.competencies), ratings).report
    assert report.notes[0].startswith("1 rating of 4 was made offline")


def test_nothing_rated_makes_no_score() -> None:
    report = reports.nearly_empty().report
    assert report.composite is None
    assert report.coverage.rated == 0
    assert any(note.startswith("There is no overall score: 0 of ") for note in report.notes)
    assert any(note.startswith("The candidate left") for note in report.notes)


@pytest.mark.parametrize(("planned", "overall"), [(1, 5.0), (2, 5.0), (3, None), (8, None)])
def test_an_overall_score_takes_half_of_what_was_planned(
    planned: int, overall: float | None
) -> None:
    """Whoever ends after one strong answer has shown what one answer shows."""
    script = Script()
    script.ask("core-1", "What is it?")
    script.answer("core-1", "I chose the queue, because it waits.")
    rating = rate(script.turns, "core-1", "Depth", 5, "I chose the queue")
    names = ("Depth", *(f"Breadth {number}" for number in range(1, planned)))
    report = composed(script.turns, guide(*names), [rating]).report
    assert (report.composite, [each.score for each in report.ratings]) == (overall, [5])
    twice = [rating, replace(rating, competency="Width")]  # it is one question all the same
    assert composed(script.turns, guide(*names), twice).report.composite == overall
    told = f"There is no overall score: 1 of {planned} planned questions was rated, and it takes "
    assert [note for note in report.notes if note.startswith(told)] == (
        [] if overall else [f"{told}half of them."]
    )


@pytest.mark.parametrize(
    ("earlier", "told"),
    [
        ({}, None),
        ({"practice": 1}, "1 interview of this type before (1 for practice, 0 assessed)"),
        ({"assessment": 2}, "2 interviews of this type before (0 for practice, 2 assessed)"),
    ],
)
def test_how_often_somebody_was_interviewed_before_is_told(
    earlier: dict[Mode, int], told: str | None
) -> None:
    rated = reports.rich()
    guided = guide(*rated.report.coverage.competencies)
    notes = composed(rated.turns, guided, rated.report.ratings, earlier=earlier).report.notes
    found = [note for note in notes if "before" in note]
    assert found == (
        [f"The candidate had begun {told}, and may know some of the questions."] if told else []
    )


def test_a_question_nobody_answered_is_a_gap_where_it_was_asked() -> None:
    script = Script()
    asked = script.ask("core-1", "What is it?")
    rating = rate(script.turns, "core-1", "Depth", None, missing="An answer.")
    unasked = rate(script.turns, "core-2", "Breadth", None, missing="An answer.")
    report = composed(script.turns, guide("Depth", "Breadth"), [rating, unasked]).report
    assert [(gap.competency, gap.turns) for gap in report.gaps] == [("Depth", (asked,))]
    assert "1 question was asked and not answered." in report.notes


def test_communication_does_not_count_for_the_score() -> None:
    rated = reports.rich()
    ratings = rated.report.ratings
    without = composed(rated.turns, guide(*rated.report.coverage.competencies), ratings).report
    assert without.composite == rated.report.composite


def test_competencies_weigh_as_the_plan_says() -> None:
    rated = reports.rich()
    held, names = reports.session(rated.turns), rated.report.coverage.competencies
    plan = replace(
        held.plan,
        weights=(Weight("incident RESPONSE", 3), Weight("Mentoring", 1), Weight("Tea", 5)),
    )
    made = composed(rated.turns, guide(*names), rated.report.ratings, held=replace(held, plan=plan))
    scores = {r.competency: r.score for r in rated.report.ratings if r.score is not None}
    weighed = sum(score * (3 if name == names[0] else 1) for name, score in scores.items())
    assert made.report.composite == round(weighed / (len(scores) + 2), 2) != rated.report.composite
    assert made.report.weights == plan.weights[:2]
    assert "As planned, incident RESPONSE 3, Mentoring 1; all others weigh 1." in words.how(
        made.report
    )
    assert "All weigh alike." in words.how(rated.report)


def test_the_order_of_ratings_is_the_guides() -> None:
    rated = reports.rich()
    shuffled = tuple(reversed(rated.report.ratings))
    again = composed(rated.turns, guide(*rated.report.coverage.competencies), shuffled).report
    assert again.ratings == rated.report.ratings


def _first(rated: Rated) -> tuple[Rating, tuple[Rating, ...]]:
    first, *others = rated.report.ratings
    return first, tuple(others)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"evidence": ()}, "not proven"),
        ({"turns": (3,)}, "did not speak"),
        ({"turns": (99,)}, "did not speak"),
        ({"rubric": "another"}, "another rubric"),
        ({"question_id": "core-9"}, "no question core-9"),
        ({"question_id": "core-2", "competency": "handling Disagreement"}, "twice"),
    ],
)
def test_a_rating_that_proves_nothing_is_refused(fault: dict[str, object], told: str) -> None:
    rated = reports.rich()
    first, others = _first(rated)
    plan = guide(*rated.report.coverage.competencies)
    with pytest.raises(ValueError, match=told):
        composed(rated.turns, plan, [replace(first, **fault), *others])


def test_communication_is_rated_by_a_rubric_of_its_own() -> None:
    rated = reports.rich()
    plan = guide(*rated.report.coverage.competencies)
    assert rated.report.communication
    apart = replace(rated.report.communication, rubric="another")
    whole = composed(rated.turns, plan, rated.report.ratings, apart)
    assert whole.report.communication == apart


def test_a_quote_that_was_altered_is_refused() -> None:
    rated = reports.rich()
    first, others = _first(rated)
    moved = replace(first.evidence[0], start=first.evidence[0].start + 1)
    altered = replace(first, evidence=(moved,))
    with pytest.raises(ValueError, match="not proven"):
        composed(rated.turns, guide(*rated.report.coverage.competencies), [altered, *others])


def test_communication_is_held_to_the_same_rule() -> None:
    rated = reports.rich()
    assert rated.report.communication
    unproven = replace(rated.report.communication, evidence=())
    with pytest.raises(ValueError, match="not proven"):
        composed(rated.turns, guide(), (), unproven)


# --- properties ----------------------------------------------------------------------------------

WORDS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=80)


@st.composite
def interviews(draw: st.DrawFn) -> Rated:
    """Interviews of up to five questions, each with any score its answer can prove."""
    script = Script()
    names: list[str] = []
    ratings: list[Rating] = []
    for place in range(1, draw(st.integers(0, 5)) + 1):
        question, competency = f"core-{place}", draw(st.sampled_from(("Depth", "Breadth", "Care")))
        names.append(competency)
        asked, answered = draw(st.booleans()), draw(st.booleans())
        if asked:
            script.ask(question, "Tell me more.")
        answer = f"{draw(WORDS)} an answer {draw(WORDS)}"
        if asked and answered:
            script.answer(question, answer, draw(st.sampled_from(("final", "interrupted"))))
        score = draw(st.none() | st.integers(1, 5)) if asked and answered else None
        quotes = () if score is None else ("an answer",)
        ratings.append(
            rate(
                script.turns,
                question,
                competency,
                score,
                *quotes,
                rationale=draw(WORDS),
                missing=draw(st.text("ab ", max_size=REMARK_LENGTH)),
            )
        )
    return composed(script.turns, guide(*names), ratings)


def _numbers(turns: tuple[Turn, ...]) -> set[int]:
    return {turn.turn for turn in turns}


@given(interviews())
def test_every_remark_cites_turns_that_exist(rated: Rated) -> None:
    for remark in (*rated.report.strengths, *rated.report.gaps):
        assert remark.turns
        assert _numbers(rated.turns).issuperset(remark.turns)
        assert remark.text.strip()
        assert len(remark.text) <= REMARK_LENGTH


@given(interviews())
def test_a_score_lies_between_one_and_five(rated: Rated) -> None:
    report = rated.report
    assert report.composite is None or 1 <= report.composite <= 5
    cover = report.coverage
    assert cover.rated <= cover.answered <= cover.asked <= cover.planned


@given(interviews())
def test_strengths_and_gaps_are_of_the_ratings(rated: Rated) -> None:
    def told(report: Report) -> tuple[int, int]:
        return len(report.strengths), len(report.gaps)

    scores = [rating.score for rating in rated.report.ratings]
    strong = sum(score is not None and score >= 4 for score in scores)
    weak = sum(score is not None and score <= 2 for score in scores)
    assert told(rated.report)[0] == strong
    assert told(rated.report)[1] >= weak


@given(interviews(), st.data())
def test_no_unproven_rating_enters(rated: Rated, data: st.DataObject) -> None:
    scored = [r for r in rated.report.ratings if r.evidence]
    if not scored:
        return
    chosen = data.draw(st.sampled_from(scored))
    quote = chosen.evidence[0]
    end = quote.end + data.draw(st.integers(1, 5))
    forged = replace(chosen, evidence=(replace(quote, end=end),))
    ratings = [forged if rating is chosen else rating for rating in rated.report.ratings]
    names = rated.report.coverage
    plan = replace(guide(*(rating.competency for rating in ratings)), version=rated.report.rubric)
    assert names.planned == len(plan.questions)
    if rated.turns[quote.turn - 1].text[quote.start : end] != quote.quote:
        with pytest.raises(ValueError, match="not proven"):
            composed(rated.turns, plan, ratings)


@pytest.mark.parametrize("sample", reports.SAMPLES)
def test_the_same_arguments_make_the_same_report(sample: str) -> None:
    assert reports.SAMPLES[sample]() == reports.SAMPLES[sample]()
