"""A report as a PDF on A4: a fixed look, and no more pages than a person would turn.

Equal reports make equal files, unless the time runs out. What no font has is shown as a mark of its
own; long turns are shortened, and where the pages or the time run out, the rest is left to the
other forms, which have all of it.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from fpdf import FPDF
from fpdf.enums import Align, MethodReturnValue, WrapMode, XPos, YPos
from fpdf.fonts import TTFFont

from protocol.assessment import Coverage, Rating, Remark, Report
from protocol.session import Turn
from protocol.text import clip
from server.reporting import fonts, words

MAX_PAGES = 60
WORK_S = 10.0
"""Seconds of CPU behind which nothing is begun. Some 35,000 code points of Hindi take so long on a
slow machine, more than anybody says in an hour; how long depends on what was said."""
TURN_LENGTH = 6_000
"""The most code points that are printed of one turn."""
TURN_LINES = 60
QUOTES = 12
"""The most quotes that are printed of one rating."""

_INK, _SOFT, _LINE = (32, 38, 43), (93, 102, 110), (222, 219, 212)
_ACCENT, _TINT, _PALE = (18, 107, 91), (234, 243, 240), (188, 217, 209)
_WARN, _WARN_TINT, _WHITE = (138, 82, 0), (251, 241, 224), (255, 255, 255)
_MARGIN = 20.0
_WIDTH = 210 - 2 * _MARGIN

_PAGES = "\x02\x03"
"""Stands for the number of pages, with room for two digits; `words.visible` takes it from texts."""

Colour = tuple[int, int, int]


def report_pdf(
    report: Report, turns: Sequence[Turn], spent: Callable[[], float] = time.process_time
) -> bytes:
    """Return the file. It takes seconds of work where a report is long: not for an event loop.

    ``spent`` tells how many of them there were.
    """
    ends = spent() + WORK_S
    paper = _Paper(report, _texts(report, turns))
    paper.add_page()
    for part in _parts(report, turns):
        if paper.full or spent() >= ends:
            paper.say("The rest is left out here. The page and the Markdown have all of it.", "I")
            break
        part(paper)
    return bytes(paper.output())


def _texts(report: Report, turns: Sequence[Turn]) -> list[str]:
    told = [turn.text for turn in turns]
    told += [report.role, *report.notes, *report.coverage.competencies]
    for rating in words.rated(report):
        told += [rating.competency, rating.rationale, rating.missing, rating.anchor_text]
    for remark in (*report.strengths, *report.gaps):
        told += [remark.competency, remark.text]
    return told


class _Paper(FPDF):
    """Sheets with a head and a foot, and the few shapes that a report is made of."""

    def __init__(self, report: Report, texts: Sequence[str]) -> None:
        super().__init__(format="A4")
        self.offline = report.method == "offline"
        self._role = report.role
        self.set_margins(_MARGIN, 18, _MARGIN)
        self.c_margin = 0
        self.alias_nb_pages(_PAGES)
        self.set_auto_page_break(auto=True, margin=22)
        self.set_creation_date(datetime.fromtimestamp(report.created_at / 1000, UTC))
        self.set_title(f"Interview report{' (offline)' if self.offline else ''}")
        self.set_lang("en")
        self.set_creator("viva")
        for style, font in fonts.BASE.items():
            self.add_font(fonts.FAMILY, style, font.file)  # pyright: ignore[reportArgumentType]  # "", "B", "I"
        extra = fonts.needed(texts)
        for font in extra:
            self.add_font(font.name, "", font.file)
        self.set_fallback_fonts([font.name for font in extra], exact_match=False)
        base, others = self._held()
        self._known = frozenset[int].intersection(*base).union(*others)

    def _held(self) -> tuple[list[frozenset[int]], list[frozenset[int]]]:
        """Return the characters of the base fonts, and of the others."""
        opened = [font for font in self.fonts.values() if isinstance(font, TTFFont)]
        held = [frozenset(font.cmap) for font in opened]
        return held[: len(fonts.BASE)], held[len(fonts.BASE) :]

    @property
    def full(self) -> bool:
        """Whether there are as many pages as there may be."""
        return self.page_no() >= MAX_PAGES

    def header(self) -> None:
        """See FPDF: drawn at the top of each page."""
        if not self.offline:
            return
        self.set_fill_color(*_WARN)
        self.rect(0, 0, 210, 9, style="F")
        self.set_xy(0, 2)
        self._pen(9, "B", _WHITE)
        self.cell(210, 5, words.OFFLINE_LONG, align=Align.C)
        self.set_xy(_MARGIN, 18)

    def footer(self) -> None:
        """See FPDF: drawn at the foot of each page."""
        self.set_y(-15)
        self._pen(8, "", _SOFT)
        mark = f" · {words.OFFLINE}" if self.offline else ""
        role = self.drawable(" ".join(clip(self._role, 60).split()))
        with self.local_context():
            self.set_text_shaping(fonts.shaped(role))
            self.cell(_WIDTH / 2, 5, f"Interview report · {role}{mark}")
        self.set_text_shaping(use_shaping_engine=False)
        self.cell(_WIDTH / 2, 5, f"{self.page_no()} / {_PAGES}", align=Align.R)

    def drawable(self, text: str) -> str:
        """Return text as the fonts at hand can show it."""
        return fonts.drawable(words.visible(text), self._known)

    def _pen(self, size: float, style: str = "", colour: Colour = _INK) -> None:
        self.set_font(fonts.FAMILY, style, size)  # pyright: ignore[reportArgumentType]
        self.set_text_color(*colour)

    def say(
        self,
        text: str,
        style: str = "",
        *,
        size: float = 10,
        colour: Colour = _INK,
        indent: float = 0,
        width: float = _WIDTH,
        gap: float = 1.5,
        right: bool = False,
    ) -> None:
        """Write a paragraph, and leave ``gap`` below it."""
        text = self.drawable(text)
        self._pen(size, style, colour)
        self.set_x(_MARGIN + indent)
        self.set_text_shaping(fonts.shaped(text))
        self.multi_cell(
            min(width, _WIDTH - indent),
            size * 0.5,
            text,
            align=Align.R if right or fonts.leans_right(text) else Align.L,
            new_x=XPos.LMARGIN,
            new_y=YPos.NEXT,
            wrapmode=WrapMode.WORD,
        )
        self.set_text_shaping(use_shaping_engine=False)
        self.ln(gap)

    def height(self, text: str, size: float, width: float) -> float:
        """Return how high a paragraph would be."""
        text = self.drawable(text)
        self._pen(size)
        self.set_text_shaping(fonts.shaped(text))
        lines = self.multi_cell(
            width, size * 0.5, text, dry_run=True, output=MethodReturnValue.HEIGHT
        )
        self.set_text_shaping(use_shaping_engine=False)
        return float(lines)  # pyright: ignore[reportArgumentType]  # a height was asked for

    def room(self, height: float) -> None:
        """Begin a new page where less than ``height`` is left."""
        if self.will_page_break(height):
            self.add_page()

    def heading(self, text: str, follows: float = 24) -> None:
        """Write a heading, with room below it for a height of what follows."""
        self.room(follows + 10)
        self.ln(4)
        self.say(text, "B", size=14, gap=2)

    def rule(self) -> None:
        """Draw a hair line across."""
        self.set_draw_color(*_LINE)
        self.set_line_width(0.2)
        self.line(_MARGIN, self.get_y(), _MARGIN + _WIDTH, self.get_y())

    def scale(self, left: float, width: float, y: float, score: float | None) -> None:
        """Draw the scale from 1 to 5 with its anchors, and the score where there is one."""

        def at(step: float) -> float:
            return left + (step - 1) * width / 4

        self.set_draw_color(*_LINE)
        self.set_line_width(0.5)
        self.line(left, y, left + width, y)
        self.set_line_width(0.3)
        for step in (1, 2, 3, 4, 5):
            ringed = step in {1, 3, 5}
            self.set_draw_color(*(_SOFT if ringed else _LINE))
            self.set_fill_color(*(_WHITE if ringed else _LINE))
            self.circle(at(step), y, 0.9, style="FD")
        if score is not None:
            self.set_draw_color(*(_WARN if self.offline else _ACCENT))
            self.set_fill_color(*(_WARN_TINT if self.offline else _ACCENT))
            self.set_line_width(0.6)
            self.circle(at(score), y, 1.9, style="FD")

    def spread(self, left: float, width: float, y: float, samples: Sequence[int]) -> None:
        """Draw a pale bar from the least to the greatest sample."""
        if samples and min(samples) < max(samples):
            self.set_fill_color(*_PALE)
            start = left + (min(samples) - 1) * width / 4
            self.rect(start, y - 1.1, (max(samples) - min(samples)) * width / 4, 2.2, style="F")

    def figure(
        self, score: float | None, *, offline: bool = False, long: bool = True
    ) -> tuple[str, Colour]:
        """Return a score as text with its colour; an offline one says so."""
        if score is None:
            return words.NOT_RATED, _SOFT
        of = " of 5" if long else ""
        mark = f" ({words.OFFLINE.lower()})" if self.offline or offline else ""
        return f"{words.number(score)}{of}{mark}", _WARN if mark else _INK


Part = Callable[[_Paper], None]


def _parts(report: Report, turns: Sequence[Turn]) -> list[Part]:
    parts: list[Part] = [
        lambda paper: _head(paper, report),
        lambda paper: _notes(paper, report.notes),
        lambda paper: _scores(paper, report),
        lambda paper: _remarks(paper, "Strengths", report.strengths),
        lambda paper: _remarks(paper, "Gaps", report.gaps),
    ]
    if words.rated(report):
        parts.append(lambda paper: paper.heading("Answer by answer", 45))
    parts += [partial(_rating, rating=rating, turns=turns) for rating in words.rated(report)]
    parts.append(lambda paper: _star(paper, report))
    # What a report rests on is said before the transcript, which may not fit.
    parts.append(lambda paper: _made(paper, report))
    parts.append(lambda paper: paper.heading("Transcript"))
    if not turns:
        parts.append(lambda paper: paper.say(words.NO_TURNS))
    start = turns[0].started_at if turns else 0
    parts += [partial(_turn, turn=turn, start=start) for turn in turns]
    return parts


def _head(paper: _Paper, report: Report) -> None:
    paper.say("viva", "B", size=12, colour=_ACCENT, gap=6)
    paper.say(words.title(report), "B", size=9.5, colour=_ACCENT, gap=0.5)
    paper.say(report.role, "B", size=21, gap=1)
    when = f"{words.date(report.created_at)} · {words.length(report.duration_ms)} · {report.ended}"
    paper.say(when, size=9.5, colour=_SOFT, gap=4)
    paper.rule()
    paper.ln(6)
    top = paper.get_y()
    paper.say("Overall", "B", size=9, colour=_SOFT, gap=1)
    text, colour = paper.figure(report.composite)
    paper.say(text, "B", size=22, colour=colour, gap=4)
    paper.scale(_MARGIN + 2, 66, paper.get_y(), report.composite)
    below = paper.get_y() + 6
    paper.set_y(top)
    _coverage(paper, report.coverage)
    paper.set_y(max(below, paper.get_y()) + 4)


def _coverage(paper: _Paper, cover: Coverage) -> None:
    left = 95.0
    paper.say("Questions", "B", size=9, colour=_SOFT, indent=left, gap=1)
    rows = (
        ("planned", cover.planned),
        ("asked", cover.asked),
        ("answered", cover.answered),
        ("rated", cover.rated),
    )
    for name, count in rows:
        y = paper.get_y() + 2.2
        start, width = _MARGIN + left + 28, _WIDTH - left - 28
        paper.set_fill_color(*_LINE)
        paper.rect(start, y, width, 1.6, style="F")
        paper.set_fill_color(*_ACCENT)
        share = min(1, count / cover.planned) if cover.planned else 0
        if share:
            paper.rect(start, y, width * share, 1.6, style="F")
        paper.say(f"{name}", size=9.5, colour=_SOFT, indent=left, width=20, gap=0)
        paper.set_y(y - 2.2)
        paper.say(str(count), "B", size=9.5, indent=left + 19, width=9, gap=1.2)


def _notes(paper: _Paper, notes: Sequence[str]) -> None:
    if not notes:
        return
    text = "\n".join(f"·  {note}" for note in notes)
    high = paper.height(text, 9.5, _WIDTH - 14) + 14
    if high < 200:  # a box that fits on a page
        paper.room(high)
        paper.set_fill_color(*_WARN_TINT)
        paper.rect(_MARGIN, paper.get_y(), _WIDTH, high, style="F")
        paper.set_fill_color(*_WARN)
        paper.rect(_MARGIN, paper.get_y(), 0.9, high, style="F")
    paper.ln(4)
    paper.say("Before you read on", "B", size=10.5, indent=7, gap=1)
    paper.say(text, size=9.5, indent=7, width=_WIDTH - 14, gap=6)


def _scores(paper: _Paper, report: Report) -> None:
    rows = [(row.name, row.score, row.ratings) for row in words.competencies(report)]
    if report.communication:
        apart = report.communication
        rows.append((f"{apart.competency} (apart)", words.mean_score([apart]), (apart,)))
    if not rows:
        return
    paper.heading("Scores")
    for name, score, ratings in rows:
        high = paper.height(name, 10, 60)
        paper.room(high + 6)
        paper.rule()
        top = paper.get_y()
        middle = top + 3 + high / 2
        samples = [s for rating in ratings for s in rating.samples if s is not None]
        paper.spread(_MARGIN + 68, 66, middle, samples)
        paper.scale(_MARGIN + 68, 66, middle, score)
        offline = any(rating.method == "offline" for rating in ratings)
        text, colour = paper.figure(score, offline=offline, long=False)
        paper.set_y(middle - 2.5)
        style = "I" if score is None else "B"
        paper.say(text, style, colour=colour, indent=140, gap=0, right=True)
        paper.set_y(top + 3)
        paper.say(name, "B", width=60, gap=0)
        paper.set_y(top + 6 + high)
    paper.rule()
    paper.ln(2)
    key = "Ringed: an anchor was prepared. A pale bar spans what repeated ratings gave."
    paper.say(key, size=8.5, colour=_SOFT)


def _remarks(paper: _Paper, title: str, remarks: Sequence[Remark]) -> None:
    if not remarks:
        return
    paper.heading(title)
    for remark in remarks:
        paper.room(16)
        paper.say(remark.competency, "B", gap=0.5)
        paper.say(f"{remark.text} ({words.turns(remark.turns)})", gap=3)


def _rating(paper: _Paper, rating: Rating, turns: Sequence[Turn]) -> None:
    paper.room(40)
    paper.rule()
    paper.ln(4)
    text, colour = paper.figure(rating.score, offline=rating.method == "offline")
    top = paper.get_y()
    paper.say(text, "B", size=11, colour=colour, indent=126, gap=0, right=True)
    paper.set_y(top)
    paper.say(rating.competency, "B", size=12, width=122, gap=1)
    question = words.asked(rating, turns)
    if question:
        paper.say(clip(question, 1_000), "I", colour=_SOFT, gap=2)
    if rating.rationale:
        paper.say(rating.rationale, gap=2)
    for evidence in rating.evidence[:QUOTES]:
        _quote(paper, f"“{evidence.quote}”", f"Turn {evidence.turn}")
    paper.ln(1)
    for name, value in _facts(rating):
        paper.room(8)
        top = paper.get_y()
        paper.say(name, size=9, colour=_SOFT, width=34, gap=0)
        paper.set_y(top)
        paper.say(value, size=9, indent=36, gap=1)
    paper.ln(3)


def _quote(paper: _Paper, quote: str, turn: str) -> None:
    high = paper.height(quote, 10, _WIDTH - 32) + 4
    if high < 200:
        paper.room(high)
        top = paper.get_y()
        paper.set_fill_color(*_TINT)
        paper.rect(_MARGIN, top, _WIDTH, high, style="F")
        paper.set_fill_color(*_ACCENT)
        paper.rect(_MARGIN, top, 0.8, high, style="F")
    paper.ln(2)
    top = paper.get_y()
    paper.say(turn, size=8.5, colour=_ACCENT, indent=_WIDTH - 24, width=20, gap=0, right=True)
    paper.set_y(top)
    paper.say(quote, indent=5, width=_WIDTH - 32, gap=3.5)


def _facts(rating: Rating) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if rating.missing:
        facts.append(("For more", rating.missing))
    if rating.anchor:
        facts.append((f"Closest anchor: {rating.anchor}", rating.anchor_text))
    if rating.caveats:
        facts.append(("Mind", "; ".join(words.CAVEATS[caveat] for caveat in rating.caveats)))
    if len(rating.samples) > 1:
        given = ", ".join("none" if sample is None else str(sample) for sample in rating.samples)
        facts.append(("Repeated ratings", f"{given}; the median counts"))
    return facts


def _star(paper: _Paper, report: Report) -> None:
    if not words.tells_stories(report):
        return
    ratings = report.ratings
    paper.heading("How the stories were told")
    left, step = 76.0, 24.0
    top = paper.get_y()
    for place, name in enumerate(words.STAR.values()):
        paper.set_y(top)
        paper.say(name, size=8.5, colour=_SOFT, indent=left + place * step, gap=1)
    for rating in ratings:
        high = paper.height(rating.competency, 10, 70)
        paper.room(high + 4)
        paper.rule()
        top = paper.get_y() + 2
        paper.set_line_width(0.3)
        for place, part in enumerate(words.STAR):
            told = part in rating.star
            paper.set_draw_color(*(_ACCENT if told else _SOFT))
            paper.set_fill_color(*(_ACCENT if told else _WHITE))
            if rating.score is not None or rating.star:
                paper.circle(_MARGIN + left + place * step + 5, top + high / 2, 1.5, style="FD")
        if rating.score is None and not rating.star:
            paper.set_y(top)
            paper.say(words.NOT_RATED, "I", colour=_SOFT, indent=left, gap=0)
        paper.set_y(top)
        paper.say(rating.competency, width=70, gap=2)
    paper.say("Full: found in the answer. Empty: not found.", size=8.5, colour=_SOFT)


def _turn(paper: _Paper, turn: Turn, start: int) -> None:
    paper.room(16)
    candidate = turn.speaker == "candidate"
    notes = "".join(f" · {note}" for note in words.remarks_on(turn))
    head = f"{turn.turn}  {words.speaker(turn)}{notes} · {words.clock(turn.started_at - start)}"
    paper.say(head, "B", size=8.5, colour=_ACCENT if candidate else _SOFT, gap=0.5)
    paper.say(_shortened(turn.text), indent=6 if candidate else 0, gap=3)


def _shortened(text: str) -> str:
    if text.count("\n") > TURN_LINES:
        text = " ".join(text.split())
    return clip(text, TURN_LENGTH, " … (shortened)") if text.strip() else "(nothing)"


def _made(paper: _Paper, report: Report) -> None:
    paper.heading("How this was made")
    paper.say(words.how(report), gap=2)
    paper.say(words.LIMITS, gap=3)
    for name, value in words.provenance(report):
        paper.room(8)
        top = paper.get_y()
        paper.say(name, size=9, colour=_SOFT, width=38, gap=0)
        paper.set_y(top)
        paper.say(value, size=9, indent=40, gap=1)
