import asyncio
import json
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import msgspec
import openai
import pytest
from msgspec.structs import replace

from ai.failures import CallFailedError
from ai.handles import ResponsePosition
from ai.settings import AiSettings
from ai.speech import AttemptFailedError, TurnRequest
from tests.support.speeches import (
    BANK_TEXT,
    DONE,
    FINISH,
    REQUEST,
    USAGE,
    End,
    Fallback,
    FixedClock,
    Rows,
    ScriptedCall,
    ScriptedModel,
    Spoken,
    Step,
    Words,
    chat,
    delta,
    event,
    interviewer,
    listen,
    spoken,
    text_of,
)
from tests.support.virtual_time import run_virtual
from tests.unit.test_failures import refusal

BACKGROUND = AiSettings(api_key="k", api="responses", background=True, bank_words_per_second=0)


class Heard(msgspec.Struct):
    items: list[Spoken]
    rows: Rows
    model: ScriptedModel
    seconds: float
    failed: str = ""


def hear(
    *calls: ScriptedCall,
    stored: bool = False,
    request: TurnRequest = REQUEST,
    settings: AiSettings | None = None,
    chance: float = 0.5,
) -> Heard:
    """Run one turn in virtual time."""

    async def run() -> Heard:
        loop = asyncio.get_running_loop()
        model = ScriptedModel(*calls, stored=stored)
        rows, items = Rows(), list[Spoken]()
        speaker = interviewer(model, rows, FixedClock(chance), settings)
        began, failed = loop.time(), ""
        try:
            async with aclosing(spoken(speaker, request)) as speech:
                async for item in speech:
                    items.append(item)  # what came before a failure counts
        except AttemptFailedError as failure:
            failed = failure.reason
        seconds = loop.time() - began
        await speaker.aclose()
        return Heard(items, rows, model, seconds, failed)

    return run_virtual(run())


def fell_back(heard: Heard, reason: str) -> bool:
    return (
        heard.items[0] == Fallback(reason)
        and text_of(heard.items) == BANK_TEXT
        and heard.items[-1] == End("bank")
        and not heard.failed
    )


def test_a_healthy_stream_is_passed_on_and_booked() -> None:
    heard = hear(chat("Hello", " there", "?"))
    assert heard.items == [Words("Hello"), Words(" there"), Words("?"), End("model")]
    (row,) = heard.rows.rows
    assert (row.outcome, row.code, row.exact, row.api) == ("completed", "", True, "chat")
    assert (row.input_tokens, row.cached_tokens, row.output_tokens) == (1000, 600, 20)
    assert row.cost_micro_usd == 400 * 0.75 + 600 * 0.075 + 20 * 4.5
    assert (row.interview_id, row.user_id, row.turn, row.attempt, row.call) == (
        REQUEST.interview_id,
        "u1",
        3,
        1,
        1,
    )
    assert heard.model.calls[0].closed


@pytest.mark.parametrize("missing", [[FINISH, DONE], [FINISH], [FINISH, 60.0]])
def test_a_text_with_an_end_but_no_usage_is_whole_and_its_row_an_estimate(
    missing: Sequence[Step],
) -> None:
    heard = hear(ScriptedCall([delta("Twelve bytes"), *missing]))
    assert heard.items == [Words("Twelve bytes"), End("model")]
    (row,) = heard.rows.rows
    assert (row.outcome, row.exact, row.output_tokens) == ("completed", False, 3)
    size = heard.model.prompts[0].size
    assert row.input_tokens == -(-size // 4)
    assert heard.seconds < 3


def test_a_row_tells_when_the_first_words_came() -> None:
    heard = hear(ScriptedCall([b": ping\n\n", 1.5, delta("Hi"), 2.0, delta("!"), FINISH, DONE]))
    (row,) = heard.rows.rows
    assert (row.first_token_ms, row.total_ms) == (1500, 3500)


def test_a_stream_that_lingers_behind_its_end_is_not_waited_for() -> None:
    heard = hear(ScriptedCall([delta("Hi"), FINISH, USAGE, DONE, 60.0]))
    assert heard.items[-1] == End("model")
    assert heard.seconds <= 0.2


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (ScriptedCall(refused=refusal(500)), "provider_error"),
        (ScriptedCall(refused=refusal(429)), "rate_limited"),
        (
            ScriptedCall(refused=openai.APIConnectionError(request=refusal(500).request)),
            "unreachable",
        ),
        (ScriptedCall([FINISH, DONE]), "empty"),
        (ScriptedCall([delta(" "), FINISH, DONE]), "empty"),
        (ScriptedCall([]), "no_end"),
        (ScriptedCall([DONE]), "no_end"),
        (ScriptedCall([event(b"{broken")]), "malformed"),
        (ScriptedCall([event({"error": {"code": "server_error"}})]), "provider_error"),
        (ScriptedCall([ConnectionResetError()]), "stream_cut"),
    ],
)
def test_before_the_first_word_a_call_is_retried_then_the_bank_speaks(
    call: ScriptedCall, code: str
) -> None:
    heard = hear(call)
    assert fell_back(heard, code)
    assert heard.rows.ends == [("failed", code)] * 3 + [("completed", "")]
    assert [row.call for row in heard.rows.rows] == [1, 2, 3, 1]
    assert heard.seconds == pytest.approx(0.25 + 0.5)  # half of the jitter's bounds
    healed = hear(call, chat("Hello"))
    assert healed.items == [Words("Hello"), End("model")]
    assert healed.rows.ends == [("failed", code), ("completed", "")]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (refusal(429, "insufficient_quota"), "quota_exhausted"),
        (refusal(401), "unauthorized"),
        (refusal(403), "forbidden"),
        (refusal(404), "model_unknown"),
        (refusal(400), "bad_request"),
    ],
)
def test_what_a_retry_cannot_mend_goes_straight_to_the_bank(error: Exception, code: str) -> None:
    heard = hear(ScriptedCall(refused=error))
    assert fell_back(heard, code)
    assert heard.rows.ends == [("failed", code), ("completed", "")]
    assert heard.rows.rows[0].input_tokens == 0
    assert heard.seconds == 0


def test_no_turn_pays_again_for_an_exhausted_quota() -> None:
    async def run() -> None:
        model = ScriptedModel(ScriptedCall(refused=refusal(429, "insufficient_quota")), chat("Hi"))
        speaker = interviewer(model, Rows())
        for _ in range(3):
            items = await listen(speaker)
            assert items[0] == Fallback("quota_exhausted")
        assert len(model.calls) == 1
        await asyncio.sleep(61)
        assert text_of(await listen(speaker)) == "Hi"

    run_virtual(run())


def test_retry_after_is_waited_when_it_is_short() -> None:
    call = ScriptedCall(refused=refusal(429, headers={"retry-after": "3"}))
    heard = hear(call, chat("Hi"), chance=0.0)
    assert text_of(heard.items) == "Hi"
    assert heard.seconds == pytest.approx(3, abs=0.2)


def test_retry_after_is_not_waited_when_it_is_long() -> None:
    heard = hear(ScriptedCall(refused=refusal(429, headers={"retry-after": "90"})))
    assert fell_back(heard, "rate_limited")
    assert len(heard.model.calls) == 1
    assert heard.seconds == 0


def test_a_late_first_token_costs_patience_only_once() -> None:
    heard = hear(ScriptedCall([30.0, delta("late"), FINISH]))
    assert fell_back(heard, "first_token_timeout")
    assert heard.seconds == pytest.approx(20)  # patience_s, whatever the retries
    assert heard.rows.ends[:2] == [("failed", "first_token_timeout")] * 2
    row = heard.rows.rows[0]
    assert (row.total_ms, row.first_token_ms, row.exact) == (15_000, None, False)
    assert row.input_tokens > 0


def test_headers_that_never_come_are_a_late_first_token() -> None:
    heard = hear(ScriptedCall(open_delay_s=1000), chat("Hi"))
    assert text_of(heard.items) == "Hi"
    assert heard.rows.ends == [("failed", "first_token_timeout"), ("completed", "")]


def test_keep_alive_comments_do_not_count_as_words() -> None:
    heard = hear(ScriptedCall([b": ping\n\n", 5.0] * 20))
    assert fell_back(heard, "first_token_timeout")
    assert heard.seconds == pytest.approx(20)


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([60.0, delta("x")], "token_timeout"),
        ([b": ping\n\n", 5.0] * 9, "token_timeout"),
        ([ConnectionResetError()], "stream_cut"),
        ([], "no_end"),
        ([DONE], "no_end"),
        ([event(b"oops")], "malformed"),
        ([event({"error": {"code": "x"}})], "provider_error"),
        ([event({"choices": [{"delta": {"refusal": "no"}}]})], "refused"),
        ([CallFailedError("whatever")], "whatever"),
    ],
)
def test_once_words_are_out_a_broken_stream_fails_the_attempt(
    steps: Sequence[Step], code: str
) -> None:
    heard = hear(ScriptedCall([delta("Tell"), *steps]))
    assert heard.items == [Words("Tell")]
    assert heard.failed == code
    (row,) = heard.rows.rows
    assert (row.outcome, row.code) == ("refused" if code == "refused" else "failed", code)
    assert (row.exact, row.output_tokens) == (False, 1)
    assert heard.seconds <= 10.1
    assert heard.model.calls[0].closed


def test_a_stream_that_trickles_for_ever_is_bounded() -> None:
    heard = hear(ScriptedCall([step for _ in range(100) for step in (delta("a"), 9.0)]))
    assert heard.failed == "call_timeout"
    assert heard.seconds == pytest.approx(120)


def test_a_refusal_before_any_word_goes_to_the_bank_without_retry() -> None:
    heard = hear(ScriptedCall([event({"choices": [{"delta": {"refusal": "no"}}]})]))
    assert fell_back(heard, "refused")
    assert heard.rows.ends[0] == ("refused", "refused")
    assert len(heard.model.calls) == 1


def test_thoughts_that_eat_all_tokens_are_not_thought_again() -> None:
    cut = event({"choices": [{"delta": {}, "finish_reason": "length"}]})
    heard = hear(ScriptedCall([cut, DONE]))
    assert fell_back(heard, "empty")
    assert len(heard.model.calls) == 1


def test_a_text_cut_by_the_token_limit_is_kept_and_remarked() -> None:
    cut = event({"choices": [{"delta": {}, "finish_reason": "length"}]})
    heard = hear(ScriptedCall([delta("Tell me"), cut, DONE]))
    assert heard.items == [Words("Tell me"), End("model")]
    assert heard.rows.ends == [("completed", "length")]


def test_an_endless_text_is_cut() -> None:
    heard = hear(ScriptedCall([delta("x" * 999)] * 50))
    assert len(text_of(heard.items)) == 4000
    assert heard.items[-1] == End("model")
    assert heard.rows.ends == [("completed", "too_long")]
    assert heard.model.calls[0].closed


def test_from_the_third_attempt_on_the_bank_speaks() -> None:
    assert text_of(hear(chat("Hi"), request=replace(REQUEST, attempt=2)).items) == "Hi"
    heard = hear(chat("Hi"), request=replace(REQUEST, attempt=3))
    assert fell_back(heard, "attempts")
    assert not heard.model.calls


def test_without_a_model_the_interviewer_says_that_it_is_offline() -> None:
    async def run() -> None:
        rows = Rows()
        speaker = interviewer(None, rows)
        assert speaker.offline
        items = await listen(speaker)
        assert items[0] == Fallback("offline")
        assert items[-1] == End("bank")
        assert [(row.api, row.model, row.cost_micro_usd, row.exact) for row in rows.rows] == [
            ("bank", "bank", 0, True)
        ]
        assert not speaker.resumable("resp:r:1:0:1")
        assert speaker.resumable("bank:4")
        assert await speaker.forget("bank:4")
        assert not await speaker.forget("resp:r:1:0:1")
        await speaker.aclose()

    run_virtual(run())


def test_who_speaks_is_told_by_the_last_piece_or_else_by_who_would() -> None:
    modelled, offline = interviewer(ScriptedModel(), Rows()), interviewer(None, Rows())
    for speaker in (modelled, offline):
        assert speaker.source("bank:4", 1) == "bank"
        assert speaker.source("resp:r:1:0:1", 1) == "model"
        assert speaker.source("", 1) == "model"  # pieces without a handle are the model's
    assert [modelled.source(None, attempt) for attempt in (1, 2, 3)] == ["model", "model", "bank"]
    assert offline.source(None, 1) == "bank"


@pytest.mark.parametrize("words", range(4))
def test_closing_the_speech_aborts_the_call_and_books_it(words: int) -> None:
    async def run() -> None:
        steps = [step for text in ("One", " two", " three", " four") for step in (delta(text), 0.1)]
        model, rows = ScriptedModel(ScriptedCall(steps)), Rows()
        speech = spoken(interviewer(model, rows), REQUEST)
        for _ in range(words + 1):
            await anext(speech)
        await speech.aclose()
        assert model.calls[0].closed
        (row,) = rows.rows
        assert (row.outcome, row.code, row.exact) == ("aborted", "", False)
        assert row.output_tokens > 0

    run_virtual(run())


@pytest.mark.parametrize(
    "call", [ScriptedCall([5.0]), ScriptedCall([delta("a"), 5.0]), ScriptedCall(open_delay_s=5)]
)
def test_cancelling_the_listener_aborts_the_call_and_books_it(call: ScriptedCall) -> None:
    async def run() -> None:
        model, rows = ScriptedModel(call), Rows()
        listener = asyncio.ensure_future(listen(interviewer(model, rows)))
        await asyncio.sleep(1)
        listener.cancel()
        await asyncio.wait([listener])
        assert listener.cancelled()
        assert rows.ends == [("aborted", "")]
        assert rows.rows[0].input_tokens > 0

    run_virtual(run())


def test_a_listener_that_is_slow_does_not_time_the_model_out() -> None:
    async def run() -> None:
        texts = list[str]()
        model = ScriptedModel(chat("a", "b", "c"))
        async with aclosing(spoken(interviewer(model, Rows()), REQUEST)) as speech:
            async for item in speech:
                texts.append(item.text if isinstance(item, Words) else "")
                await asyncio.sleep(30)
        assert "".join(texts) == "abc"

    run_virtual(run())


def test_an_unknown_model_has_no_price_and_says_so() -> None:
    settings = AiSettings(api_key="k", model="llama-9")
    (row,) = hear(chat("Hi"), settings=settings).rows.rows
    assert (row.cost_micro_usd, row.priced) == (0, False)
    dated = AiSettings(api_key="k", model="gpt-5.4-mini-2026-03-17")
    (row,) = hear(chat("Hi"), settings=dated).rows.rows
    assert (row.cost_micro_usd, row.priced) == (435, True)


# --- stored responses -----------------------------------------------------------------------------

TEXTS = ["Tell", " me\ud83d", "\ude00", " more", "\x00", " please"]
WHOLE = "Tell me😀 more please"


def _stored(texts: Sequence[str] = TEXTS, *, after: int = -1, end: bool = True) -> list[Step]:
    usage = {"input_tokens": 50, "output_tokens": 6}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"id": "resp_1"}},
        {"type": "response.in_progress", "response": {"id": "resp_1"}},
        *({"type": "response.output_text.delta", "delta": text} for text in texts),
    ]
    if end:
        events.append({"type": "response.completed", "response": {"id": "resp_1", "usage": usage}})
    numbered = [{**item, "sequence_number": number} for number, item in enumerate(events)]
    return [
        event(json.dumps(item).encode())  # msgspec refuses half pairs
        for item in numbered[after + 1 :]
    ]


def test_a_stored_response_gives_a_handle_with_every_piece() -> None:
    heard = hear(ScriptedCall(_stored()), stored=True, settings=BACKGROUND)
    assert text_of(heard.items) == WHOLE
    assert heard.items[-1] == End("model")
    words = [item for item in heard.items if isinstance(item, Words)]
    assert words[0].handle == "resp:resp_1:2:0:4"
    assert words[1].handle == "resp:resp_1:2:3:7"  # the emoji's first half is not out
    (row,) = heard.rows.rows
    assert (row.api, row.response_id, row.exact) == ("responses", "resp_1", True)
    assert heard.model.forgotten == []  # the runner forgets it once the turn is committed


def test_another_instance_goes_on_behind_every_piece() -> None:
    first = hear(ScriptedCall(_stored()), stored=True, settings=BACKGROUND)
    words = [item for item in first.items if isinstance(item, Words)]
    for place, piece in enumerate(words):
        logged = text_of(words[: place + 1])
        request = replace(REQUEST, handle=piece.handle, logged=logged)
        sequence = int(piece.handle.split(":")[2])
        for after in (sequence, -1):  # a provider may repeat what was read before
            script = ScriptedCall(_stored(after=after))
            heard = hear(script, stored=True, settings=BACKGROUND, request=request)
            assert logged + text_of(heard.items) == WHOLE
            assert heard.items[-1] == End("model")
            position = heard.model.calls[0].position
            assert position is not None
            assert (position.response_id, position.sequence) == ("resp_1", sequence)


@pytest.mark.parametrize("cut", range(len(TEXTS) + 2))
def test_a_stored_stream_that_is_cut_is_taken_up_again(cut: int) -> None:
    whole = _stored()
    broken = ScriptedCall([*whole[: cut + 1], ConnectionResetError()])
    first = hear(broken, ScriptedCall(whole), stored=True, settings=BACKGROUND)
    assert text_of(first.items) == WHOLE
    assert first.items[-1] == End("model")
    assert first.rows.ends == [("failed", "stream_cut"), ("completed", "")]
    assert {row.response_id for row in first.rows.rows} == {"resp_1"}


@pytest.mark.parametrize("odd", ["resp_\ud800x", "a:b", "r" * 10_000, "resp 1", ""])
def test_a_response_that_no_handle_can_name_counts_as_not_stored(odd: str) -> None:
    steps = [
        step.replace(b'"resp_1"', json.dumps(odd).encode()) if isinstance(step, bytes) else step
        for step in _stored()
    ]
    heard = hear(ScriptedCall(steps), stored=True, settings=BACKGROUND)
    assert text_of(heard.items) == WHOLE
    assert {item.handle for item in heard.items if isinstance(item, Words)} == {""}
    (row,) = heard.rows.rows
    assert (row.response_id, row.outcome, row.exact) == ("", "completed", True)


def test_a_long_stored_stream_is_taken_up_again_however_late_it_is_cut() -> None:
    whole = _stored()
    slow = [step for event in whole[:-1] for step in (BACKGROUND.patience_s / 5, event)]
    broken = ScriptedCall([*slow, ConnectionResetError()])
    heard = hear(broken, ScriptedCall([0.2, *whole]), stored=True, settings=BACKGROUND)
    assert heard.seconds > BACKGROUND.patience_s
    assert (text_of(heard.items), heard.items[-1]) == (WHOLE, End("model"))


def test_a_stored_response_that_is_gone_fails_the_attempt() -> None:
    request = replace(REQUEST, handle="resp:resp_1:2:0:4", logged="Tell")
    heard = hear(
        ScriptedCall(refused=refusal(404)), stored=True, settings=BACKGROUND, request=request
    )
    assert (heard.failed, heard.items) == ("response_gone", [])
    assert len(heard.model.calls) == 1


def test_a_stored_response_that_failed_is_not_taken_up_again() -> None:
    failed = event(
        {
            "type": "response.failed",
            "sequence_number": 8,
            "response": {"id": "resp_1", "error": {"code": "server_error"}},
        }
    )
    heard = hear(ScriptedCall([*_stored(end=False), failed]), stored=True, settings=BACKGROUND)
    assert heard.failed == "provider_error"
    assert len(heard.model.calls) == 1
    assert heard.model.forgotten == ["resp_1"]


def test_a_stored_response_that_stays_silent_is_given_up_and_erased() -> None:
    silent = ScriptedCall([*_stored(texts=(), end=False), 60.0])
    heard = hear(silent, ScriptedCall(_stored()), stored=True, settings=BACKGROUND)
    assert text_of(heard.items) == WHOLE
    assert heard.model.forgotten == ["resp_1"]
    assert [call.position for call in heard.model.calls] == [None, None]


@pytest.mark.parametrize("texts", [(), ("Tell",)])
def test_a_stored_response_that_no_word_tells_of_is_erased_with_its_turn(
    texts: tuple[str, ...],
) -> None:
    async def run() -> None:
        slow = ScriptedCall([*_stored(texts, end=False), 60.0])
        model = ScriptedModel(slow, stored=True)
        speaker = interviewer(model, Rows(), settings=BACKGROUND)
        speaking = asyncio.create_task(listen(speaker))
        await asyncio.sleep(1)
        speaking.cancel()  # a barge-in, or a lease that lapsed
        await asyncio.wait((speaking,))
        assert model.forgotten == ([] if texts else ["resp_1"])

    run_virtual(run())


def test_a_taken_up_stream_is_retried_but_not_for_ever() -> None:
    request = replace(REQUEST, handle="resp:resp_1:2:0:4", logged="Tell")
    heard = hear(
        ScriptedCall(refused=refusal(500)), stored=True, settings=BACKGROUND, request=request
    )
    assert heard.failed == "provider_error"
    assert len(heard.model.calls) == 3
    assert heard.model.forgotten == ["resp_1"]


def test_closing_a_stored_response_leaves_it_running_for_another_instance() -> None:
    async def run() -> None:
        model = ScriptedModel(ScriptedCall(_stored()), stored=True)
        speaker = interviewer(model, Rows(), settings=BACKGROUND)
        speech = spoken(speaker, REQUEST)
        words = await anext(speech)
        assert isinstance(words, Words)
        await speech.aclose()
        assert model.forgotten == []
        assert speaker.resumable(words.handle)
        assert await speaker.forget(words.handle)
        assert model.forgotten == ["resp_1"]

    run_virtual(run())


@pytest.mark.parametrize(
    ("handle", "logged"),
    [("", "Tell"), ("resp:resp_1:2:0:9", "Tell"), ("bank:2", "Tell"), ("nonsense", "Tell")],
)
def test_a_handle_that_does_not_fit_the_log_fails_the_attempt(handle: str, logged: str) -> None:
    heard = hear(chat("Hi"), request=replace(REQUEST, handle=handle, logged=logged))
    assert (heard.failed, heard.items) == ("not_resumable", [])


def test_a_text_that_was_cut_at_the_limit_is_not_gone_on_with() -> None:
    position = ResponsePosition("resp_1", 2, 4000, 4000)
    request = replace(REQUEST, handle=str(position), logged="x" * 4000)
    heard = hear(ScriptedCall(_stored()), stored=True, settings=BACKGROUND, request=request)
    assert heard.items == [End("model")]
    assert not heard.model.calls


# --- the bank -------------------------------------------------------------------------------------


def test_the_bank_goes_on_behind_every_piece() -> None:
    first = hear(chat("Hi"), request=replace(REQUEST, attempt=3))
    words = [item for item in first.items if isinstance(item, Words)]
    assert len(words) == len(BANK_TEXT.split())
    for place, piece in enumerate(words):
        logged = text_of(words[: place + 1])
        assert piece.handle == f"bank:{len(logged)}"
        request = replace(REQUEST, handle=piece.handle, logged=logged)
        heard = hear(chat("Hi"), request=request)
        assert heard.items == [*words[place + 1 :], End("bank")]
        assert not heard.model.calls


@pytest.mark.parametrize("offset", range(1, len(BANK_TEXT) + 1))
def test_the_bank_goes_on_behind_every_character(offset: int) -> None:
    request = replace(REQUEST, handle=f"bank:{offset}", logged=BANK_TEXT[:offset])
    assert text_of(hear(chat("Hi"), request=request).items) == BANK_TEXT[offset:]


def test_another_bank_does_not_go_on() -> None:
    request = replace(REQUEST, handle="bank:4", logged="Tall")
    heard = hear(chat("Hi"), request=request)
    assert (heard.failed, heard.items) == ("bank_changed", [])


def test_the_bank_keeps_its_pace() -> None:
    settings = AiSettings(bank_words_per_second=5)
    heard = hear(chat("Hi"), request=replace(REQUEST, attempt=3), settings=settings)
    assert heard.seconds == pytest.approx((len(BANK_TEXT.split()) - 1) / 5)


def test_interrupting_the_bank_is_booked() -> None:
    async def run() -> None:
        rows = Rows()
        slow = AiSettings(bank_words_per_second=10)
        speech = spoken(interviewer(None, rows, settings=slow), REQUEST)
        for _ in range(3):
            await anext(speech)
        await speech.aclose()
        assert rows.ends == [("aborted", "")]

    run_virtual(run())
