"""A report as one page that stands alone: it can be served, saved, sent and printed.

There is no script in it, no `style` attribute and no address of another file. Its one style sheet
is allowed by its hash: serve the page with `content_security_policy` as `Content-Security-Policy`.
The page carries the same policy in a `meta` element, which holds where it was saved to a disk.
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from protocol.assessment import Evidence, Rating, Remark, Report
from protocol.session import Turn
from server.reporting import charts, words
from server.reporting.markup import Child, Markup, join, tag

_LOGO = Markup(
    '<svg class="logo" viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">'
    '<path class="bubble" d="M16 3C8.3 3 2.5 8 2.5 14.6c0 3.7 1.9 6.9 4.9 9L6.6 29l5.6-3.2c1.2.3 '
    '2.5.4 3.8.4 7.7 0 13.5-5 13.5-11.6S23.7 3 16 3Z"/>'
    '<path class="v" d="M9.8 10.2 16 19.8l6.2-9.6"/></svg>'
)


def content_security_policy() -> str:
    """Return the header's value that the page needs; it allows nothing else."""
    return f"{_policy()}; frame-ancestors 'none'"


@cache
def style_source() -> str:
    """Return what in a policy allows the page's style sheet, by its hash."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return f"'sha256-{digest}'"


def report_html(report: Report, turns: Sequence[Turn]) -> str:
    """Return the page."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy()),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="robots", content="noindex"),
        tag("title", _title(report)),
        tag("style", Markup(_style())),
    )
    offline = report.method == "offline"
    body = tag(
        "body",
        tag("a", "Skip to the transcript", class_="skip", href="#transcript"),
        _strip() if offline else None,
        _top(),
        tag(
            "main",
            _hero(report),
            _notes(report),
            _scores(report),
            _remarks(report),
            _ratings(report, turns),
            _star(report),
            _timeline(report, turns),
            _transcript(report, turns),
            _made(report),
        ),
        class_="offline" if offline else None,
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


@cache
def _style() -> str:
    return (files("server.reporting") / "report.css").read_text(encoding="utf-8")


def _policy() -> str:
    return f"default-src 'none'; style-src {style_source()}; base-uri 'none'; form-action 'none'"


def _title(report: Report) -> str:
    mark = f" ({words.OFFLINE.lower()})" if report.method == "offline" else ""
    return f"Interview report: {report.role}{mark}"


def _strip() -> Markup:
    rest = words.OFFLINE_LONG.removeprefix(words.OFFLINE)
    return tag("p", tag("strong", words.OFFLINE), rest, class_="strip")


def _top() -> Markup:
    brand = tag("span", _LOGO, "viva", class_="brand")
    return tag("header", brand, tag("span", "Interview report", class_="fine"), class_="top")


# --- the first look ------------------------------------------------------------------------------


def _hero(report: Report) -> Markup:
    return tag(
        "section",
        tag(
            "div",
            tag("p", words.title(report), class_="eyebrow"),
            tag("h1", report.role, dir="auto"),
            tag(
                "p",
                tag("time", words.date(report.created_at), datetime=words.iso(report.created_at)),
                f" · {words.length(report.duration_ms)} · {report.ended}",
                class_="fine",
            ),
            class_="who",
        ),
        _overall(report),
        _coverage(report),
        class_="card hero",
        aria_label="Overview",
    )


def _overall(report: Report) -> Markup:
    if report.composite is None:
        score: Child = tag("span", words.NOT_RATED, class_="none")
    else:
        score = [
            tag("span", words.number(report.composite), class_="big"),
            tag("span", " of 5", class_="of"),
        ]
    return tag(
        "div",
        tag("p", "Overall", class_="label"),
        tag("p", score, class_="overall"),
        _badge(report.method == "offline"),
        charts.scale(report.composite, ()),
        class_="total",
    )


def _coverage(report: Report) -> Markup:
    rows = [
        tag("div", tag("dt", name), tag("dd", str(count)), tag("dd", picture, class_="picture"))
        for name, count, picture in charts.coverage(report.coverage)
    ]
    return tag(
        "div",
        tag("h2", "Questions", class_="label"),
        tag("dl", rows, class_="bars"),
        class_="cover",
    )


def _badge(offline: bool) -> Markup | None:  # noqa: FBT001  # the one thing it is about
    return tag("span", words.OFFLINE, class_="badge") if offline else None


def _notes(report: Report) -> Markup | None:
    if not report.notes:
        return None
    return _section(
        "notes",
        "Before you read on",
        tag("ul", [tag("li", note, dir="auto") for note in report.notes]),
        class_="notes",
    )


def _section(name: str, title: str, *children: Child, class_: str | None = None) -> Markup:
    heading = tag("h2", title, id=f"{name}-title")
    return tag(
        "section", heading, *children, id=name, class_=class_, aria_labelledby=f"{name}-title"
    )


# --- scores and remarks --------------------------------------------------------------------------


def _scores(report: Report) -> Markup | None:
    rows = [_score(row.name, row.score, row.ratings) for row in words.competencies(report)]
    apart = report.communication
    if apart:
        rows.append(_score(apart.competency, apart.score, (apart,), apart=True))
    if not rows:
        return None
    axis = tag("span", [tag("span", str(step)) for step in range(1, 6)], class_="axis")
    head = tag(
        "tr",
        tag("th", "Competency", scope="col"),
        tag(
            "th",
            tag("span", "Scale of 1 to 5", class_="unseen"),
            axis,
            scope="col",
            class_="picture",
        ),
        tag("th", "Score", scope="col", class_="figure"),
    )
    table = tag("table", tag("thead", head), tag("tbody", rows), class_="scores")
    key = "Ringed: an anchor was prepared. A pale bar spans what repeated ratings gave."
    return _section("scores", "Scores", table, tag("p", key, class_="fine"))


def _score(
    name: str, score: float | None, ratings: Sequence[Rating], *, apart: bool = False
) -> Markup:
    offline = any(rating.method == "offline" for rating in ratings)
    note = tag("span", "apart, not in the overall score", class_="fine") if apart else None
    return tag(
        "tr",
        tag("th", tag("span", name, dir="auto"), note, scope="row"),
        tag("td", charts.scale(score, ratings), class_="picture"),
        tag("td", tag("strong", words.number(score)), _badge(offline), class_="figure"),
        class_="unrated" if score is None else None,
    )


def _remarks(report: Report) -> Markup | None:
    if not report.strengths and not report.gaps:
        return None
    gaps = "To work on" if report.mode == "practice" else "Gaps"
    if not report.coverage.rated:
        return tag("div", _column("gaps", gaps, report.gaps, ""), class_="columns one")
    return tag(
        "div",
        _column("strengths", "Strengths", report.strengths, "No answer was scored 4 or more."),
        _column("gaps", gaps, report.gaps, "No answer was scored 2 or less."),
        class_="columns",
    )


def _column(name: str, title: str, remarks: Sequence[Remark], none: str) -> Markup:
    items = [
        tag(
            "li",
            tag("h3", remark.competency, dir="auto"),
            tag("p", remark.text, dir="auto"),
            tag("p", [_cite(turn) for turn in remark.turns], class_="cites"),
        )
        for remark in remarks
    ]
    inner = tag("ul", items) if items else tag("p", none, class_="fine")
    return _section(name, title, inner, class_="card")


def _cite(turn: int) -> Markup:
    return tag("a", f"Turn {turn}", href=f"#t{turn}", class_="cite")


# --- the ratings one by one ----------------------------------------------------------------------


def _ratings(report: Report, turns: Sequence[Turn]) -> Markup | None:
    everything = words.rated(report)
    if not everything:
        return None
    cards: list[Markup] = []
    first = 0
    for place, rating in enumerate(everything):
        cards.append(_rating(rating, words.asked(rating, turns), place, first))
        first += len(rating.evidence)
    return _section("ratings", "Answer by answer", cards)


def _rating(rating: Rating, question: str, place: int, first: int) -> Markup:
    figure: Child = tag("span", words.NOT_RATED, class_="none")
    if rating.score is not None:
        figure = [tag("span", str(rating.score), class_="big"), tag("span", " of 5", class_="of")]
    quotes = [_quote(evidence, first + n) for n, evidence in enumerate(rating.evidence)]
    return tag(
        "article",
        tag(
            "header",
            tag("h3", rating.competency, id=f"r{place}", dir="auto"),
            tag("p", figure, _badge(rating.method == "offline"), class_="mark"),
        ),
        tag("p", question, class_="question", dir="auto") if question else None,
        tag("p", rating.rationale, dir="auto") if rating.rationale else None,
        tag("div", quotes, class_="quotes") if quotes else None,
        _facts(rating),
        class_="card rating",
        aria_labelledby=f"r{place}",
    )


def _quote(evidence: Evidence, place: int) -> Markup:
    link = tag("a", f"Turn {evidence.turn}", href=f"#q{place}", class_="cite")
    return tag("blockquote", tag("p", evidence.quote, dir="auto"), tag("footer", link))


def _facts(rating: Rating) -> Markup | None:
    rows: list[tuple[str, Child]] = []
    if rating.missing:
        rows.append(("For more", tag("span", rating.missing, dir="auto")))
    if rating.anchor:
        text = tag("span", rating.anchor_text, dir="auto")
        rows.append((f"Closest anchor: {rating.anchor}", text))
    if rating.caveats:
        caveats = [tag("span", words.CAVEATS[caveat], class_="caveat") for caveat in rating.caveats]
        rows.append(("Mind", caveats))
    if len(rating.samples) > 1:
        given = ", ".join("none" if sample is None else str(sample) for sample in rating.samples)
        rows.append(("Repeated ratings", f"{given}; the median counts"))
    if not rows:
        return None
    return tag(
        "dl",
        [tag("div", tag("dt", name), tag("dd", value)) for name, value in rows],
        class_="facts",
    )


def _star(report: Report) -> Markup | None:
    """Return which parts of a story each answer told, where the interview asked for stories."""
    if not words.tells_stories(report):
        return None
    head = tag(
        "tr",
        tag("th", "Answer", scope="col"),
        [tag("th", name, scope="col") for name in words.STAR.values()],
    )
    body = [
        tag("tr", tag("th", rating.competency, scope="row", dir="auto"), _told(rating))
        for rating in report.ratings
    ]
    table = tag("table", tag("thead", head), tag("tbody", body), class_="star")
    key = "Which parts of a story were found in each answer: full, found; empty, not found."
    return _section("star", "How the stories were told", table, tag("p", key, class_="fine"))


def _told(rating: Rating) -> list[Markup]:
    if rating.score is None and not rating.star:
        return [tag("td", words.NOT_RATED, colspan=len(words.STAR))]
    return [
        tag(
            "td",
            charts.dot(told=part in rating.star),
            tag("span", "found" if part in rating.star else "not found", class_="unseen"),
        )
        for part in words.STAR
    ]


# --- the conversation ----------------------------------------------------------------------------


def _timeline(report: Report, turns: Sequence[Turn]) -> Markup | None:
    if not turns:
        return None
    quoted = frozenset(evidence.turn for evidence in words.quotes(report))
    asked = dict.fromkeys(t.question_id for t in turns if (t.question_id or "").startswith("core-"))
    names = {question: str(place) for place, question in enumerate(asked, 1) if question}
    whole = max(turn.ended_at for turn in turns) - turns[0].started_at
    ends = tag("p", tag("span", "0:00"), tag("span", words.clock(whole)), class_="ends")
    key = tag(
        "p",
        tag("span", "Interviewer", class_="key interviewer"),
        tag("span", "from the question bank", class_="key bank")
        if any(turn.source == "bank" for turn in turns)
        else None,
        tag("span", "Candidate", class_="key candidate"),
        tag("span", "quoted above", class_="key quoted") if quoted else None,
        class_="keys",
    )
    picture = charts.timeline(turns, quoted, names)
    return _section("timeline", "The conversation in time", picture, ends, key)


def _transcript(report: Report, turns: Sequence[Turn]) -> Markup:
    evidence = words.quotes(report)
    start = turns[0].started_at if turns else 0
    marked: set[int] = set()
    items = [_turn(turn, evidence, start, marked) for turn in turns]
    inner = tag("ol", items, class_="turns") if items else tag("p", words.NO_TURNS)
    return _section("transcript", "Transcript", inner)


def _turn(turn: Turn, evidence: Sequence[Evidence], start: int, marked: set[int]) -> Markup:
    head = tag(
        "p",
        tag(
            "a",
            tag("span", "Turn ", class_="unseen"),
            turn.turn,
            href=f"#t{turn.turn}",
            class_="number",
        ),
        tag("span", words.speaker(turn), class_="speaker"),
        [tag("span", remark, class_="fine") for remark in words.remarks_on(turn)],
        tag("span", words.clock(turn.started_at - start), class_="fine at"),
        class_="turn-head",
    )
    text = tag("p", _text(turn, evidence, marked), class_="text", dir="auto")
    return tag("li", head, text, id=f"t{turn.turn}", class_=f"turn {turn.speaker}")


def _text(turn: Turn, evidence: Sequence[Evidence], marked: set[int]) -> Markup:
    """Return a turn's words; what was quoted is marked, and its first mark can be linked to."""
    if not turn.text.strip():
        return tag("em", "(nothing)", class_="fine")
    out: list[Markup] = []
    for text, quotes in words.pieces(turn, evidence):
        new = [place for place in quotes if place not in marked]
        marked.update(new)
        inner = join(text)
        starts = [tag("span", id=f"q{place}") for place in new]
        out.append(tag("mark", starts, inner) if quotes else inner)
    return join(out)


def _made(report: Report) -> Markup:
    rows = [
        tag("div", tag("dt", name), tag("dd", value)) for name, value in words.provenance(report)
    ]
    return _section(
        "made",
        "How this was made",
        tag("p", words.how(report)),
        tag("p", words.LIMITS),
        tag("dl", rows, class_="facts provenance"),
    )
