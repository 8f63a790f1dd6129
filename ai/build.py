"""Puts an interviewer together from its settings."""

from collections.abc import Callable

from ai.attempt import Model
from ai.bank.compose import compose
from ai.bank.loading import load_bank
from ai.booking import Ledger
from ai.budget import Budget, Unlimited
from ai.errands import Errands
from ai.interviewer import Interviewer
from ai.ports import Clock, LedgerSink
from ai.prices import load_prices
from ai.provider import Completions, Provider
from ai.retries import Circuit
from ai.settings import AiSettings
from ai.speech import TurnRequest
from ai.voice import BankVoice


def build_interviewer(
    settings: AiSettings, sink: LedgerSink, clock: Clock, budget: Budget
) -> Interviewer:
    """Return the interviewer that ``settings`` ask for; without a key it is the offline one.

    Opens no connection; close it with `Interviewer.aclose`.
    """
    load_bank()  # now, and not in the first turn, which is composed on the event loop
    provider = None if settings.api_key is None else Provider(settings)
    return assemble(settings, sink, clock, provider, compose, budget=budget)


def assemble(
    settings: AiSettings,
    sink: LedgerSink,
    clock: Clock,
    provider: Completions | None,
    compose: Callable[[TurnRequest], str],
    *,
    budget: Budget | None = None,
) -> Interviewer:
    """Return an interviewer over any source of completions, with ``compose`` as its bank.

    Without a ``budget`` it may spend what it likes.
    """
    ledger = Ledger(sink, clock, settings.model, load_prices(settings.prices))
    errands = Errands()
    voice = BankVoice(compose, ledger, settings.bank_words_per_second)
    model = None
    if provider is not None:
        model = Model(
            provider=provider,
            settings=settings,
            ledger=ledger,
            budget=budget or Unlimited(),
            circuit=Circuit(clock),
            clock=clock,
            abandon=lambda response_id: errands.run(provider.forget(response_id)),
        )
    return Interviewer(model=model, voice=voice, errands=errands)
