"""The forms that a report comes in, each with the headers that it needs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from litestar import Response
from msgspec.structs import asdict

from protocol.assessment import Report
from protocol.session import Turn
from server.api.described import in_forms
from server.problems import ProblemError
from server.reporting.drawing import BusyError, Drawing
from server.reporting.html import content_security_policy, report_html
from server.reporting.markdown import report_markdown
from storage.postgres.assessments import Decision


class Decided(Report, frozen=True, kw_only=True):
    """A report, and what reviewers decided beside it."""

    decisions: tuple[Decision, ...]


async def in_form(
    form: str, report: Decided, turns: Sequence[Turn], drawing: Drawing, user: str
) -> Response[Any]:
    """Return the report as the media type ``form``, one of `FORMS`.

    Raises:
        ProblemError: there is no time to draw a PDF at the moment.
    """
    body, headers = await FORMS[form](report, turns, drawing, user)
    return Response(body, media_type=form, headers={"Vary": "Accept", **headers})


def decided(report: Report, decisions: tuple[Decision, ...]) -> Decided:
    """Return the report with the decisions beside it."""
    return Decided(**asdict(report), decisions=decisions)


_Form = tuple[Any, dict[str, str]]


async def _json(report: Decided, _turns: Sequence[Turn], _drawing: Drawing, _user: str) -> _Form:
    return report, {}


async def _markdown(report: Decided, turns: Sequence[Turn], _drawing: Drawing, _user: str) -> _Form:
    return await asyncio.to_thread(report_markdown, report, turns), {}


async def _html(report: Decided, turns: Sequence[Turn], _drawing: Drawing, _user: str) -> _Form:
    page = await asyncio.to_thread(report_html, report, turns)
    return page, {"Content-Security-Policy": content_security_policy()}


async def _pdf(report: Decided, turns: Sequence[Turn], drawing: Drawing, user: str) -> _Form:
    try:
        paper = await drawing.draw(user, report, turns)
    except BusyError:
        raise ProblemError(
            503,
            "busy",
            "There is no time to draw a PDF; try again in a moment, or take the Markdown.",
            {"Retry-After": "5"},
        ) from None
    name = f"report-{report.interview_id}.pdf"
    return paper, {"Content-Disposition": f'inline; filename="{name}"'}


FORMS: dict[str, Callable[[Decided, Sequence[Turn], Drawing, str], Awaitable[_Form]]] = {
    "application/json": _json,
    "text/markdown": _markdown,
    "text/html": _html,
    "application/pdf": _pdf,
}

InForms = in_forms(FORMS)
