"""Feedback and the report in a terminal: short, and with the words as they were said."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.reporting.markdown import escaped, report_markdown
from server.reporting.words import visible
from server.talk.api import Api, RefusedError
from server.talk.report import LATER, WRITING, awaited, compact, feedback
from tests.support import reports

RICH, OFFLINE = reports.rich(), reports.offline()


def _told(**changes: Any) -> dict[str, Any]:
    rating: dict[str, Any] = msgspec.to_builtins(RICH.report.ratings[0])
    return rating | changes


def test_feedback_has_the_score_its_anchor_and_a_quote() -> None:
    rating = next(each for each in RICH.report.ratings if each.score and each.anchor)
    first, *rest = feedback(msgspec.to_builtins(rating)).split("\n")
    assert first == f"Feedback on {rating.competency}: {rating.score} of 5"
    shown = " ".join(" ".join(rest).split())
    assert f"closest description ({rating.anchor})" in shown
    assert f"“{' '.join(rating.evidence[0].quote.split())}”" in shown


def test_feedback_without_a_model_says_what_it_is_not() -> None:
    assert "not a rating" in feedback(_told(method="offline", score=None)).split("\n")[0]
    assert "too little to rate" in feedback(_told(score=None)).split("\n")[0]


def test_feedback_of_another_version_is_left_out() -> None:
    assert feedback({"competency": "depth", "score": 4}) == ""


def test_a_report_is_shown_without_its_transcript() -> None:
    shown = compact(report_markdown(*RICH))
    assert shown.startswith(f"Interview report: {RICH.report.role}")
    assert "Scores" in shown
    assert "Transcript" not in shown
    assert RICH.turns[0].text not in " ".join(shown.split())
    assert f"1. {RICH.turns[0].speaker.capitalize()}" not in shown
    assert "SHA-256" not in shown
    flat = " ".join(shown.replace("│", " ").split())
    for rating in RICH.report.ratings:
        assert rating.competency in flat
        for evidence in rating.evidence:
            assert " ".join(evidence.quote.split()) in flat
    assert "without a language model" in compact(report_markdown(*OFFLINE))


@given(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=60))
def test_words_come_back_as_they_were_said(said: str) -> None:
    shown = compact(f"> {escaped(said)}").replace("\n  │ ", "").removeprefix("  │ ")
    assert shown == visible(said)


class _Api(Api):
    def __init__(self, *answers: str | None) -> None:
        super().__init__("http://127.0.0.1:1", "")
        self._answers = list(answers)

    async def report(self, interview_id: str) -> str | None:
        del interview_id
        if not self._answers:
            raise RefusedError("nothing was answered", "nothing_to_report")
        return self._answers.pop(0)


class _Pending(Api):
    def __init__(self, body: bytes) -> None:
        super().__init__("http://127.0.0.1:1", "")
        self._body = body

    async def _reply(self, method: str, path: str, **options: Any) -> tuple[int, bytes]:
        del method, path, options
        return 202, self._body


@pytest.mark.anyio
async def test_midnight_is_not_waited_for() -> None:
    spent = b'{"status":"pending","reason":"day_budget","detail":"It is spent.","until":1}'
    with pytest.raises(RefusedError, match="It is spent"):
        await _Pending(spent).report("i")
    for body in (b'{"status":"pending"}', b'{"status":"pending","reason":"delayed","until":1}'):
        assert await _Pending(body).report("i") is None


@pytest.mark.anyio
async def test_a_report_is_waited_for_with_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.talk.report._POLLS_S", (0.0,))
    written: list[str] = []
    assert await awaited(_Api("# R"), "i", written.append) == "# R"
    assert written == []
    assert await awaited(_Api(None, None, "# R"), "i", written.append) == "# R"
    assert written == [WRITING, ".", ".", "\n"]
    with pytest.raises(RefusedError):
        await awaited(_Api(None), "i", written.append)


@pytest.mark.anyio
async def test_a_report_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.talk.report.WAIT_S", 0.01)
    assert await awaited(_Api(None, None), "i", lambda _: None) is None
    assert LATER
