"""The settings of models and money, as the parts that spend it take them."""

import math

import structlog

from ai.prices import Price, load_prices, price_of
from ai.settings import AiSettings
from server.settings import Settings
from storage.budgets import Caps

_log = structlog.get_logger()


def caps_of(settings: Settings) -> Caps:
    """How much may be spent, in millionths of a dollar."""
    return Caps(
        interview=_micro_usd(settings.budget_interview_usd),
        user_day=_micro_usd(settings.budget_user_day_usd),
        day=_micro_usd(settings.budget_day_usd),
        soft=settings.budget_soft,
    )


def in_batches(settings: Settings) -> bool:
    """Whether ratings of assessments go through the Batch API."""
    return settings.ratings == "batch" and settings.openai_api_key is not None


def _micro_usd(usd: float) -> int:
    return math.ceil(round(usd * 1_000_000, 3))


def tell_unpriced(settings: Settings) -> None:
    """Warn of models that budgets count by the highest price known."""
    if settings.openai_api_key is None:
        return
    for model in dict.fromkeys(
        (settings.model, *settings.fallback_models, settings.assessor_model)
    ):
        if price_of(model, load_prices(_prices(settings))) is None:
            _log.warning(
                "no price known: budgets count it like the dearest model; see VIVA_PRICES",
                model=model,
            )


def _prices(settings: Settings) -> dict[str, Price]:
    return {model: Price(*figures) for model, figures in settings.prices.items()}


def ai_of(settings: Settings) -> AiSettings:
    """What the interviewer and the assessor are told."""
    return AiSettings(
        api_key=settings.openai_api_key,
        base_url=settings.openai_base_url,
        model=settings.model,
        fallback_models=settings.fallback_models,
        prices=_prices(settings),
        api=settings.api,
        background=settings.background,
        first_token_timeout_s=settings.first_token_timeout_s,
        token_timeout_s=settings.token_timeout_s,
        bank_words_per_second=settings.bank_pace,
        assessor_model=settings.assessor_model,
        assessor_samples=settings.assessor_samples,
        assessor_timeout_s=settings.assessor_timeout_s,
    )
