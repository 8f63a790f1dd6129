"""Puts an assessor together from its settings."""

from ai.assessor.desk import Desk
from ai.assessor.model import ModelAssessor
from ai.assessor.offline import OfflineAssessor
from ai.assessor.ports import Assessor
from ai.assessor.source import OpenAISource, Source
from ai.assessor.waiting import Shelf
from ai.booking import Ledger
from ai.budget import Budget, Unlimited
from ai.circuits import Circuits
from ai.gate import Gate
from ai.ports import Clock, LedgerSink
from ai.prices import load_prices
from ai.retries import Circuit
from ai.settings import AiSettings

SPARE_TURNS = 2
"""A rating that is made while the interview goes on leaves it the money for so many turns."""
TURN_TOKENS = 4_000
"""What the prompt of a turn may come to."""


def build_assessor(
    settings: AiSettings,
    sink: LedgerSink,
    clock: Clock,
    budget: Budget,
    gate: Gate | None = None,
    *,
    shelf: Shelf | None = None,
    parks: bool = False,
    circuits: Circuits | None = None,
) -> Assessor:
    """Return the assessor that ``settings`` ask for; without a key it is the offline one.

    With ``parks`` what may wait is put on the ``shelf``. Opens no connection; close it with
    `Assessor.aclose`.
    """
    if settings.api_key is None:
        return OfflineAssessor()
    source = OpenAISource(settings)
    return assemble(
        settings,
        sink,
        clock,
        source,
        budget=budget,
        gate=gate,
        circuit=circuits.of("rate", settings.assessor_model) if circuits else None,
        shelf=shelf,
        parks=parks,
    )


def assemble(
    settings: AiSettings,
    sink: LedgerSink,
    clock: Clock,
    source: Source,
    *,
    budget: Budget | None = None,
    gate: Gate | None = None,
    circuit: Circuit | None = None,
    shelf: Shelf | None = None,
    parks: bool = False,
) -> Assessor:
    """Return the assessor that asks ``source``; without a ``budget`` as often as it likes."""
    prices = load_prices(settings.prices)
    ledger = Ledger(sink, clock, settings.assessor_model, prices)
    turn = Ledger(sink, clock, settings.model, prices).assumed.most(
        TURN_TOKENS, settings.least_output_tokens
    )
    spare = SPARE_TURNS * turn
    desk = Desk(
        source,
        settings,
        ledger,
        clock,
        budget or Unlimited(),
        spare=spare,
        gate=gate,
        circuit=circuit,
    )
    return ModelAssessor(desk, settings, clock, shelf, parks=parks)
