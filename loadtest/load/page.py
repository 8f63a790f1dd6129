"""A result as one page that stands alone: for reading, saving and sending."""

import time
from collections.abc import Iterable
from html import escape
from importlib.resources import files

from loadtest.load.charts import Chart, Values, drawn
from loadtest.load.figures import COUNTS, LATENCIES, RATES, SERVER
from loadtest.load.knee import highest, never
from loadtest.load.result import Bound, Result
from loadtest.load.summary import number

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_TITLES = {
    "held": "Every threshold held",
    "broken": "A threshold broke",
    "void": "The run says nothing about the server",
}
_STYLE = (
    ".legend i { display: inline-block; width: 1.1rem; height: 0.2rem; border-radius: 1rem;"
    " margin-right: 0.4rem; vertical-align: middle; }"
    " .chart { max-width: none; margin-bottom: 1.75rem; } .chart .legend { margin-top: 0.4rem; }"
    " .chart h3 { margin-bottom: 0.4rem; } .eyebrow.void { color: var(--warn); }"
    " .verdict.void { border-left-color: var(--warn); } ul.void { margin: 0.8rem 0 0 1.1rem; }"
)
_KINDS_DRAWN = 5


def page(result: Result) -> str:
    """Return the page."""
    style = (files("loadtest.evaluate") / "page.css").read_text(encoding="utf-8")
    body = "".join(
        (
            _hero(result),
            _bounds(result),
            _steps(result),
            _charts(result),
            _latencies(result),
            _errors(result),
            _figures(result),
        )
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>viva load: {escape(result.name)}</title>"
        f"<style>{style}{_STYLE}</style></head><body>"
        '<header class="top"><span class="brand">viva</span>'
        f'<span class="fine">Load: {escape(result.name)}</span></header>'
        f"<main>{body}</main></body></html>\n"
    )


def _hero(result: Result) -> str:
    found, latencies = result.figures, result.latencies
    added = latencies.get("added") or latencies.get("rest") or latencies.get("accepted")
    figures = (
        ("Connected, at least", f"{found['connected']:,.0f}", ""),
        ("Streaming", f"{found['streaming']:,.0f}", ""),
        ("Tokens a second", f"{found['tokens_per_second']:,.0f}", ""),
        ("Requests a second", f"{found['requests_per_second']:,.0f}", ""),
        ("Added latency, p99", f"{added['p99_ms']:,.1f}" if added else "—", " ms"),
        ("Errors", f"{found['errors']:,.0f}", ""),
    )
    if "added" not in latencies:
        figures = (*figures[:4], ("Latency, p99", *figures[4][1:]), figures[5])
    shown = "".join(
        f"<div><dt>{name}</dt><dd>{value}<small>{rest}</small></dd></div>"
        for name, value, rest in figures
    )
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(result.started_at))
    kind = {"held": "", "broken": " bad", "void": " void"}[result.verdict]
    aside = any(bound.aside for bound in result.bounds)
    but = ", but for those set aside" if aside and result.verdict == "held" else ""
    awake = " · idle cores here kept awake" if result.awake else ""
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in result.void)
    return (
        f'<section class="card verdict{kind}"><p class="eyebrow{kind}">{result.verdict.title()}</p>'
        f'<h1>{_TITLES[result.verdict]}{but}</h1><p class="fine">{escape(result.scenario.about)} · '
        f"{when} · seed {result.scenario.seed} · {escape(result.target)}{awake}</p>"
        + (f'<ul class="void">{reasons}</ul>' if reasons else "")
        + f'<dl class="figures">{shown}</dl></section>'
    )


def _bounds(result: Result) -> str:
    rows = (
        (
            escape(bound.figure),
            f"{'at most' if bound.at_most else 'at least'} {bound.bound:,.6g}",
            "not measured" if bound.found is None else number(bound.found),
            _mark(bound),
        )
        for bound in sorted(result.bounds, key=lambda bound: (bound.held, bool(bound.aside)))
    )
    return _section("Thresholds", _table(("Figure", "Allowed", "Found", ""), rows))


def _mark(bound: Bound) -> str:
    if bound.aside:
        return f'<span class="tag na">set aside</span> <small>{escape(bound.aside)}</small>'
    return (
        '<span class="tag yes">held</span>' if bound.held else '<span class="tag no">broken</span>'
    )


def _steps(result: Result) -> str:
    if not result.steps:
        return ""
    names = ("tokens_per_second", "added.p50_ms", "added.p99_ms", "server_cpu", "errors")
    rows = (
        (
            number(step.load),
            step.verdict,
            *(number(step.figures[n]) if n in step.figures else "—" for n in names),
            escape(", ".join(step.broken)) or "—",
        )
        for step in sorted(result.steps, key=lambda step: step.load)
    )
    return _section("Steps", _table(("Load", "", *names, "Broken"), rows), _shown(result))


def _shown(result: Result) -> str:
    """Return which of the steps the page is about."""
    if never(result.steps[-1]):
        return "What must never happen ended the search: this page shows the run in which it did."
    if highest(result.steps):
        return "The highest load that held is the run that this page shows."
    return "No load held: this page shows the first."


def _charts(result: Result) -> str:
    points, scenario = result.points, result.scenario
    measured = (scenario.begins_s, scenario.ends_s)

    def latency(name: str, part: str) -> Values:
        return [point.latencies.get(name, {}).get(part) for point in points]

    def count(name: str) -> Values:
        return [float(point.counts.get(name, 0)) for point in points]

    kinds = list(result.errors)[:_KINDS_DRAWN]
    charts = {
        "Added latency: from the provider's token to the client": Chart(
            series={part[:-3]: latency("added", part) for part in ("p50_ms", "p95_ms", "p99_ms")},
            unit="ms",
            logarithmic=True,
        ),
        "Latencies, 95th percentile": Chart(
            series={
                name: latency(name, "p95_ms")
                for name in ("accepted", "first_words", "join", "back", "rest")
            },
            unit="ms",
            logarithmic=True,
        ),
        "Tokens and requests a second": Chart(
            series={name: count(name) for name in ("tokens", "requests") if any(count(name))}
        ),
        "Connections": Chart(
            series={
                "connected": [float(point.connected) for point in points],
                "streaming": [float(point.streaming) for point in points],
                "users": [float(point.users) for point in points],
            }
        ),
        "Errors by kind": Chart(
            series={kind: [float(point.errors.get(kind, 0)) for point in points] for kind in kinds}
        ),
        "CPU, in cores": Chart(
            series={
                "instances": [point.server_cpu for point in points],
                "generator": [point.generator_cpu for point in points],
            }
        ),
        "The machine's CPU": Chart(
            series={
                "busy": [None if p.busy is None else 100 * p.busy for p in points],
                "stolen": [None if p.stolen is None else 100 * p.stolen for p in points],
            },
            unit="%",
        ),
        "How long a fixed piece of work takes": Chart(
            series={"yardstick": [point.yardstick_us for point in points]}, unit="µs"
        ),
        "Memory of the instances": Chart(
            series={"memory": [point.server_memory_mb for point in points]}, unit="MB"
        ),
    }
    shown = "".join(
        f'<div class="chart"><h3>{escape(title)}</h3>'
        f"{drawn(_within(chart, measured)) if _any(chart) else _NONE}</div>"
        for title, chart in charts.items()
    )
    told = "What is shaded, users coming and going, does not count."
    if result.no_metrics:
        told += f" Of the instances there is no CPU or memory: {result.no_metrics}."
    return _section("Over time", shown, told)


_NONE = '<p class="fine">None.</p>'


def _any(chart: Chart) -> bool:
    return any(value is not None for values in chart.series.values() for value in values)


def _within(chart: Chart, measured: tuple[float, float]) -> Chart:
    return Chart(
        series=chart.series, unit=chart.unit, logarithmic=chart.logarithmic, measured=measured
    )


def _latencies(result: Result) -> str:
    parts = ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms")
    rows = (
        (
            f"{escape(name)}<br><small>{escape(LATENCIES.get(name, ''))}</small>",
            *(f"{found[part]:,.1f}" for part in parts),
            f"{found['count']:,.0f}",
        )
        for name, found in sorted(result.latencies.items())
    )
    head = ("Milliseconds", *(part[:-3] for part in parts), "values")
    told = "From when each thing was due: a slow server cannot slow the clock that it is held to."
    return _section("Latencies", _table(head, rows), told)


def _errors(result: Result) -> str:
    rows = (
        (escape(kind), f"{count:,}", "<br>".join(map(escape, result.samples.get(kind, ()))) or "—")
        for kind, count in result.errors.items()
    )
    closes = ", ".join(f"{code}: {count:,}" for code, count in sorted(result.closes.items()))
    told = f"Closes by code: {closes}." if closes else ""
    table = _table(("Kind", "Times", "Such as"), rows) if result.errors else _NONE
    return _section("Errors", table, told)


def _figures(result: Result) -> str:
    meanings = COUNTS | RATES | SERVER
    rows = (
        (escape(name), number(value), escape(meanings.get(name, "")))
        for name, value in sorted(result.figures.items())
    )
    cores = (
        (escape(name), f"{used:.2f}", "cores in use, in the measured time")
        for name, used in sorted(result.cores.items())
    )
    bill = (
        (escape(f"provider: {name}"), escape(str(value)), "by the fake provider's bill")
        for name, value in result.provider.items()
    )
    return _section("All figures", _table(("Figure", "", ""), (*rows, *cores, *bill)))


def _section(title: str, body: str, told: str = "") -> str:
    fine = f'<p class="fine">{escape(told)}</p>' if told else ""
    return f"<section><h2>{title}</h2>{fine}{body}</section>"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = "".join(f"<th>{name}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )
