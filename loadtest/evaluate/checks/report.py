"""Whether the report tells the truth, to those it is for, in every form, within the budget."""

import re
from collections.abc import Iterator

from loadtest.evaluate.checks.base import (
    Catalogue,
    assesses,
    by_model,
    by_rules,
    practises,
    reported,
    stays,
)
from loadtest.evaluate.checks.conduct import AWAY_S
from loadtest.evaluate.recording import Recording, is_main
from protocol import events as e
from protocol.assessment import Rating, answers_to, composite

CATALOGUE = Catalogue("report")
_check = CATALOGUE.check
_FORBIDDEN, _FOUND = 403, 200


def _said(r: Recording) -> bool:
    return any(turn.text.strip() for turn in r.answers)


@_check("report-comes", applies=_said)
def report_comes(r: Recording) -> Iterator[str]:
    """Whoever said anything gets a report."""
    if r.report is None:
        yield r.report_fault or "there is none"


@_check("no-report-of-nothing", applies=lambda r: not _said(r))
def no_report_of_nothing(r: Recording) -> Iterator[str]:
    """Where nothing was said there is no report, and the API says why."""
    if r.report is not None or r.report_fault != "nothing_to_report":
        yield f"it is {r.report_fault or 'there'}"


@_check("report-announced", applies=reported)
def report_announced(r: Recording) -> Iterator[str]:
    """The socket tells of the report that the API shows."""
    told = [event.report_id for event in r.of(e.ReportReady)]
    assert r.report is not None  # noqa: S101  # it applies
    if r.report.report_id not in told:
        yield f"told were {told}"


@_check("report-of-this-interview", applies=reported)
def report_of_this_interview(r: Recording) -> Iterator[str]:
    """The report names the interview, its role, type, level and mode."""
    assert r.report is not None  # noqa: S101  # it applies
    if r.report.interview_id != r.interview.get("id"):
        yield "it is of another interview"
    for name in ("role", "type", "level", "mode"):
        if name in r.plan and getattr(r.report, name) != r.plan[name]:
            yield f"{name} is {getattr(r.report, name)}"


@_check("method-as-expected", applies=lambda r: reported(r) and bool(r.expected))
def method_as_expected(r: Recording) -> Iterator[str]:
    """A model rated where there is one, and none where there is not."""
    assert r.report is not None  # noqa: S101  # it applies
    if r.report.method != r.expected:
        yield f"it was made by {r.report.method}"


@_check("coverage-true", applies=reported)
def coverage_true(r: Recording) -> Iterator[str]:
    """The report's counts are those of the transcript."""
    assert r.report is not None  # noqa: S101  # it applies
    told, report = r.report.coverage, r.report
    asked = {t.question_id for t in r.spoken if is_main(t.question_id) and t.text}
    answered = {name for name in asked if answers_to(str(name), r.turns)}
    rated = {rating.question_id for rating in report.ratings if rating.score is not None}
    counted = (len(asked), len(answered), len(rated))
    if (told.asked, told.answered, told.rated) != counted:
        yield f"told {(told.asked, told.answered, told.rated)}, counted {counted}"


@_check("composite-true", applies=reported)
def composite_true(r: Recording) -> Iterator[str]:
    """The overall score is the mean of the competencies, or absent for want of ratings."""
    assert r.report is not None  # noqa: S101  # it applies
    planned = r.report.coverage.planned
    computed = composite(r.report.ratings, r.report.weights, planned=planned)
    if r.report.composite != computed:
        yield f"told {r.report.composite}, computed {computed}"


@_check("remarks-cite-turns", applies=reported)
def remarks_cite_turns(r: Recording) -> Iterator[str]:
    """Each strength and each gap cites turns that exist."""
    assert r.report is not None  # noqa: S101  # it applies
    numbers = {turn.turn for turn in r.turns}
    for remark in (*r.report.strengths, *r.report.gaps):
        if not remark.turns or not numbers.issuperset(remark.turns):
            yield f"“{remark.text[:60]}” cites {list(remark.turns)}"


@_check("strengths-are-strong", applies=reported)
def strengths_are_strong(r: Recording) -> Iterator[str]:
    """A strength was scored 4 or 5."""
    assert r.report is not None  # noqa: S101  # it applies
    good = {x.competency for x in _rated(r) if (x.score or 0) >= 4}
    for remark in r.report.strengths:
        if remark.competency not in good:
            yield f"{remark.competency} is none"


@_check("gaps-are-gaps", applies=reported)
def gaps_are_gaps(r: Recording) -> Iterator[str]:
    """A gap was scored 1 or 2, or could not be scored."""
    assert r.report is not None  # noqa: S101  # it applies
    poor = {x.competency for x in _rated(r) if x.score is None or x.score <= 2}
    for remark in r.report.gaps:
        if remark.competency not in poor:
            yield f"{remark.competency} is none"


@_check("offline-marked", applies=by_rules)
def offline_marked(r: Recording) -> Iterator[str]:
    """A report without a model says so first, in every form."""
    assert r.report is not None  # noqa: S101  # it applies
    if not (r.report.notes and r.report.notes[0].startswith("Offline")):
        yield "the first note does not"
    for form, text in (("Markdown", r.markdown), ("HTML", r.html)):
        if "offline" not in text[: max(1, len(text))].lower():
            yield f"{form} does not"


@_check("offline-scores-not-claimed", applies=by_rules)
def offline_scores_not_claimed(r: Recording) -> Iterator[str]:
    """A report without scores does not speak as if it had some."""
    assert r.report is not None  # noqa: S101  # it applies
    for note in r.report.notes:
        if re.search(r"\b(?:the scores are|were rated by)\b", note, re.IGNORECASE):
            yield f"“{note[:80]}”"


@_check("sources-true", applies=lambda r: bool(r.expected))
def sources_true(r: Recording) -> Iterator[str]:
    """The interviewer's turns say who spoke them: the bank without a model, else a model."""
    for turn in r.spoken:
        if r.offline and turn.source != "bank":
            yield f"turn {turn.turn} is said to be by {turn.source}"
        if not r.offline and turn.source is None:
            yield f"turn {turn.turn} names nobody"


@_check("model-spoke", severity="should", applies=lambda r: r.expected == "model")
def model_spoke(r: Recording) -> Iterator[str]:
    """Where there is a model, the bank does not have to step in."""
    for turn in r.spoken:
        if turn.source == "bank":
            yield f"turn {turn.turn} is the bank's"


@_check("fallback-told")
def fallback_told(r: Recording) -> Iterator[str]:
    """Where the bank speaks the candidate is told, and only there."""
    told = any(notice.code == "fallback_in_use" for notice in r.of(e.Notice))
    bank = any(turn.source == "bank" for turn in r.spoken)
    if told != bank:
        yield f"the bank spoke: {bank}, told: {told}"


@_check("early-end-told", applies=lambda r: reported(r) and not stays(r))
def early_end_told(r: Recording) -> Iterator[str]:
    """The report of an interview that ended early says what was not reached."""
    assert r.report is not None  # noqa: S101  # it applies
    covered = r.report.coverage
    if covered.asked < covered.planned and "not reached" not in " ".join(r.report.notes):
        yield "it does not"


@_check("hints-told", applies=lambda r: reported(r) and any(t.kind == "hint" for t in r.turns))
def hints_told(r: Recording) -> Iterator[str]:
    """The report says which hints were given."""
    assert r.report is not None  # noqa: S101  # it applies
    if "given (turn" not in " ".join(r.report.notes):
        yield "it does not"


@_check("absence-counted", applies=lambda r: reported(r) and r.away_s > AWAY_S)
def absence_counted(r: Recording) -> Iterator[str]:
    """The report counts how often the candidate was away, and says so."""
    assert r.report is not None  # noqa: S101  # it applies
    if r.report.disconnections < 1:
        yield f"{r.report.disconnections} are counted"
    elif "connection was lost" not in " ".join(r.report.notes):
        yield "it does not say so"


@_check("ratings-only-for-reviewers", applies=assesses)
def ratings_only_for_reviewers(r: Recording) -> Iterator[str]:
    """The candidate of an assessment sees neither ratings nor the report."""
    if r.of(e.RatingReady):
        yield "a rating was sent to the candidate"
    if r.report_for_candidate != _FORBIDDEN:
        yield f"the report was answered with {r.report_for_candidate}"


@_check("report-for-the-candidate", applies=lambda r: practises(r) and reported(r))
def report_for_the_candidate(r: Recording) -> Iterator[str]:
    """In practice the candidate may read the report."""
    if r.report_for_candidate != _FOUND:
        yield f"it was answered with {r.report_for_candidate}"


@_check(
    "feedback-in-practice",
    severity="should",
    applies=lambda r: practises(r) and stays(r) and _said(r),
)
def feedback_in_practice(r: Recording) -> Iterator[str]:
    """In practice feedback comes while the interview goes on."""
    if not r.of(e.RatingReady):
        yield "none came"


@_check("budget-kept", applies=reported)
def budget_kept(r: Recording) -> Iterator[str]:
    """An interview costs no more than its budget."""
    assert r.report is not None  # noqa: S101  # it applies
    cost = r.report.cost_micro_usd / 1e6
    if cost > r.budget_usd:
        yield f"${cost:.4f} of ${r.budget_usd:.2f}"


@_check("offline-is-free", applies=by_rules)
def offline_is_free(r: Recording) -> Iterator[str]:
    """Without a model nothing is paid."""
    assert r.report is not None  # noqa: S101  # it applies
    if r.report.cost_micro_usd:
        yield f"it cost {r.report.cost_micro_usd} millionths of a dollar"


@_check("cost-known", applies=lambda r: by_model(r) and r.expected == "model")
def cost_known(r: Recording) -> Iterator[str]:
    """With a model the ledger knows a cost."""
    assert r.report is not None  # noqa: S101  # it applies
    if not r.report.cost_micro_usd:
        yield "it knows none"


@_check("markdown-form", applies=reported)
def markdown_form(r: Recording) -> Iterator[str]:
    """The report as Markdown has its title, its scores and the transcript."""
    if not r.markdown.startswith("# "):
        yield "it has no title"
    yield from (f"it lacks {part}" for part in _lacking(r, r.markdown))


@_check("html-form", applies=reported)
def html_form(r: Recording) -> Iterator[str]:
    """The report as a page stands alone: no script, no address of another file."""
    if not r.html.startswith("<!doctype html>"):
        yield "it is no page"
    found = re.search(r"<script|\bsrc=|@import|url\(http|<link ", r.html)
    if found:
        yield f"it has {found[0]}"
    yield from (f"it lacks {part}" for part in _lacking(r, r.html))


@_check("pdf-form", applies=reported)
def pdf_form(r: Recording) -> Iterator[str]:
    """The report as PDF is there, to its end."""
    if not (r.pdf.startswith(b"%PDF-") and r.pdf.rstrip().endswith(b"%%EOF")):
        yield f"it is {len(r.pdf)} bytes of something else"


def _rated(r: Recording) -> list[Rating]:
    assert r.report is not None  # noqa: S101  # whoever asks applies to reports
    also = [r.report.communication] if r.report.communication else []
    return [*r.report.ratings, *also]


def _lacking(r: Recording, text: str) -> Iterator[str]:
    assert r.report is not None  # noqa: S101  # whoever asks applies to reports
    if r.report.composite is not None and f"{r.report.composite:g}" not in text:
        yield "the overall score"
    if "ranscript" not in text:
        yield "the transcript"
