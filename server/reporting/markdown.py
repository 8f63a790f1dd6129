"""A report as CommonMark. Words of the candidate can become no heading, link, code or HTML."""

import re
from collections.abc import Iterator, Sequence

from protocol.assessment import Rating, Remark, Report
from protocol.session import Turn
from server.reporting import words

_SPECIAL = str.maketrans({"&": "&amp;"} | {char: f"\\{char}" for char in r"\`*_[]<>|~#@$"})
"""A table: an answer may consist of such characters, and a pattern takes ten times as long."""
_LINE_START = re.compile(r"^([ \t]*)([-+=:]|\d{1,9}(?=[.)]))", re.MULTILINE)
_ADDRESS = re.compile(r"(?i)(?<=www)\.|:(?=//)")


def report_markdown(report: Report, turns: Sequence[Turn]) -> str:
    """Return the report for people to read, or for a program that shows Markdown."""
    stories = words.tells_stories(report)
    parts = (
        _head(report),
        _scores(report),
        _remarks("Strengths", report.strengths),
        _remarks("Gaps", report.gaps),
        *(_rating(each, turns, stories=stories) for each in words.rated(report)),
        _transcript(turns),
        _made(report),
    )
    return "\n".join(line for part in parts for line in part)


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is. GitHub's autolinks are broken as well."""
    text = words.visible(text).translate(_SPECIAL)
    text = _ADDRESS.sub(r"\\\g<0>", text)
    return _LINE_START.sub(_unlisted, text)


def quoted(text: str) -> Iterator[str]:
    """Give the lines of a quotation that says the text as it is."""
    for line in escaped(text).split("\n"):
        yield f"> {line.strip()}" if line.strip() else ">"


def _unlisted(found: re.Match[str]) -> str:
    # An indent of four would make code; a number is defused at the point after it.
    start = found[2]
    return f"&#{ord(start[0])};{start[1:]}"


def _flat(text: str) -> str:
    """Return text on one line."""
    return escaped(" ".join(text.split()))


def _head(report: Report) -> Iterator[str]:
    yield f"# Interview report: {_flat(report.role)}"
    yield ""
    if report.method == "offline":
        yield f"**{words.OFFLINE_LONG}.**"
        yield ""
    yield f"{words.title(report)}  "
    spent = words.length(report.duration_ms)
    yield f"{words.date(report.created_at)} · {spent} · {_flat(report.ended)}"
    yield ""
    cover = report.coverage
    mark = f" ({words.OFFLINE.lower()})" if report.method == "offline" else ""
    of = " of 5" if report.composite is not None else ""
    yield f"**Overall: {words.number(report.composite)}{of}{mark}**"
    yield ""
    yield (
        f"Questions: {cover.planned} planned, {cover.asked} asked, {cover.answered} answered, "
        f"{cover.rated} rated."
    )
    yield ""
    if report.notes:
        yield "## Before you read on"
        yield ""
        yield from (f"- {_flat(note)}" for note in report.notes)
        yield ""


def _scores(report: Report) -> Iterator[str]:
    rows = list(words.competencies(report))
    if not rows:
        return
    yield "## Scores"
    yield ""
    yield "| competency | score of 1 to 5 |"
    yield "| --- | --- |"
    for row in rows:
        yield f"| {_flat(row.name)} | {words.number(row.score)} |"
    if report.communication:
        score = words.number(report.communication.score)
        yield f"| {_flat(report.communication.competency)} (apart) | {score} |"
    yield ""


def _remarks(title: str, remarks: Sequence[Remark]) -> Iterator[str]:
    if not remarks:
        return
    yield f"## {title}"
    yield ""
    for remark in remarks:
        cited = words.turns(remark.turns)
        yield f"- **{_flat(remark.competency)}** ({cited}): {_flat(remark.text)}"
    yield ""


def _rating(rating: Rating, turns: Sequence[Turn], *, stories: bool) -> Iterator[str]:
    of = " of 5" if rating.score is not None else ""
    mark = f" ({words.OFFLINE.lower()})" if rating.method == "offline" else ""
    yield f"## {_flat(rating.competency)}: {words.number(rating.score)}{of}{mark}"
    yield ""
    question = words.asked(rating, turns)
    if question:
        yield f"Asked: {_flat(question)}"
        yield ""
    if rating.rationale:
        yield _flat(rating.rationale)
        yield ""
    for evidence in rating.evidence:
        yield from quoted(evidence.quote)
        yield ">"
        yield f"> — turn {evidence.turn}"
        yield ""
    facts = list(_facts(rating, stories=stories))
    if facts:
        yield from facts
        yield ""


def _facts(rating: Rating, *, stories: bool) -> Iterator[str]:
    if rating.missing:
        yield f"- For more: {_flat(rating.missing)}"
    if rating.anchor:
        yield f"- Closest anchor ({rating.anchor}): {_flat(rating.anchor_text)}"
    if rating.star and stories:
        yield f"- Told: {', '.join(words.STAR[part].lower() for part in rating.star)}"
    if rating.caveats:
        yield f"- Mind: {'; '.join(words.CAVEATS[caveat] for caveat in rating.caveats)}"


def _transcript(turns: Sequence[Turn]) -> Iterator[str]:
    yield "## Transcript"
    yield ""
    if not turns:
        yield words.NO_TURNS
        yield ""
    for turn in turns:
        marks = words.remarks_on(turn)
        told = f" ({', '.join(marks)})" if marks else ""
        yield f"### {turn.turn}. {words.speaker(turn)}{told}"
        yield ""
        yield from quoted(turn.text.strip() or "(nothing)")
        yield ""


def _made(report: Report) -> Iterator[str]:
    yield "## How this was made"
    yield ""
    yield words.how(report)
    yield ""
    yield words.LIMITS
    yield ""
    yield from (f"- {name}: {_flat(value)}" for name, value in words.provenance(report))
    yield ""
