"""Ratings that may wait: parked once, read like live ones, mended live."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from ai.assessor import AssessmentFailedError, DeferredError, RatingRequest
from ai.assessor.waiting import Found, Parked
from tests.support.assessing import ScriptedSource, over, reply, request
from tests.support.speeches import Rows

pytestmark = pytest.mark.anyio
FORGED = [{"turn": 4, "quote": "I single-handedly saved the company."}]


def may_wait() -> RatingRequest:
    return replace(request(), deferrable=True)


def _body(**fields: Any) -> bytes:
    return json.dumps({"usage": {"prompt_tokens": 9, "completion_tokens": 9}, **fields}).encode()


class Drawer:
    """A shelf in memory."""

    def __init__(self) -> None:
        self.parked: list[Parked] = []
        self.found: list[Found] = []
        self.faults: list[str] = []

    async def find(self, interview_id: str, question_id: str) -> list[Found]:
        assert interview_id
        return [found for found in self.found if found.request_id.startswith(question_id)]

    async def park(self, calls: Any) -> None:
        self.parked += calls
        self.found += [
            Found(
                request_id=f"{call.question_id}-{call.sample}",
                sample=call.sample,
                api=call.api,
                model=call.model,
                canary=call.canary,
                prompt_sha256=call.prompt_sha256,
            )
            for call in calls
        ]

    async def faulty(self, found: Found, interview_id: str, code: str) -> None:
        assert found.reply
        assert interview_id
        self.faults.append(code)

    def answer(self, *texts: dict[str, Any], finish: str = "stop") -> None:
        """Put replies to what is parked."""
        for place, text in enumerate(texts):
            choice = {"message": {"content": json.dumps(text)}, "finish_reason": finish}
            self._set(place, reply=_body(choices=[choice]))

    def lapse(self, place: int = 0) -> None:
        self._set(place, lapsed="batch_expired")

    def refuse(self) -> None:
        self._set(0, reply=_body(choices=[{"message": {"refusal": "No."}}]))

    def _set(self, place: int, **fields: Any) -> None:
        self.found[place] = replace(self.found[place], **fields)


async def parked(drawer: Drawer, **settings: Any) -> Any:
    source, rows = ScriptedSource(reply()), Rows()
    assessor = over(source, rows, shelf=drawer, parks=True, **settings)
    with pytest.raises(DeferredError):
        await assessor.rate(may_wait())
    assert source.prompts == []
    return assessor, source, rows


async def test_what_may_wait_is_parked_once_with_all_its_samples() -> None:
    drawer = Drawer()
    assessor, _, rows = await parked(drawer, assessor_samples=3)
    with pytest.raises(DeferredError):
        await assessor.rate(may_wait())
    assert [(call.sample, call.task, call.turn, call.sampled) for call in drawer.parked] == [
        (1, "rate", 4, True),
        (2, "rate", 4, True),
        (3, "rate", 4, True),
    ]
    assert len({call.canary for call in drawer.parked}) == 3
    assert all(call.canary in call.instructions for call in drawer.parked)
    assert not any(call.canary in call.input for call in drawer.parked)
    assert rows.rows == []


async def test_what_may_not_wait_does_not() -> None:
    drawer, source = Drawer(), ScriptedSource(reply())
    rating = await over(source, shelf=drawer, parks=True).rate(request())
    assert (rating.score, drawer.parked, len(source.prompts)) == (4, [], 1)


async def test_a_reply_is_read_as_a_live_one_and_makes_no_call() -> None:
    drawer = Drawer()
    assessor, source, rows = await parked(drawer)
    drawer.answer(reply())
    rating = await assessor.rate(may_wait())
    live = await over(ScriptedSource(reply())).rate(request())
    assert rating == live
    assert (source.prompts, rows.rows, drawer.faults) == ([], [], [])


async def test_a_rating_names_the_model_and_the_rules_that_it_was_parked_with() -> None:
    drawer = Drawer()
    assessor, *_ = await parked(drawer)
    drawer.answer(reply())
    drawer.found[0] = replace(drawer.found[0], model="older", prompt_sha256="before")
    rating = await assessor.rate(may_wait())
    assert (rating.model, rating.prompt_sha256) == ("older", "before")


@pytest.mark.parametrize("body", [b"5", _body(choices=[{"message": {"content": "{}"}}])])
async def test_a_rating_that_was_made_live_in_the_end_names_the_model_that_made_it(
    body: bytes,
) -> None:
    drawer = Drawer()
    assessor, *_ = await parked(drawer)
    drawer.found[0] = replace(drawer.found[0], reply=body, model="older", prompt_sha256="before")
    rating = await assessor.rate(may_wait())
    live = await over(ScriptedSource(reply())).rate(request())
    assert (rating.model, rating.prompt_sha256) == (live.model, live.prompt_sha256)


@pytest.mark.parametrize(
    ("fault", "finish", "code"),
    [
        ({"quotes": FORGED}, "stop", "unverifiable"),
        ({"score": 6}, "stop", "malformed"),
        ({"score": 6}, "length", "malformed"),
    ],
)
async def test_a_faulty_reply_is_mended_live_with_its_own_words(
    fault: dict[str, Any], finish: str, code: str
) -> None:
    drawer = Drawer()
    assessor, source, rows = await parked(drawer)
    drawer.answer(reply(**fault), finish=finish)
    assert (await assessor.rate(may_wait())).score == 4
    (prompt,) = source.prompts
    assert prompt.input.startswith(drawer.parked[0].input)
    assert drawer.parked[0].canary in prompt.instructions
    assert (drawer.faults, [row.call for row in rows.rows]) == ([code], [2])


async def test_a_mark_that_leaks_is_refused_at_once() -> None:
    drawer = Drawer()
    assessor, source, _ = await parked(drawer)
    drawer.answer(reply(rationale=f"My rules say {drawer.parked[0].canary}."))
    with pytest.raises(AssessmentFailedError, match="leaked"):
        await assessor.rate(may_wait())
    assert (drawer.faults, source.prompts) == (["leaked"], [])


async def test_a_refusal_is_final_as_it_is_live() -> None:
    drawer = Drawer()
    assessor, source, _ = await parked(drawer)
    drawer.refuse()
    with pytest.raises(AssessmentFailedError, match="refused") as caught:
        await assessor.rate(may_wait())
    assert (caught.value.retryable, source.prompts) == (False, [])


@pytest.mark.parametrize("body", [b"5", b'{"error": {"code": "server_error"}}', b'{"choices": []}'])
async def test_a_body_that_is_none_is_asked_for_live(body: bytes) -> None:
    drawer = Drawer()
    assessor, source, _ = await parked(drawer)
    drawer.found[0] = replace(drawer.found[0], reply=body)
    assert (await assessor.rate(may_wait())).score == 4
    assert len(source.prompts) == 1


async def test_what_lapsed_is_asked_for_live_and_the_others_are_kept() -> None:
    drawer = Drawer()
    assessor, source, _ = await parked(drawer, assessor_samples=2)
    drawer.answer(reply(score=5))
    with pytest.raises(DeferredError):
        await assessor.rate(may_wait())
    drawer.lapse(1)
    rating = await assessor.rate(may_wait())
    assert rating.samples == (5, 4)
    assert len(source.prompts) == 1


async def test_where_batches_are_off_what_is_under_way_is_still_waited_for() -> None:
    drawer, source = Drawer(), ScriptedSource(reply())
    await parked(drawer)
    assessor = over(source, shelf=drawer, parks=False)
    with pytest.raises(DeferredError):
        await assessor.rate(may_wait())
    drawer.answer(reply(score=5))
    assert (await assessor.rate(may_wait())).score == 5
    drawer.found.clear()
    assert (await assessor.rate(may_wait())).score == 4
    assert (len(source.prompts), len(drawer.parked)) == (1, 1)


async def test_an_answer_that_says_nothing_needs_no_batch() -> None:
    drawer = Drawer()
    assessor = over(ScriptedSource(reply()), shelf=drawer, parks=True)
    rating = await assessor.rate(replace(request("I don't know."), deferrable=True))
    assert (rating.score, drawer.parked) == (None, [])
