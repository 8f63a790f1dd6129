import email.utils

import httpx2
import openai
import pytest

from ai.failures import LONGEST_S, CallFailedError, Remedy, retry_after, translate
from ai.sse import OversizedEventError

NOW_MS = 1_800_000_000_000
REQUEST = httpx2.Request("POST", "http://localhost/v1/chat/completions")


def refusal(
    status: int, code: str = "", headers: dict[str, str] | None = None
) -> openai.APIStatusError:
    response = httpx2.Response(status, headers=headers, request=REQUEST)
    kinds = {429: openai.RateLimitError, 404: openai.NotFoundError}
    kind = kinds.get(status, openai.APIStatusError)
    return kind("secret words", response=response, body={"code": code, "message": "secret words"})


@pytest.mark.parametrize(
    ("error", "code", "remedy"),
    [
        (refusal(429), "rate_limited", Remedy.RETRY),
        (refusal(429, "insufficient_quota"), "quota_exhausted", Remedy.SHUN),
        (refusal(402), "quota_exhausted", Remedy.SHUN),
        (refusal(401), "unauthorized", Remedy.SHUN),
        (refusal(403), "forbidden", Remedy.SHUN),
        (refusal(404, "model_not_found"), "model_unknown", Remedy.SHUN),
        (refusal(400), "bad_request", Remedy.BANK),
        (refusal(422), "bad_request", Remedy.BANK),
        (refusal(301), "bad_request", Remedy.BANK),
        (refusal(408), "provider_error", Remedy.RETRY),
        (refusal(500), "provider_error", Remedy.RETRY),
        (refusal(529), "provider_error", Remedy.RETRY),
        (openai.APITimeoutError(REQUEST), "unreachable", Remedy.RETRY),
        (openai.APIConnectionError(request=REQUEST), "unreachable", Remedy.RETRY),
        (httpx2.ReadError("secret words"), "stream_cut", Remedy.RETRY),
        (ConnectionResetError(), "stream_cut", Remedy.RETRY),
        (OversizedEventError(), "malformed", Remedy.RETRY),
    ],
)
def test_every_error_has_a_code_and_a_remedy(error: Exception, code: str, remedy: Remedy) -> None:
    failure = translate(error, NOW_MS, stored=False)
    assert (failure.code, failure.remedy, failure.gone) == (code, remedy, False)
    assert "secret" not in str(failure)


def test_a_stored_response_that_is_gone_is_no_unknown_model() -> None:
    failure = translate(refusal(404), NOW_MS, stored=True)
    assert (failure.code, failure.gone) == ("response_gone", True)


@pytest.mark.parametrize(
    ("cause", "code", "ours"),
    [
        (httpx2.PoolTimeout("full"), "connections_in_use", True),
        (httpx2.ConnectTimeout("far"), "unreachable", False),
    ],
)
def test_a_lack_of_connections_is_not_the_models(
    cause: Exception, code: str, *, ours: bool
) -> None:
    error = openai.APITimeoutError(REQUEST)
    error.__cause__ = cause
    failure = translate(error, NOW_MS, stored=False)
    assert (failure.code, failure.remedy, failure.ours) == (code, Remedy.RETRY, ours)


def test_a_failure_stays_itself() -> None:
    failure = CallFailedError("no_end")
    assert translate(failure, NOW_MS, stored=False) is failure


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "9", "retry-after-ms": "120"}, 0.12),
        ({"retry-after": email.utils.formatdate(NOW_MS / 1000 + 7, usegmt=True)}, 7.0),
        ({"retry-after": email.utils.formatdate(NOW_MS / 1000 - 7, usegmt=True)}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "²"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "9" * 400}, LONGEST_S),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, LONGEST_S),
        ({"retry-after": f"Fri, 31 Dec {'9' * 20} 00:00:00 GMT"}, None),
        ({"retry-after": f"Fri, {'9' * 20} Dec 2026 00:00:00 GMT"}, None),
        ({"retry-after": f"Fri, 31 Dec 2026 00:00:00 +{'9' * 20}"}, None),
    ],
)
def test_retry_after_in_each_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW_MS) == seconds


def test_retry_after_reaches_the_failure() -> None:
    failure = translate(refusal(429, headers={"Retry-After": "3"}), NOW_MS, stored=False)
    assert failure.retry_after_s == 3.0
