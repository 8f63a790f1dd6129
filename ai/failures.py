"""Why a call to the model failed, and what helps: here the provider's errors are translated."""

import email.utils
from collections.abc import Mapping
from enum import Enum

import aiohttp
import httpx2
import openai

from ai.sse import OversizedEventError

BROKEN = (
    openai.OpenAIError,
    httpx2.HTTPError,
    httpx2.StreamError,
    aiohttp.ClientError,
    OSError,
    OversizedEventError,
)
"""What a call may raise. The HTTP client's own errors come unwrapped where a body is cut: one that
we read ourselves, and that of a refusal, which the provider's client reads."""

_UNSENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.LocalProtocolError,
    # through a proxy
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
)

IN_USE = "connections_in_use"
"""No connection was left for the call."""

_EXHAUSTED = frozenset(
    (
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "account_deactivated",
    )
)
_SHUNNED = {401: "unauthorized", 402: "quota_exhausted", 403: "forbidden", 404: "model_unknown"}

LONGEST_S = 86_400.0
"""A provider may ask for so long a wait, whatever number its header holds."""


class Remedy(Enum):
    """What to do about a failed call, as long as no word of the attempt is out."""

    RETRY = "retry"
    """Another call may succeed."""
    BANK = "bank"
    """No call for this turn will succeed."""
    SHUN = "shun"
    """No call for any turn will succeed until somebody acts."""


class CallFailedError(Exception):
    """A call to the model did not give a whole turn.

    ``code`` is short and fit for logs, ledger and ``turn.reset``; ``retry_after_s`` is what the
    provider asked for. ``gone`` tells that a stored response, if there is one, has nothing more to
    give; ``ours``, that this process had no connection left for the call, or no time: of the model
    it says nothing, and turns that have one go on.
    """

    def __init__(
        self,
        code: str,
        remedy: Remedy = Remedy.RETRY,
        *,
        retry_after_s: float | None = None,
        gone: bool = False,
        ours: bool = False,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.remedy = remedy
        self.retry_after_s = retry_after_s
        self.gone = gone
        self.ours = ours


def translate(error: Exception, now_ms: int, *, stored: bool) -> CallFailedError:
    """Return what ``error``, raised by a call, means. ``stored``: it took up a stored response.

    Through a proxy a lack of connections looks like a provider that is away, and is taken for it.
    """
    match error:
        case CallFailedError():
            return error
        case openai.APIStatusError():
            return _refused(error, now_ms, stored=stored)
        case openai.APIConnectionError():  # a time-out is one
            ours = _because_of(error, httpx2.PoolTimeout)
            return CallFailedError(IN_USE if ours else "unreachable", ours=ours)
        case OversizedEventError():
            return CallFailedError("malformed")
        case _:
            # The HTTP client's own errors reach us unwrapped where we read the body ourselves.
            return CallFailedError("stream_cut")


def is_free(error: BaseException | None) -> bool:
    """Whether a call that ``error`` ended surely costs nothing: it was refused, or never left.

    The layers above the transport also call a connection that was lost a time-out.
    """
    return isinstance(error, openai.APIStatusError) or _because_of(error, _UNSENT)


def _because_of(
    error: BaseException | None, kinds: type[BaseException] | tuple[type[BaseException], ...]
) -> bool:
    """Whether ``error`` is of these kinds, or was raised because of one that is."""
    while error is not None and not isinstance(error, kinds):
        error = error.__cause__
    return error is not None


def of_error_code(code: object) -> CallFailedError:
    """Return what an error told inside a stream means, by its ``code``."""
    if _exhausted(code):
        return CallFailedError("quota_exhausted", Remedy.SHUN, gone=True)
    if code == "rate_limit_exceeded":
        return CallFailedError("rate_limited", gone=True)
    if isinstance(code, str) and (code.startswith("invalid_") or code.endswith("_policy")):
        return CallFailedError("bad_request", Remedy.BANK, gone=True)
    return CallFailedError("provider_error", gone=True)


def _exhausted(code: object) -> bool:
    """Whether ``code``, which some servers make an object or a number, means that money is out."""
    return isinstance(code, str) and code in _EXHAUSTED


def _refused(error: openai.APIStatusError, now_ms: int, *, stored: bool) -> CallFailedError:
    status = error.status_code
    if _exhausted(error.code) or _exhausted(error.type):
        return CallFailedError("quota_exhausted", Remedy.SHUN)
    if stored and status in (400, 404):
        return CallFailedError("response_gone", gone=True)
    if status in _SHUNNED:
        return CallFailedError(_SHUNNED[status], Remedy.SHUN)
    wait = retry_after(error.response.headers, now_ms)
    if status == 429:
        return CallFailedError("rate_limited", retry_after_s=wait)
    if status in (408, 409, 425) or status >= 500:
        return CallFailedError("provider_error", retry_after_s=wait)
    return CallFailedError("bad_request", Remedy.BANK)


def retry_after(headers: Mapping[str, str], now_ms: int) -> float | None:
    """Return the seconds the provider asks to wait, None where it does not say so in a known form.

    What is more than `LONGEST_S` is taken for that.

    Source: RFC 9110, §10.2.3; ``retry-after-ms`` is OpenAI's own, and finer.
    """
    for name, scale in (("retry-after-ms", 1000), ("retry-after", 1)):
        text = headers.get(name, "").strip()
        if text.replace(".", "", 1).isascii() and text.replace(".", "", 1).isdigit():
            return min(float(text) / scale, LONGEST_S)
    try:
        date = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        left = date.timestamp() - now_ms / 1000
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, left), LONGEST_S)
