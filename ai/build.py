"""Puts an interviewer together from its settings."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from ai.attempt import Model
from ai.bank.compose import compose
from ai.bank.loading import load_bank
from ai.booking import Ledger
from ai.budget import Budget, Unlimited
from ai.circuits import Circuits
from ai.errands import Errands
from ai.gate import Gate
from ai.interviewer import Interviewer
from ai.ports import Clock, LedgerSink
from ai.prices import load_prices
from ai.provider import Completions, Provider
from ai.settings import AiSettings
from ai.speech import TurnRequest
from ai.voice import BankVoice, Pace, SharedVoice
from ai.wording.voice import Wordings


def build_interviewer(
    settings: AiSettings,
    sink: LedgerSink,
    clock: Clock,
    budget: Budget,
    *,
    gate: Gate | None = None,
    wordings: Wordings | None = None,
    circuits: Circuits | None = None,
) -> Interviewer:
    """Return the interviewer that ``settings`` ask for; without a key it is the offline one.

    Opens no connection; close it with `Interviewer.aclose`.
    """
    load_bank()  # now, and not in the first turn, which is composed on the event loop
    if settings.api_key is None:
        return assemble(settings, sink, clock, None, compose, budget=budget)
    first = Provider(settings)
    others = [first.sibling(model) for model in settings.fallback_models]
    return assemble(
        settings,
        sink,
        clock,
        first,
        compose,
        budget=budget,
        gate=gate,
        wordings=wordings,
        others=others,
        circuits=circuits,
    )


def assemble(
    settings: AiSettings,
    sink: LedgerSink,
    clock: Clock,
    provider: Completions | None,
    compose: Callable[[TurnRequest], str],
    *,
    budget: Budget | None = None,
    gate: Gate | None = None,
    wordings: Wordings | None = None,
    others: Sequence[Completions] = (),
    circuits: Circuits | None = None,
) -> Interviewer:
    """Return an interviewer over any source of completions, with ``compose`` as its bank.

    ``others`` are those of the fallback models. Without a ``budget`` it may spend what it likes.
    """
    prices = load_prices(settings.prices)
    ledger = Ledger(sink, clock, settings.model, prices)
    errands = Errands()
    known = circuits or Circuits(clock)
    pace = Pace(ledger, settings.bank_words_per_second)

    def model(place: int, name: str, source: Completions) -> Model:
        return Model(
            provider=source,
            settings=replace(settings, model=name),
            ledger=Ledger(sink, clock, name, prices),
            budget=budget or Unlimited(),
            circuit=known.of("speak", name),
            clock=clock,
            abandon=lambda response_id: errands.run(source.forget(response_id)),
            gate=gate,
            place=place,
        )

    names = (settings.model, *settings.fallback_models)
    sources = () if provider is None else (provider, *others)
    named = zip(names, sources, strict=False)
    return Interviewer(
        models=[model(place, *each) for place, each in enumerate(named)],
        shared=None if wordings is None else SharedVoice(wordings, pace),
        voice=BankVoice(compose, pace),
        errands=errands,
    )
