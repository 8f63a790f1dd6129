"""The interviewer's savings: shared wordings, the gate, and other models before the bank."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from ai.bank.guides import plan_guide
from ai.build import assemble
from ai.gate import Gate, Slot
from ai.handles import CachePosition, ResponsePosition, parse_handle
from ai.interviewer import Interviewer
from ai.settings import AiSettings
from ai.speech import AttemptFailedError, TurnRequest
from ai.wording.needs import Need
from protocol.plan import Plan
from tests.support.budgets import Purse
from tests.support.speeches import (
    BANK_TEXT,
    REQUEST,
    End,
    Fallback,
    FixedClock,
    Recorder,
    Rows,
    ScriptedCall,
    ScriptedModel,
    Spoken,
    Words,
    chat,
    delta,
    event,
    listen,
    spoken,
    text_of,
)
from tests.support.virtual_time import run_virtual
from tests.unit.test_failures import refusal

PLAN = Plan(type="technical", role="Backend engineer")
ASKING = replace(REQUEST, guide=plan_guide(REQUEST.interview_id, PLAN), plan=PLAN)
DOWN = ScriptedCall(refused=refusal(503, "server_error"))
UNKNOWN = ScriptedCall(refused=refusal(404, "model_not_found"))
QUICK = AiSettings(
    api_key="k", model="gpt-5.4-mini", fallback_models=("gpt-5.4-nano",), bank_words_per_second=0
)


def breaking(code: str) -> ScriptedCall:
    return ScriptedCall([delta("Half a"), event({"error": {"code": code}})])


class Kept:
    def __init__(self, texts: Mapping[str, tuple[str, ...]]) -> None:
        self.texts = dict(texts)

    async def find(self, interview_id: str, needs: Sequence[Need]) -> Sequence[tuple[str, ...]]:
        assert interview_id
        return [self.texts.get(need.occasion, ()) for need in needs]


class Counting:
    """A gate with ``room``, which lets a call in after ``delay_s``."""

    def __init__(self, room: int = 1, delay_s: float = 0.0) -> None:
        self.room = room
        self.delay_s = delay_s
        self.used: list[int] = []
        self.asked: list[tuple[int, bool, float]] = []

    async def enter(
        self, interview_id: str, *, tokens: int, urgent: bool, wait_s: float
    ) -> Slot | None:
        assert interview_id
        self.asked.append((tokens, urgent, wait_s))
        if not self.room or self.delay_s > wait_s:
            await asyncio.sleep(wait_s)
            return None
        await asyncio.sleep(self.delay_s)
        self.room -= 1
        return _Place(self)


class _Place:
    def __init__(self, gate: Counting) -> None:
        self._gate = gate

    def leave(self, used: int) -> None:
        self._gate.room += 1
        self._gate.used.append(used)


LINES = {"into": ("Let us begin.",), "question": ("What is a lock for?", "Why do we lock?")}


def speaking(
    *models: ScriptedModel,
    rows: Rows | None = None,
    kept: Kept | None = None,
    gate: Gate | None = None,
    settings: AiSettings = QUICK,
    purse: Purse | None = None,
) -> Interviewer:
    return assemble(
        settings,
        rows or Rows(),
        FixedClock(),
        models[0] if models else None,
        lambda _request: BANK_TEXT,
        budget=purse,
        gate=gate,
        wordings=kept,
        others=models[1:],
    )


def heard(speaker: Interviewer, request: TurnRequest = ASKING) -> list[Spoken]:
    return run_virtual(listen(speaker, request))


# --- shared wordings ------------------------------------------------------------------------------


def test_a_shared_turn_costs_nothing_and_is_marked() -> None:
    rows, model = Rows(), ScriptedModel(chat("never"))
    items = heard(speaking(model, rows=rows, kept=Kept(LINES)))
    assert text_of(items) in {"Let us begin. What is a lock for?", "Let us begin. Why do we lock?"}
    assert items[-1] == End("cache")
    assert model.calls == []
    (row,) = rows.rows
    assert (row.api, row.model, row.outcome, row.task) == ("cache", "cache", "completed", "speak")
    assert (row.cost_micro_usd, row.input_tokens, row.output_tokens) == (0, 0, 0)
    assert (row.exact, row.priced, row.first_token_ms) == (True, True, 0)


@pytest.mark.parametrize(
    "request_",
    [
        replace(ASKING, kind="probe"),
        replace(ASKING, plan=replace(PLAN, resume="mine")),
        replace(ASKING, guide=None),
    ],
)
def test_what_is_personal_is_the_models(request_: TurnRequest) -> None:
    items = heard(speaking(ScriptedModel(chat("Mine.")), kept=Kept(LINES)), request_)
    assert (text_of(items), items[-1]) == ("Mine.", End("model"))


def test_what_lacks_a_line_is_the_models() -> None:
    items = heard(speaking(ScriptedModel(chat("Mine.")), kept=Kept({"into": LINES["into"]})))
    assert items[-1] == End("model")


def test_a_shared_turn_comes_at_a_pace_and_can_be_stopped() -> None:
    async def main() -> tuple[str, float]:
        rows = Rows()
        slow = replace(QUICK, bank_words_per_second=4)
        speaker = speaking(ScriptedModel(chat("x")), rows=rows, kept=Kept(LINES), settings=slow)
        began = asyncio.get_running_loop().time()
        async with aclosing(spoken(speaker, ASKING)) as speech:
            items = [item async for item in speech]
        assert rows.ends == [("completed", "")]
        took = asyncio.get_running_loop().time() - began
        async with aclosing(spoken(speaker, ASKING)) as speech:
            await anext(speech)
        assert rows.ends[1:] == [("aborted", "")]
        return text_of(items), took

    text, took = run_virtual(main())
    assert took == pytest.approx((len(text.split()) - 1) / 4)


def test_any_instance_goes_on_behind_every_word_of_it() -> None:
    whole = heard(speaking(ScriptedModel(chat("x")), kept=Kept(LINES)))
    words = [item for item in whole if isinstance(item, Words)]
    for place in range(1, len(words)):
        logged = text_of(words[:place])
        request = replace(ASKING, handle=words[place - 1].handle, logged=logged)
        other = speaking(ScriptedModel(chat("x")), kept=Kept(LINES))
        assert other.resumable(request.handle)
        assert other.source(request.handle, 1) == "cache"
        rest = heard(other, request)
        assert (logged + text_of(rest), rest[-1]) == (text_of(words), End("cache"))


@pytest.mark.parametrize("kept", [Kept({}), Kept({**LINES, "into": ("Here we go.",)}), None])
def test_a_turn_whose_rest_is_gone_begins_anew(kept: Kept | None) -> None:
    request = replace(ASKING, handle="cache:6", logged="Let us")
    speaker = speaking(ScriptedModel(chat("x")), kept=kept)
    assert speaker.resumable("cache:6") is (kept is not None)
    with pytest.raises(AttemptFailedError) as failed:
        heard(speaker, request)
    assert failed.value.reason == ("cache_changed" if kept else "not_resumable")


def test_a_turn_has_to_end_some_time() -> None:
    speaker = speaking(ScriptedModel(chat("x")), kept=Kept(LINES))
    items = heard(speaker, replace(ASKING, attempt=3))
    assert (items[0], items[-1]) == (Fallback("attempts"), End("bank"))


def test_shared_words_are_spoken_while_the_model_is_down() -> None:
    speaker = speaking(ScriptedModel(UNKNOWN), kept=Kept(LINES))
    assert heard(speaker, replace(ASKING, kind="probe"))[-1] == End("bank")
    assert heard(speaker)[-1] == End("cache")


# --- other models before the bank -----------------------------------------------------------------


def test_another_model_speaks_where_the_first_fails() -> None:
    rows, first, second = Rows(), ScriptedModel(DOWN), ScriptedModel(chat("Other ", "words."))
    items = heard(speaking(first, second, rows=rows))
    assert [item for item in items if isinstance(item, Fallback)] == []
    assert (text_of(items), items[-1]) == ("Other words.", End("model"))
    assert [(row.model, row.outcome, row.call) for row in rows.rows] == [
        ("gpt-5.4-mini", "failed", 1),
        ("gpt-5.4-mini", "failed", 2),
        ("gpt-5.4-mini", "failed", 3),
        ("gpt-5.4-nano", "completed", 4),
    ]
    assert rows.rows[-1].cost_micro_usd > 0


def test_where_no_model_answers_the_bank_speaks_and_each_call_has_its_row() -> None:
    rows = Rows()
    items = heard(speaking(ScriptedModel(UNKNOWN), ScriptedModel(DOWN), rows=rows))
    assert [item for item in items if isinstance(item, Fallback)] == [Fallback("provider_error")]
    assert items[-1] == End("bank")
    assert [row.model for row in rows.rows] == ["gpt-5.4-mini", *["gpt-5.4-nano"] * 3, "bank"]


def test_each_model_has_a_circuit_of_its_own() -> None:
    first, second = ScriptedModel(UNKNOWN), ScriptedModel(chat("Other."))
    speaker = speaking(first, second)
    assert [heard(speaker)[-1] for _ in range(4)] == [End("model")] * 4
    assert (len(first.calls), len(second.calls)) == (1, 4)


def test_a_cheaper_model_may_speak_where_the_first_is_not_paid_for() -> None:
    first, second = ScriptedModel(chat("Dear.")), ScriptedModel(chat("Cheap."))
    items = heard(speaking(first, second, purse=Purse(2_000)))
    assert (text_of(items), items[-1]) == ("Cheap.", End("model"))
    assert first.calls == []


def test_words_that_are_out_are_not_said_again_by_another_model() -> None:
    broken = ScriptedCall([delta("Half a"), ConnectionResetError()])
    second = ScriptedModel(chat("Other."))
    with pytest.raises(AttemptFailedError) as failed:
        heard(speaking(ScriptedModel(broken), second))
    assert failed.value.reason == "stream_cut"
    assert second.calls == []


def test_a_model_that_breaks_off_for_want_of_money_is_left_alone_at_once() -> None:
    first, second = ScriptedModel(breaking("insufficient_quota")), ScriptedModel(chat("Other."))
    speaker = speaking(first, second)
    with pytest.raises(AttemptFailedError, match="quota_exhausted"):
        heard(speaker)
    assert text_of(heard(speaker, replace(ASKING, attempt=2))) == "Other."
    assert len(first.calls) == 1


def test_a_model_is_left_alone_that_lost_three_turns_in_a_row_behind_first_words() -> None:
    first, second = ScriptedModel(breaking("server_error")), ScriptedModel(chat("Other."))
    speaker = speaking(first, second)
    for _ in range(3):
        for attempt in (1, 2):
            with pytest.raises(AttemptFailedError, match="provider_error"):
                heard(speaker, replace(ASKING, attempt=attempt))
    assert text_of(heard(speaker)) == "Other."
    assert len(first.calls) == 6


def test_streams_that_broke_off_all_at_once_are_given_another_attempt() -> None:
    speaker = speaking(ScriptedModel(*[breaking("server_error")] * 9, chat("Whole.")))
    for _ in range(9):
        with pytest.raises(AttemptFailedError):
            heard(speaker)
    assert text_of(heard(speaker, replace(ASKING, attempt=2))) == "Whole."


def test_all_models_together_are_waited_for_no_longer_than_one() -> None:
    silent = ScriptedCall([60.0])
    speaker = speaking(ScriptedModel(silent), ScriptedModel(silent))

    async def main() -> float:
        began = asyncio.get_running_loop().time()
        assert (await listen(speaker, ASKING))[-1] == End("bank")
        return asyncio.get_running_loop().time() - began

    assert run_virtual(main()) <= QUICK.patience_s + 0.1


def test_a_model_for_which_no_time_is_left_is_neither_asked_nor_left_alone() -> None:
    rows, silent, second = Rows(), ScriptedModel(ScriptedCall([60.0])), ScriptedModel(chat("Well."))
    speaker = speaking(silent, second, rows=rows)
    for _ in range(3):
        items = heard(speaker)
        assert (items[0], items[-1]) == (Fallback("first_token_timeout"), End("bank"))
    assert second.calls == []
    assert {row.model for row in rows.rows} == {"gpt-5.4-mini", "bank"}
    assert text_of(heard(speaker)) == "Well.", "the first one is left alone by now"


def test_a_call_whose_time_passed_before_it_began_is_not_made() -> None:
    class Slow(Recorder):
        async def low(self) -> None:
            await asyncio.sleep(2 * QUICK.patience_s)

    rows, model, recorder = Rows(), ScriptedModel(chat("Late.")), Slow()
    speaker = speaking(model, rows=rows, purse=Purse(soft=0))
    assert run_virtual(speaker.speak(ASKING, recorder)) == "bank"
    row = rows.rows[0]
    assert (row.outcome, row.code, row.exact) == ("failed", "first_token_timeout", True)
    assert row.cost_micro_usd == 0
    assert not model.calls[0].closed, "its stream was never opened"


def test_a_stored_response_of_another_model_is_taken_up_by_that_model() -> None:
    settings = replace(QUICK, api="responses", background=True)
    created = event({"type": "response.created", "sequence_number": 0, "response": {"id": "r1"}})
    said = event({"type": "response.output_text.delta", "sequence_number": 1, "delta": "Half "})
    rest = event({"type": "response.output_text.delta", "sequence_number": 2, "delta": "more."})
    over = event(
        {
            "type": "response.completed",
            "sequence_number": 3,
            "response": {"id": "r1", "usage": {"input_tokens": 10, "output_tokens": 2}},
        }
    )
    rows = Rows()
    first = ScriptedModel(DOWN, stored=True)
    second = ScriptedModel(ScriptedCall([created, said, rest, over]), stored=True)
    items = heard(speaking(first, second, rows=rows, settings=settings))
    handle = next(item.handle for item in items if isinstance(item, Words))
    assert parse_handle(handle) == ResponsePosition("r1", 1, 0, 5, 1)
    request = replace(ASKING, handle=handle, logged="Half ")
    resumed = ScriptedModel(ScriptedCall([rest, over]), stored=True)
    unused = ScriptedModel(DOWN, stored=True)
    speaker = speaking(unused, resumed, rows=rows, settings=settings)
    assert text_of(heard(speaker, request)) == "more."
    assert rows.rows[-1].model == "gpt-5.4-nano"
    assert unused.calls == []
    assert run_virtual(speaker.forget(handle))
    assert resumed.forgotten == ["r1"]
    alone = speaking(ScriptedModel(DOWN, stored=True), settings=settings)
    assert not alone.resumable(handle)
    assert not run_virtual(alone.forget(handle))


# --- the gate -------------------------------------------------------------------------------------


def test_a_call_goes_through_the_gate_and_tells_what_it_took() -> None:
    gate = Counting(delay_s=3.0)
    rows = Rows()
    items = heard(speaking(ScriptedModel(chat("Hello.")), rows=rows, gate=gate))
    assert items[-1] == End("model")
    assert gate.used == [1020]
    assert gate.room == 1
    ((tokens, urgent, wait_s),) = gate.asked
    assert tokens > 300
    assert urgent
    assert wait_s == pytest.approx(QUICK.patience_s / 2)


def test_who_finds_no_place_is_spoken_for_by_the_bank() -> None:
    rows, second = Rows(), ScriptedModel(chat("Other."))
    items = heard(speaking(ScriptedModel(chat("x")), second, rows=rows, gate=Counting(0)))
    assert items[0] == Fallback("busy")
    assert items[-1] == End("bank")
    assert second.calls == [], "it has the same gate"
    assert [row.api for row in rows.rows] == ["bank"]


def test_every_retry_takes_a_place_of_its_own() -> None:
    gate = Counting()
    heard(speaking(ScriptedModel(DOWN, chat("Hello.")), gate=gate))
    assert gate.used == [0, 1020]


def test_who_finds_no_place_behind_words_of_a_stored_response_begins_anew() -> None:
    class Once(Counting):
        async def enter(
            self, interview_id: str, *, tokens: int, urgent: bool, wait_s: float
        ) -> Slot | None:
            self.room = 0 if self.asked else 1
            return await super().enter(interview_id, tokens=tokens, urgent=urgent, wait_s=wait_s)

    settings = replace(QUICK, api="responses", background=True)
    created = event({"type": "response.created", "sequence_number": 0, "response": {"id": "r1"}})
    said = event({"type": "response.output_text.delta", "sequence_number": 1, "delta": "Half "})
    late = settings.patience_s + 1
    cut = ScriptedCall([created, said, *([1.0, b": ping\n\n"] * int(late)), ConnectionResetError()])
    model, gate = ScriptedModel(cut, stored=True), Once()
    patient = replace(settings, token_timeout_s=2 * late, call_timeout_s=4 * late)
    speaker = speaking(model, gate=gate, settings=patient)
    items: list[Spoken] = []

    async def main() -> None:
        async for item in spoken(speaker, ASKING):
            items.append(item)  # noqa: PERF401  # what came before the end counts

    with pytest.raises(AttemptFailedError, match="busy"):
        run_virtual(main())
    assert text_of(items) == "Half "
    assert Fallback("busy") not in items, "that is for before the first words"
    assert [wait_s for _, _, wait_s in gate.asked] == [patient.patience_s / 2, 2 * late]


def test_who_is_not_paid_for_gives_the_place_back() -> None:
    gate = Counting()
    heard(speaking(ScriptedModel(chat("x")), gate=gate, purse=Purse(0)))
    assert gate.used == [0]


def test_who_is_stopped_meanwhile_gives_the_place_back() -> None:
    async def main(gate: Counting, purse: Purse, after_s: float) -> None:
        speaker = speaking(ScriptedModel(chat("x")), gate=gate, purse=purse)
        turn = asyncio.create_task(listen(speaker, ASKING))
        await asyncio.sleep(after_s)
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)

    gate = Counting()
    run_virtual(main(gate, Purse(delay_s=5.0), 1.0))
    assert (gate.room, gate.used) == (1, [0])


@pytest.mark.parametrize("position", [CachePosition(0), CachePosition(17)])
def test_a_place_in_shared_words_has_a_handle(position: CachePosition) -> None:
    assert parse_handle(str(position)) == position
    assert parse_handle("cache:01") is None
