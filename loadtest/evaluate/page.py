"""The verdict as one page that stands alone: for reading, saving and sending."""

import time
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files

from loadtest.evaluate import charts
from loadtest.evaluate.judge import Result, Summary, Verdict
from loadtest.evaluate.personas import PERSONAS

GROUPS = {
    "conduct": "Conduct",
    "words": "Words",
    "delivery": "Delivery",
    "ratings": "Ratings",
    "report": "Report",
    "comparison": "Comparison",
}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(verdict: Verdict) -> str:
    """Return the page."""
    style = (files("loadtest.evaluate") / "page.css").read_text(encoding="utf-8")
    body = "".join(
        (
            _hero(verdict),
            _failures(verdict),
            _scores(verdict),
            _grid(verdict),
            _interviews(verdict),
            _checks(verdict),
        )
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><title>viva evaluate</title>'
        f"<style>{style}</style></head><body>"
        '<header class="top"><span class="brand">viva</span>'
        '<span class="fine">Quality of interviews</span></header>'
        f"<main>{body}</main></body></html>\n"
    )


def _hero(verdict: Verdict) -> str:
    failed = len(verdict.failed)
    title = (
        "Every check is met"
        if verdict.ok
        else "No interview was had"
        if not verdict.interviews
        else f"{failed} {'check fails' if failed == 1 else 'checks fail'}"
    )
    met = [result for result in verdict.results if result.looked_at]
    single = sum(result.looked_at for result in met)
    passed = sum(result.passed for result in met)
    figures = (
        ("Interviews", str(len(verdict.interviews)), ""),
        ("Turns", str(sum(one.turns for one in verdict.interviews)), ""),
        ("Checks that could be made", str(len(met)), f" of {len(verdict.results)}"),
        ("Passed, one by one", f"{passed:,}", f" of {single:,}"),
        ("First words, median", _seconds(verdict.interviews), ""),
        ("Spent", f"${verdict.spent_usd:.3f}", ""),
    )
    shown = "".join(
        f"<div><dt>{name}</dt><dd>{value}<small>{rest}</small></dd></div>"
        for name, value, rest in figures
    )
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(verdict.ended_at))
    left = f" · {len(verdict.left_out)} left out for want of money" if verdict.left_out else ""
    return (
        f'<section class="card verdict{"" if verdict.ok else " bad"}">'
        f'<p class="eyebrow">{"Passed" if verdict.ok else "Failed"}</p><h1>{title}</h1>'
        f'<p class="fine">{when} · seed {verdict.seed} · {verdict.took_s:.0f} s{left}</p>'
        f'<dl class="figures">{shown}</dl></section>'
    )


def _failures(verdict: Verdict) -> str:
    wrong = [result for result in verdict.results if result.failures]
    if not wrong:
        return ""
    items = "".join(
        f"<li><h3>{escape(result.name)} {_mark(result)}</h3>"
        f'<p class="fine">{escape(result.meaning)}</p>{_where(result)}</li>'
        for result in sorted(wrong, key=lambda result: result.ok)
    )
    return (
        "<section><h2>What was found</h2>"
        '<p class="fine">Each check that an interview did not pass, those that fail the run first.'
        f'</p><ul class="failures">{items}</ul></section>'
    )


def _where(result: Result, most: int = 6) -> str:
    lines = [
        f'<p class="where"><strong>{escape(failure.interview)}</strong>: '
        f"{escape('; '.join(failure.told))}</p>"
        for failure in result.failures[:most]
    ]
    if len(result.failures) > most:
        lines.append(f'<p class="where fine">and {len(result.failures) - most} more</p>')
    return "".join(lines)


def _scores(verdict: Verdict) -> str:
    rated = [one for one in verdict.interviews if one.source != "offline"]
    if not rated:
        return ""
    names = [name for name in PERSONAS if any(one.persona == name for one in rated)]
    scores = {
        name: [float(s) for one in rated if one.persona == name for s in one.scores]
        for name in names
    }
    told = "".join(
        f"<span><strong>{name}</strong>: {escape(PERSONAS[name].told)}</span>" for name in names
    )
    return (
        "<section><h2>Scores by kind of candidate</h2>"
        '<p class="fine">Each dot is a score of one main question, larger where there are many; '
        "the line is the mean. Interviews without a model are not scored.</p>"
        f'<div class="card"><div class="chart">{charts.strip(scores)}</div></div>'
        f'<p class="fine legend" style="margin-top:.8rem">{told}</p></section>'
    )


def _grid(verdict: Verdict) -> str:
    groups = [name for name in GROUPS if name != "comparison"]
    head = "".join(f"<th>{GROUPS[name]}</th>" for name in groups)
    names = list(dict.fromkeys(one.persona for one in verdict.interviews))
    rows = "".join(
        f"<tr><th>{escape(persona)}</th>"
        + "".join(_cell(verdict, persona, group) for group in groups)
        + "</tr>"
        for persona in sorted(names, key=list(PERSONAS).index)
    )
    shares = {
        GROUPS[group]: (
            sum(r.ok for r in verdict.results if r.group == group and r.looked_at),
            sum(bool(r.looked_at) for r in verdict.results if r.group == group),
        )
        for group in GROUPS
    }
    return (
        "<section><h2>Checks by kind of candidate</h2>"
        '<p class="fine">How many interviews of a kind passed every check of a group.</p>'
        f'<div class="scroll"><table class="grid"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        '<h3 style="margin:1.5rem 0 .5rem">Checks met, by group</h3>'
        f'<div class="chart">{charts.bars(shares)}</div></section>'
    )


def _cell(verdict: Verdict, persona: str, group: str) -> str:
    having = [one for one in verdict.interviews if one.persona == persona]
    names = {result.name for result in verdict.results if result.group == group}
    passed = sum(names.isdisjoint(one.failed) for one in having)
    kind = "all" if passed == len(having) else "few" if 2 * passed < len(having) else "most"
    return f'<td class="{kind}">{passed} / {len(having)}</td>'


def _interviews(verdict: Verdict) -> str:
    rows = "".join(_interview(one) for one in verdict.interviews)
    head = "".join(
        f'<th class="{kind}">{name}</th>'
        for name, kind in (
            ("Interview", ""), ("Turns", "n"), ("Seconds", "n"), ("First words", "n"),
            ("Scores", ""), ("Overall", "n"), ("Cost", "n"), ("Not passed", ""),
        )
    )  # fmt: skip
    return (
        "<section><h2>Interviews</h2>"
        '<p class="fine">As their candidates saw them, over the WebSocket and the API.</p>'
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        "</div></section>"
    )


def _interview(one: Summary) -> str:
    overall = "—" if one.composite is None else f"{one.composite:.1f}"
    failed = ", ".join(one.failed) or "—"
    again = " · again" if one.name.endswith(" again") else ""
    return (
        f"<tr><th>{escape(one.persona)}<small>{escape(one.type.replace('_', ' '))} · "
        f"{escape(one.mode)} · {escape(one.source)}{again}</small></th>"
        f'<td class="n">{one.turns}</td><td class="n">{one.seconds:.1f}</td>'
        f'<td class="n">{one.first_words_s * 1000:.0f} ms</td>'
        f"<td>{' '.join(map(str, one.scores)) or '—'}</td>"
        f'<td class="n">{overall}</td><td class="n">${one.cost_micro_usd / 1e6:.4f}</td>'
        f"<td>{escape(failed)}</td></tr>"
    )


def _checks(verdict: Verdict) -> str:
    return (
        "<section><h2>All checks</h2>"
        f'<p class="fine">“must”: one failure fails the run. “should”: {verdict.least:.0%} of the '
        "interviews have to pass.</p>" + "".join(_groups(verdict.results)) + "</section>"
    )


def _groups(results: Sequence[Result]) -> Iterator[str]:
    for group, title in GROUPS.items():
        own = [result for result in results if result.group == group]
        bad = sum(not result.ok for result in own)
        mark = (
            f'<span class="tag no">{bad} failed</span>'
            if bad
            else f'<span class="tag yes">{len(own)} checks</span>'
        )
        yield f"<details><summary>{title} {mark}</summary>{_table(own)}</details>"


def _table(results: Iterable[Result]) -> str:
    rows = "".join(
        f"<tr><td>{escape(result.name)}</td><td>{escape(result.meaning)}</td>"
        f'<td class="n">{result.passed} of {result.looked_at}</td><td>{_mark(result)}</td></tr>'
        for result in results
    )
    return (
        '<table><thead><tr><th>Check</th><th>What it asks</th><th class="n">Passed</th>'
        f"<th></th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _mark(result: Result) -> str:
    if not result.looked_at:
        return '<span class="tag na">nothing to see</span>'
    if not result.ok:
        return f'<span class="tag no">{result.severity} · failed</span>'
    kind = "some" if result.failures else "yes"
    return f'<span class="tag {kind}">{result.severity}</span>'


def _seconds(interviews: Sequence[Summary]) -> str:
    waits = sorted(one.first_words_s for one in interviews)
    return f"{waits[len(waits) // 2] * 1000:.0f} ms" if waits else "—"
