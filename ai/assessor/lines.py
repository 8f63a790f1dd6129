"""A batch's files: a request a line, an answer a line (OpenAI, "Batch API": input, output, error).

And what its lines may cost: they are held and booked like other calls, at the price of batches.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

import msgspec
from msgspec import Struct

from ai.assessor.source import BODY_BYTES, RATING, WholeApi, read_body, request_body
from ai.budget import BYTES_PER_TOKEN, FRAME_TOKENS, REPLY_TOKENS
from ai.chunks import ErrorBody, Usage, decode_whole
from ai.failures import CallFailedError
from ai.prices import dearest, estimate_tokens, load_batch_share, load_prices, price_of
from ai.provider import Prompt
from ai.settings import AiSettings
from protocol.ledger import CallOutcome, LedgerEntry, Task

ENDPOINTS: dict[WholeApi, Literal["/v1/chat/completions", "/v1/responses"]] = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
}
OK = 200
EXPIRED = "batch_expired"
"""The provider's own code for a line that it did not come to."""


class Call(Protocol):
    """A parked call that is sent, or was."""

    @property
    def request_id(self) -> str:
        """Its name in the batch, and its row's in the ledger."""
        ...

    @property
    def interview_id(self) -> str:
        """The interview that pays."""
        ...

    @property
    def user_id(self) -> str:
        """Whose interview it is."""
        ...

    @property
    def task(self) -> Task:
        """What it is for."""
        ...

    @property
    def turn(self) -> int:
        """The last turn that is read."""
        ...

    @property
    def sample(self) -> int:
        """Which sample it is."""
        ...

    @property
    def sampled(self) -> bool:
        """Whether samples shall differ."""
        ...

    @property
    def instructions(self) -> str:
        """The rules."""
        ...

    @property
    def input(self) -> str:
        """The case."""
        ...


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of a line: ``reply`` is a body, or there is none for a reason."""

    reply: bytes | None = None
    code: str = ""


class _Response(Struct, frozen=True):
    status_code: int = 0
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Line(Struct, frozen=True):
    custom_id: str = ""
    response: _Response | None = None
    error: ErrorBody | None = None


class _Refused(Struct, frozen=True):
    error: ErrorBody | None = None


_line = msgspec.json.Decoder(_Line)
_refused = msgspec.json.Decoder(_Refused)


def entry_id(request_id: str) -> str:
    """Return the name of a line's row in the ledger: however often it is written, it is one."""
    return f"batch-{request_id}"


def read_lines(data: bytes) -> Iterator[tuple[str, Outcome]]:
    """Return the outcomes of an output or error file, by the request's id; skip what is none."""
    for raw in data.splitlines():
        try:
            line = decode_whole(_line, raw)
        except CallFailedError:
            continue
        yield line.custom_id, _outcome(line)


def _outcome(line: _Line) -> Outcome:
    response = line.response
    if response is None:
        told = line.error.code if line.error else None
        return Outcome(code=EXPIRED if told == EXPIRED else "provider_error")
    body = bytes(response.body)
    if response.status_code == OK:
        fine = len(body) <= BODY_BYTES and _is_text(body)
        return Outcome(reply=body) if fine else Outcome(code="malformed")
    try:
        error = decode_whole(_refused, body).error or ErrorBody()
    except CallFailedError:
        error = ErrorBody()
    return Outcome(code=error.failure().code)


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


class Quote(Struct, frozen=True):
    """What lines of one interview may cost together: money to be held before they are sent."""

    least: int
    most: int


class Counter:
    """Where lines of batches are written, and paid."""

    def __init__(self, settings: AiSettings) -> None:
        self._settings = settings
        self._prices = load_prices(settings.prices)
        self._share = load_batch_share()

    def quote(self, calls: Sequence[Call], model: str) -> Quote:
        """Return what ``calls`` cost at least, to be worth sending, and at most."""
        price = self._assumed(model)
        least = self._settings.assessor_least_output_tokens
        most = self._settings.assessor_output_tokens
        sizes = [_tokens(call) for call in calls]
        return Quote(
            sum(price.most(size, min(least, most)) for size in sizes),
            sum(price.most(size, most) for size in sizes),
        )

    def allowed(self, calls: Sequence[Call], model: str, amount: int) -> int:
        """Return how many tokens each of ``calls`` may give, where ``amount`` is held for all."""
        sizes = sum(map(_tokens, calls))
        tokens = self._assumed(model).pays(amount - len(calls), sizes) // len(calls)
        return max(1, min(tokens, self._settings.assessor_output_tokens))

    def line(self, call: Call, api: WholeApi, model: str, output_tokens: int) -> bytes:
        """Return a call as a line of a batch."""
        prompt = Prompt(call.instructions, call.input, output_tokens)
        body = request_body(self._settings, RATING, prompt, api, model, sampled=call.sampled)
        line: dict[str, Any] = {
            "custom_id": call.request_id,
            "method": "POST",
            "url": ENDPOINTS[api],
            "body": body,
        }
        return msgspec.json.encode(line) + b"\n"

    def entry(
        self, call: Call, outcome: Outcome, *, api: WholeApi, model: str, at: int, now: int
    ) -> LedgerEntry:
        """Return the ledger row of a line that was sent at ``at``.

        A line without an answer costs nothing; one whose answer got lost is an estimate.
        """
        price = price_of(model, self._prices)
        usage, exact, end, code = _read(call, outcome, api)
        return LedgerEntry(
            id=entry_id(call.request_id),
            interview_id=call.interview_id,
            user_id=call.user_id,
            turn=call.turn,
            attempt=call.sample,
            call=1,
            task=call.task,
            at=at,
            model=model,
            api="batch",
            outcome=end,
            code=code,
            input_tokens=usage.input_tokens,
            cached_tokens=usage.cached_tokens,
            output_tokens=usage.output_tokens,
            exact=exact,
            cost_micro_usd=price.times(self._share).cost(usage) if price else 0,
            priced=price is not None,
            total_ms=max(0, now - at),
        )

    def counted(self, entry: LedgerEntry) -> int:
        """Return what a row counts for in budgets, where no price is known, too."""
        usage = Usage(entry.input_tokens, entry.cached_tokens, entry.output_tokens)
        return self._assumed(entry.model).cost(usage)

    def _assumed(self, model: str) -> Any:
        price = price_of(model, self._prices) or dearest(self._prices)
        return price.times(self._share)


def _tokens(call: Call) -> int:
    size = Prompt(call.instructions, call.input).size
    return -(-size // BYTES_PER_TOKEN) + FRAME_TOKENS


def _read(call: Call, outcome: Outcome, api: WholeApi) -> tuple[Usage, bool, CallOutcome, str]:
    if outcome.reply is None:
        lost = outcome.code in ("batch_lost", "malformed")
        size = Prompt(call.instructions, call.input).size
        usage = Usage(estimate_tokens(size), 0, REPLY_TOKENS) if lost else Usage(0, 0, 0)
        return usage, not lost, "failed", outcome.code
    try:
        completion = read_body(outcome.reply, api)
    except CallFailedError as failure:
        return _read(call, Outcome(code=failure.code), api)
    if completion.usage is None:
        size = Prompt(call.instructions, call.input).size
        said = estimate_tokens(len(completion.text.encode()))
        usage, exact = Usage(estimate_tokens(size), 0, said), False
    else:
        usage, exact = completion.usage, True
    failure = completion.failure
    if failure is None:
        return usage, exact, "completed", "length" if completion.cut else ""
    return usage, exact, "refused" if failure.code == "refused" else "failed", failure.code
