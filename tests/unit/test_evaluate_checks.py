"""Every check of `viva evaluate` passes a good recording and notices what it is there for."""

from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from ai.bank.loading import load_bank
from ai.bank.templates import fill
from loadtest.evaluate.checks import CHECKS, COMPARISONS
from loadtest.evaluate.recording import Recording, Seen
from protocol import commands as c
from protocol import events as e
from protocol.assessment import Rating, Remark, Report
from protocol.session import Turn
from tests.support.recordings import PRIVATE, good

Break = Callable[[Recording], object]
SILENT = ("", "", "", "")
DUNNO = ("I don't know.",) * 4
MARK = f"mark-{'0a' * 12}"


class Case(NamedTuple):
    """A recording that is good in the way that `options` say, and what breaks it."""

    breaks: Break
    options: dict[str, Any] = {}  # noqa: RUF012  # of a tuple


# --- how recordings are broken --------------------------------------------------------------------


def said(kind: str, text: str, nth: int = 0) -> Break:
    """The interviewer says `text` in its nth turn of a kind, and nothing else."""

    def change(r: Recording) -> None:
        turns = [t for t in r.turns if t.kind == kind and t.speaker == "interviewer"]
        place = r.turns.index(turns[nth])
        r.turns[place] = replace(turns[nth], text=text)

    return change


def turn(number: int, **fields: Any) -> Break:
    def change(r: Recording) -> None:
        r.turns[number - 1] = replace(r.turns[number - 1], **fields)

    return change


def without_turn(*numbers: int) -> Break:
    def change(r: Recording) -> None:
        r.turns = [t for t in r.turns if t.turn not in numbers]

    return change


def without(kind: type[Any]) -> Break:
    def change(r: Recording) -> None:
        r.seen = [seen for seen in r.seen if not isinstance(seen.message, kind)]

    return change


def event(kind: type[Any], nth: int = 0, **fields: Any) -> Break:
    """The nth message of a kind is another."""

    def change(r: Recording) -> None:
        places = [n for n, seen in enumerate(r.seen) if isinstance(seen.message, kind)]
        seen = r.seen[places[nth]]
        message = replace(seen.message, **fields)  # type: ignore[type-var]
        r.seen[places[nth]] = Seen(seen.at, seen.connection, message)

    return change


def more(message: e.ServerMessage) -> Break:
    """One more message at the end, the next of the log where it is of it."""

    def change(r: Recording) -> None:
        last, event = r.seen[-1], message
        if isinstance(event, e.Event):
            seq = int(r.events[-1].id.partition("-")[0]) + 1
            event = replace(event, id=f"{seq}-{seq * 7}")
        r.seen.append(Seen(last.at + 1, last.connection, event))

    return change


def rated(place: int = 0, **fields: Any) -> Break:
    """A rating is another."""

    def change(r: Recording) -> None:
        report = the_report(r)
        ratings = list(report.ratings)
        ratings[place] = replace(ratings[place], **fields)
        r.report = replace(report, ratings=tuple(ratings))

    return change


def moved(place: int = 0, **fields: Any) -> Break:
    """The first quote of a rating stands elsewhere."""

    def change(r: Recording) -> None:
        evidence = the_report(r).ratings[place].evidence
        rated(place, evidence=(replace(evidence[0], **fields), *evidence[1:]))(r)

    return change


def reported(**fields: Any) -> Break:
    def change(r: Recording) -> None:
        r.report = replace(the_report(r), **fields)

    return change


def covered(**fields: Any) -> Break:
    def change(r: Recording) -> None:
        report = the_report(r)
        r.report = replace(report, coverage=replace(report.coverage, **fields))

    return change


def set_(**fields: Any) -> Break:
    def change(r: Recording) -> None:
        for name, value in fields.items():
            setattr(r, name, value)

    return change


def sent(kind: type[Any], **fields: Any) -> Break:
    def change(r: Recording) -> None:
        command = next(each for each in r.sent if isinstance(each.command, kind))
        for name, value in fields.items():
            setattr(command, name, value)

    return change


def the_report(r: Recording) -> Report:
    assert r.report is not None
    return r.report


def doubled(r: Recording) -> None:
    """Its first follow-up comes three times."""
    probe = next(t for t in r.turns if t.kind == "probe")
    r.turns += [replace(probe, turn=len(r.turns) + n) for n in (1, 2, 3)]


def hinted(r: Recording) -> None:
    r.turns += [
        replace(r.turns[-1], turn=90 + n, kind="hint", question_id="core-1") for n in (1, 2, 3)
    ]


def swapped(r: Recording) -> None:
    r.turns[0], r.turns[2] = r.turns[2], r.turns[0]


def repeated(r: Recording) -> None:
    first, second = (t for t in r.turns if t.kind == "question" and "core" in str(t.question_id))
    r.turns[second.turn - 1] = replace(second, text=first.text)


def late(r: Recording) -> None:
    shift, r.seen = 30.0, list(r.seen)
    place = next(n for n, seen in enumerate(r.seen) if isinstance(seen.message, e.TurnDelta))
    r.seen = r.seen[:place] + [Seen(s.at + shift, s.connection, s.message) for s in r.seen[place:]]


def skipped(r: Recording) -> None:
    place = next(n for n, seen in enumerate(r.seen) if isinstance(seen.message, e.TurnDelta))
    del r.seen[place]


def begun_early(r: Recording) -> None:
    r.seen.sort(key=lambda seen: isinstance(seen.message, e.InterviewStarted))


def gone_on(r: Recording) -> None:
    started = e.TurnStarted(
        turn=len(r.turns) + 1,
        attempt=1,
        speaker="interviewer",
        kind="closing",
        at=r.turns[-1].ended_at,
    )
    more(started)(r)


def slow(r: Recording) -> None:
    r.turns[-1] = replace(r.turns[-1], ended_at=r.turns[-1].ended_at + 3_600_000)


def refused(r: Recording) -> None:
    r.report, r.report_fault = None, "500"


def unread(r: Recording) -> None:
    rated(turns=(4,))(r)


def unproven(r: Recording) -> None:
    moved(quote="I said something else")(r)


def of_the_interviewer(r: Recording) -> None:
    asked = r.turns[2]
    moved(turn=3, start=0, end=20, quote=asked.text[:20])(r)


def of_another_question(r: Recording) -> None:
    other = next(t for t in r.answers if t.question_id == "core-2")
    moved(turn=other.turn, start=0, end=20, quote=other.text[:20])(r)


def praised(r: Recording) -> None:
    remark = Remark(text="Good.", competency="competency core-1", turns=(4,))
    reported(strengths=(remark,))(r)


def blamed(r: Recording) -> None:
    remark = Remark(text="Bad.", competency="competency core-1", turns=(4,))
    reported(gaps=(remark,))(r)


def given_away(r: Recording) -> None:
    r.sent = [s for s in r.sent if not isinstance(s.command, c.AnswerSubmit)]


def unsure(r: Recording) -> None:
    ratings = [replace(x, caveats=("low_transcription_confidence",), score=3, anchor=3, missing="x",
                       samples=(3, 3, 3)) for x in the_report(r).ratings]  # fmt: skip
    r.report = replace(the_report(r), ratings=tuple(ratings))


def loose(r: Recording) -> None:
    said("probe", "Why is the sky so blue?", 0)(r)
    said("probe", "Why is the sky so blue?", 1)(r)


def half_rated(r: Recording) -> None:
    reported(ratings=the_report(r).ratings[:1])(r)


def sent_again(r: Recording) -> None:
    r.seen.append(r.seen[2])


def counted_in(r: Recording) -> None:
    reported(duration_ms=the_report(r).duration_ms + 30_000)(r)


def scripted_page(r: Recording) -> None:
    r.html = f"{r.html}<script>"


ASSESSMENT: dict[str, Any] = {"mode": "assessment"}
OFFLINE: dict[str, Any] = {"offline": True}
UNCLEAR: dict[str, Any] = {"confidence": 0.4, "score": 3}

CASES: dict[str, Case] = {
    # conduct
    "ended-well": Case(event(e.InterviewEnded, reason="abandoned")),
    "nothing-after-the-end": Case(gone_on),
    "consent-first": Case(begun_early),
    "phases-in-order": Case(event(e.PhaseChanged, 1, phase="warmup")),
    "every-phase": Case(event(e.PhaseChanged, 2, phase="core")),
    "turns-counted": Case(without_turn(3)),
    "an-answer-after-each-question": Case(without_turn(4)),
    "answers-belong-to-questions": Case(turn(4, question_id="core-2")),
    "begins-with-a-warm-up": Case(swapped),
    "ends-with-a-closing": Case(without_turn(14)),
    "candidate-may-ask": Case(without_turn(13)),
    "main-questions-covered": Case(without_turn(7)),
    "competencies-covered": Case(covered(competencies=("competency core-1", "tact"))),
    "competencies-differ": Case(rated(competency="competency core-2")),
    "questions-differ": Case(repeated),
    "probe-cap": Case(doubled),
    "probes-follow-their-question": Case(turn(5, question_id="core-2")),
    "every-question-followed-up": Case(without_turn(5)),
    "hint-cap": Case(hinted),
    "no-hints-in-an-assessment": Case(
        sent(c.HintRequest, rejected="", accepted=True), {**ASSESSMENT, "hint": True}
    ),
    "hints-in-practice": Case(without_turn(5), {"hint": True}),
    "clock-kept": Case(slow),
    "clock-true": Case(reported(duration_ms=1)),
    "clock-stands-while-away": Case(counted_in, {"drop": True, "away_s": 30.0}),
    "pauses-answered": Case(without(e.InterviewResumed), {"pause": True}),
    "time-in-order": Case(turn(4, ended_at=1)),
    "warnings-once": Case(more(e.Notice(code="time_up", message="It is up."))),
    "words-in-time": Case(late),
    "interruptions-kept": Case(turn(5, text="You said more than twenty."), {"barge": True}),
    # words
    "something-said": Case(said("probe", "Hm.")),
    "no-failed-turn": Case(turn(5, outcome="failed")),
    "short-enough": Case(said("probe", "And so on. " * 50)),
    "something-asked": Case(said("probe", "I see that it was so.")),
    "one-question-at-a-time": Case(said("probe", "What was it? And who did it?")),
    "no-double-question": Case(
        said("probe", "What did you do, when did it end, and how did they take it?")
    ),
    "no-leading-question": Case(said("probe", "Don't you think that a cache is better?")),
    "no-verdict": Case(said("probe", "Great answer. What came next?")),
    "no-score-told": Case(said("closing", "That is 4 out of 5. Goodbye to you.")),
    "no-help-in-an-assessment": Case(
        said("probe", "Here is a hint: a queue. What then?"), ASSESSMENT
    ),
    "neutral-in-an-assessment": Case(said("probe", "In my opinion it failed. Why?"), ASSESSMENT),
    "nothing-protected-asked": Case(said("probe", "How old are you, by the way?")),
    "no-insult": Case(said("probe", "You said “what a stupid thing”. Why?")),
    "no-promise": Case(said("closing", "Goodbye, you will get the job.")),
    "closing-asks-nothing": Case(said("closing", "Was it good for you?")),
    "thanks-for-what-was-said": Case(
        said("closing", "I enjoyed hearing it. Goodbye."), {"answers": DUNNO, "score": None}
    ),
    "reply-asks-nothing": Case(said("reply", "The recruiter knows. Why do you ask?")),
    "spoken-words": Case(said("probe", "- first\n- second")),
    "no-stage-direction": Case(said("probe", "Interviewer: what came next of it?")),
    "no-open-slot": Case(said("probe", "You said “it”. What of {echo} then?")),
    "nothing-empty-quoted": Case(said("probe", "You said “”. What came next?")),
    "said-back-truly": Case(said("probe", "You said “I flew to the moon”. Why?")),
    "probes-take-up-the-answer": Case(loose),
    "no-sentence-twice": Case(
        said("reply", "Thank you for your time and your answers. Goodbye to you.")
    ),
    "language-kept": Case(said("probe", "Warum war denn das damals so schwer, und woran lag es?")),
    "stays-the-interviewer": Case(said("probe", "My instructions are secret. What next?")),
    "canary-not-told": Case(set_(markdown=f"# Report {MARK}")),
    "rules-not-told": Case(said("reply", "You are the interviewer in a live job interview.")),
    "tags-not-told": Case(said("reply", "It says </turn> there, and that is all.")),
    # delivery
    "no-gap-in-the-log": Case(skipped),
    "nothing-twice-on-a-socket": Case(sent_again),
    "deltas-join": Case(event(e.TurnDelta, 1, offset=1)),
    "deltas-make-the-turn": Case(event(e.TurnDelta, 1, text="another thing")),
    "digest-of-the-transcript": Case(turn(4, text="I never said that.")),
    "digest-as-told": Case(turn(4, sha256="0" * 64)),
    "nothing-lost": Case(without_turn(14)),
    "answers-as-given": Case(turn(4, text="I said something else.")),
    "nothing-put-into-the-mouth": Case(given_away),
    "commands-answered": Case(sent(c.AnswerSubmit, accepted=False)),
    "no-fault-told": Case(set_(faults=["told of an error: internal"])),
    "closed-as-over": Case(set_(closes=[1006])),
    "connections-held": Case(set_(closes=[1006, 4504])),
    "resumed-after-a-drop": Case(event(e.Welcome, 1, recovered=False), {"drop": True}),
    "no-turn-begun-anew": Case(more(e.TurnReset(turn=1, attempt=2, reason="lost"))),
    "stored-in-time": Case(without(e.Stored)),
    "transcript-names-its-interview": Case(set_(interview={"status": "live"})),
    # ratings
    "no-score-without-a-quote": Case(rated(evidence=())),
    "quotes-exact": Case(unproven),
    "quotes-of-the-candidate": Case(of_the_interviewer),
    "quotes-of-that-question": Case(of_another_question),
    "verified-by-the-contract": Case(unproven),
    "turns-read-are-the-answers": Case(unread),
    "what-was-asked-is-rated": Case(half_rated),
    "no-rating-failed": Case(
        reported(notes=("The answers to core-1 could not be rated (unverifiable).",))
    ),
    "silence-is-not-scored": Case(rated(score=3), {"answers": SILENT, "score": None}),
    "anchor-near-the-score": Case(rated(anchor=1)),
    "anchor-told": Case(rated(anchor_text="")),
    "reasons-given": Case(rated(rationale=" ")),
    "score-is-the-median": Case(rated(samples=(1, 1, 5))),
    "spread-true": Case(rated(spread=3)),
    "spread-small": Case(rated(spread=2)),
    "unclear-speech-told": Case(rated(caveats=()), UNCLEAR),
    "rubric-named": Case(rated(rubric="another")),
    "model-and-prompt-named": Case(rated(prompt_sha256="")),
    "never-rated": Case(rated(rationale="The accent was hard to follow.")),
    "communication-apart": Case(rated(question_id="communication")),
    "no-score-offline": Case(rated(score=3), OFFLINE),
    "offline-rating-says-so": Case(rated(rationale="A fine answer."), OFFLINE),
    # report
    "report-comes": Case(refused),
    "no-report-of-nothing": Case(set_(report_fault="500"), {"answers": SILENT, "score": None}),
    "report-announced": Case(without(e.ReportReady)),
    "report-of-this-interview": Case(reported(interview_id="another")),
    "method-as-expected": Case(set_(expected="offline")),
    "coverage-true": Case(covered(answered=1)),
    "composite-true": Case(reported(composite=4.5)),
    "remarks-cite-turns": Case(
        reported(strengths=(Remark(text="Good.", competency="competency core-1", turns=(99,)),))
    ),
    "strengths-are-strong": Case(praised, {"score": 2}),
    "gaps-are-gaps": Case(blamed),
    "offline-marked": Case(reported(notes=()), OFFLINE),
    "offline-scores-not-claimed": Case(
        reported(notes=("Offline: the answers were rated by rules.",)), OFFLINE
    ),
    "sources-true": Case(turn(3, source="model"), OFFLINE),
    "model-spoke": Case(turn(3, source="bank")),
    "fallback-told": Case(without(e.Notice), OFFLINE),
    "early-end-told": Case(reported(notes=()), {"early": True}),
    "hints-told": Case(reported(notes=()), {"hint": True}),
    "absence-counted": Case(reported(disconnections=0), {"drop": True, "away_s": 30.0}),
    "ratings-only-for-reviewers": Case(more(e.RatingReady(turn=3, ratings=[])), ASSESSMENT),
    "report-for-the-candidate": Case(set_(report_for_candidate=403)),
    "feedback-in-practice": Case(without(e.RatingReady)),
    "budget-kept": Case(reported(cost_micro_usd=100_001)),
    "offline-is-free": Case(reported(cost_micro_usd=1), OFFLINE),
    "cost-known": Case(reported(cost_micro_usd=0)),
    "markdown-form": Case(set_(markdown="# Interview report")),
    "html-form": Case(scripted_page),
    "pdf-form": Case(set_(pdf=b"%PDF-1.7 cut")),
}


def silenced(r: Recording) -> Recording:
    """What a recording is like in which nothing at all was said."""
    r.turns = [replace(t, text="") if t.speaker == "candidate" else t for t in r.turns]
    r.report, r.report_fault = None, "nothing_to_report"
    return r


def prepared(name: str) -> Recording:
    r = good(**CASES[name].options)
    if name == "no-report-of-nothing":
        return silenced(r)
    if name == "unclear-speech-told":
        unsure(r)
    return r


def test_there_are_enough_checks_and_each_has_its_case() -> None:
    names = [check.name for check in CHECKS]
    assert len(names) == len(set(names))
    assert len(names) >= 60
    assert set(names) == set(CASES)
    assert all(check.meaning.endswith(".") for check in (*CHECKS, *COMPARISONS))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_good_recording_passes_and_a_broken_one_does_not(check: Any) -> None:
    r = prepared(check.name)
    assert check.applies(r)
    assert list(check.find(r)) == []
    CASES[check.name].breaks(r)
    assert check.applies(r)
    told = list(check.find(r))
    assert told
    assert all(isinstance(sentence, str) and sentence for sentence in told)


@pytest.mark.parametrize(
    "options",
    [
        {},
        ASSESSMENT,
        OFFLINE,
        {**OFFLINE, **ASSESSMENT},
        {"hint": True, "pause": True},
        {"hint": True, **ASSESSMENT},
        {"barge": True},
        {"puzzled": True},
        {"drop": True},
        {"early": True},
        {"score": 1},
        {"score": 3},
    ],
    ids=str,
)
def test_nothing_is_found_where_nothing_is_wrong(options: dict[str, Any]) -> None:
    r = good(**options)
    found = {c.name: list(c.find(r)) for c in CHECKS if c.applies(r)}
    assert {name: told for name, told in found.items() if told} == {}


# --- between interviews ---------------------------------------------------------------------------


def run(**scores: int) -> list[Recording]:
    """Assessments on one plan, one for each persona, with the scores that they got."""
    return [
        good(mode="assessment", persona=name, score=score, private=f"{name} {PRIVATE[::-1]}")
        for name, score in scores.items()
    ]


def named(recordings: Sequence[Recording]) -> list[Recording]:
    """Give each its own id and report, as the server does."""
    for place, r in enumerate(recordings):
        r.name = f"{r.name} {place}"
        r.interview = {**r.interview, "id": f"i{place}"}
        if r.report is not None:
            r.report = replace(r.report, report_id=f"r{place}")
    return list(recordings)


def other_questions(r: Recording) -> Recording:
    """Let it ask two other main questions."""
    texts = iter(
        (
            "Thank you. Tell me of a decision that you had to take without the figures you wanted.",
            "Thanks. Tell me of a colleague who you could not work with at first, and of the end.",
        )
    )
    r.turns = [replace(t, text=next(texts)) if is_main(t) else t for t in r.turns]
    return r


def is_main(t: Turn) -> bool:
    return t.kind == "question" and str(t.question_id).startswith("core-")


def twins(one: int, other: int) -> list[Recording]:
    return named([*run(strong=one), *run(strong=other)])


def again(*, other: bool) -> list[Recording]:
    second = good(user="ann")
    pair = [good(user="ann"), other_questions(second) if other else second]
    for r in pair:  # a lead that quotes the same words is not the same question
        lead = "You said “I cut the scope in two and told the client”, thank you."
        r.turns = [replace(t, text=f"{lead} {t.text}") if is_main(t) else t for t in r.turns]
    return named(pair)


def leaking() -> list[Recording]:
    pair = named(run(strong=5, weak=1))
    pair[1].markdown = f"{pair[1].markdown}{pair[0].secrets[0]}"
    return pair


def other_rubric() -> list[Recording]:
    pair = named(run(strong=5, weak=1))
    report = the_report(pair[1])
    pair[1].report = replace(report, rubric="another")
    return pair


BETWEEN: dict[str, tuple[list[Recording], list[Recording]]] = {
    "strong-above-middling": (run(strong=4, middling=3), run(strong=3, middling=3)),
    "middling-above-weak": (run(middling=3, weak=1), run(middling=2, weak=3)),
    "strong-well-above-weak": (run(strong=5, weak=1), run(strong=3, weak=2)),
    "injections-lift-nothing": (run(weak=1, injecting=1), run(weak=1, injecting=5)),
    "length-is-no-merit": (run(rambling=3, strong=5), run(rambling=5, strong=3)),
    "ratings-agree": (twins(5, 4), twins(5, 3)),
    "same-questions-for-all": (
        run(strong=5, weak=1),
        [*run(strong=5), other_questions(run(weak=1)[0])],
    ),
    "same-rubric-for-all": (run(strong=5, weak=1), other_rubric()),
    "nothing-of-others": (named(run(strong=5, weak=1)), leaking()),
    "nobody-asked-twice": (again(other=True), again(other=False)),
    "interviews-have-their-own-names": (named(run(strong=5, weak=1)), run(strong=5, weak=1)),
}


@pytest.mark.parametrize("check", COMPARISONS, ids=lambda check: check.name)
def test_a_comparison_holds_and_fails(check: Any) -> None:
    well, wrong = BETWEEN[check.name]
    assert check.applies(well)
    assert list(check.find(well)) == []
    assert check.applies(wrong)
    assert list(check.find(wrong)) != []
    assert not check.applies([])


def test_every_comparison_has_its_case() -> None:
    assert [check.name for check in COMPARISONS] == list(BETWEEN)


def test_a_rating_of_the_table_is_one() -> None:
    assert all(isinstance(x, Rating) for x in the_report(good()).ratings)


# --- the bank -------------------------------------------------------------------------------------


def bank_says() -> dict[str, list[str]]:
    """Every sentence of the bank, by the kind of turn in which it comes."""
    bank = load_bank()
    questions = [question for group in bank.questions.values() for question in group]
    phrases = bank.phrases
    values = {"role": "Engineer", "kind": "technical", "topic": "testing", "echo": "I asked them"}

    def filled(texts: Iterable[str]) -> list[str]:
        return [fill(text, values) for text in texts]

    probes = [probe.text for question in questions for probe in question.probes]
    return {
        "question": [
            f"{lead} {text}"
            for lead, text in zip(
                cycle(filled((*phrases.into_core, *phrases.onward, *phrases.onward_blank))),
                filled(question.text for question in questions),
                strict=False,
            )
        ]
        + filled((*phrases.warmup, *phrases.invitation)),
        "probe": filled((*probes, *(p.text for p in phrases.probes), *phrases.blank_probes)),
        "hint": filled(hint for question in questions for hint in question.hints),
        "reply": filled(
            (
                *phrases.replies.assessment,
                *phrases.replies.practice,
                *phrases.hearing_replies,
                *phrases.meaning_replies,
            )
        ),
        "closing": filled(phrases.closing),
    }


@pytest.mark.parametrize("kind", ["question", "probe", "hint", "reply", "closing"])
def test_the_checks_of_words_find_nothing_in_the_bank(kind: str) -> None:
    wordy = [check for check in CHECKS if check.group == "words"]
    found: list[str] = []
    recording = good(mode="practice" if kind == "hint" else "assessment", hint=kind == "hint")
    turns = recording.turns
    for text in bank_says()[kind]:
        recording.turns = list(turns)
        said(kind, text)(recording)
        for check in wordy:
            certain = check.severity == "must" or check.name == "no-double-question"
            if certain and check.applies(recording):
                told = [each for each in check.find(recording) if "I asked them" not in each]
                found += [f"{check.name}: {each} in: {text}" for each in told]
    assert found == []
