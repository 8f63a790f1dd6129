"""How the interviewer and the assessor are set up.

Nothing here reads the environment; the server's settings do.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from ai.prices import Price

DEFAULT_MODEL = "gpt-5.4-mini"
"""A small, fast model without an announced end (the gpt-5 family shuts down on 2026-12-11)."""


DEFAULT_ASSESSOR_MODEL = "gpt-5.4"
"""Ratings are few, late and consequential: the strong sister of the model that speaks."""


class AiSettings(Struct, frozen=True, kw_only=True):
    """The interviewer's and the assessor's settings. Times in seconds."""

    api_key: str | None = None
    """None: no model at all, the question bank speaks every turn."""
    base_url: str = "https://api.openai.com/v1"
    model: str = DEFAULT_MODEL
    fallback_models: tuple[str, ...] = ()
    """Tried in this order where the model fails, before the question bank; nine at most."""
    api: Literal["chat", "responses"] = "chat"
    background: bool = False
    """Responses only: the provider stores them, so that another instance can go on with one."""
    temperature: float | None = None
    """None: the model's own; reasoning models refuse any other."""
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = (
        None
    )
    """None: the model's own."""
    max_output_tokens: int = 2_000
    """Includes a reasoning model's thoughts, so it is well above what a turn needs."""
    least_output_tokens: int = 500
    """With fewer, for want of money, no turn is begun."""
    max_characters: int = 4_000
    """A longer turn is cut here, in code points."""
    connect_timeout_s: float = 3.0
    first_token_timeout_s: float = 15.0
    token_timeout_s: float = 10.0
    call_timeout_s: float = 120.0
    """All of one call, however steadily it trickles."""
    retries: int = 2
    """Further calls of an attempt after its first."""
    patience_s: float = 20.0
    """How long a turn may wait for its first words, retries included, before the bank speaks."""
    max_connections: int = 6_000
    """Each running call has one. A core relays some 1,200 replies at once."""
    prices: Mapping[str, Price] = {}
    """Prices beside, or instead of, those of ``prices.toml``."""
    bank_words_per_second: float = 30.0
    """The bank's pace; 0: all at once."""
    assessor_model: str = DEFAULT_ASSESSOR_MODEL
    assessor_samples: int = 1
    """How often each answer is rated; the score is the lower median."""
    assessor_timeout_s: float = 60.0
    """All of one of the assessor's calls, which do not stream."""
    assessor_output_tokens: int = 6_000
    """Includes a reasoning model's thoughts."""
    assessor_least_output_tokens: int = 1_500
    """With fewer, for want of money, no rating is asked for."""
