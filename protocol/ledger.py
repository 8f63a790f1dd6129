"""What the model's work costs: a row for every provider call and every use of the bank or cache."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from protocol.scalars import Count, Milliseconds, Ordinal

Api = Literal["chat", "responses", "batch", "bank", "cache"]
"""``batch`` is a line of a batch of either of the first two, at the price of batches."""
CallOutcome = Literal["completed", "aborted", "failed", "refused"]
"""How a call ended: to its end; closed by this side (barge-in, draining, a lost lease); broken by
the provider or the network; or answered with a refusal."""

Task = Literal["speak", "rate", "communicate", "word"]
"""What a call was for: a turn of the interviewer, a rating of one question's answers, the rating of
how the candidate communicates, or wordings of prepared questions for the cache."""

Scope = Literal["interview", "user_day", "day"]
"""What has a budget: an interview, all interviews of a user on a day of UTC, or all of the
deployment's."""

Code = Annotated[str, Meta(max_length=64)]


class LedgerEntry(Struct, frozen=True, kw_only=True):
    """One call, also the aborted and the failed.

    Tokens are the provider's own count where ``exact``, else an estimate from the text that was
    sent and received: a stream that is cut never brings its usage. Rows that share a non-empty
    ``response_id`` tell of one background response, taken up again by the later call: the one that
    began last (``at``) speaks for all of them.
    """

    id: str
    interview_id: str
    user_id: str
    turn: Ordinal
    attempt: Ordinal
    call: Ordinal
    """Counts the calls of one attempt on one instance."""
    task: Task = "speak"
    """For the assessor's tasks ``turn`` is the last turn that was read, ``attempt`` the sample."""
    at: Milliseconds
    """When the call began, Unix time."""
    model: str
    api: Api
    outcome: CallOutcome
    code: Code = ""
    """Why, as a short code; empty for a completion that ended of itself."""
    response_id: str = ""
    """The provider's name for a stored response, empty for others."""
    input_tokens: Count = 0
    cached_tokens: Count = 0
    """The part of ``input_tokens`` that the provider had cached."""
    output_tokens: Count = 0
    exact: bool = True
    cost_micro_usd: Count = 0
    priced: bool = True
    """False where the model is not in the price table and the cost therefore unknown."""
    first_token_ms: Milliseconds | None = None
    """From the call to the first text, None where there was none."""
    total_ms: Milliseconds
