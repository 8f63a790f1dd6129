"""What a call holds is given back, whatever its row meets."""

from types import SimpleNamespace
from typing import Any

import pytest

from ai.booking import Ledger
from ai.chunks import Usage
from ai.prices import load_prices
from protocol.ledger import LedgerEntry
from tests.support.budgets import CountedHold
from tests.support.clocks import LoopClock
from tests.support.virtual_time import run_virtual


class Refusing:
    def record(self, entry: LedgerEntry) -> None:
        raise LookupError(entry.id)


class Place:
    def __init__(self) -> None:
        self.left: list[int] = []

    def leave(self, used: int) -> None:
        self.left.append(used)


def test_what_is_held_is_given_back_though_the_row_is_refused() -> None:
    async def main() -> None:
        hold, slot = CountedHold(100, low=False), Place()
        subject: Any = SimpleNamespace(interview_id="i", user_id="u", turn=1, attempt=1)
        ledger = Ledger(Refusing(), LoopClock(), "a model", load_prices())
        booking = ledger.begin(subject, 1, "chat", hold=hold, slot=slot)
        with pytest.raises(LookupError):
            booking.close("completed", usage=Usage(7, 0, 2), exact=True)
        assert len(hold.costs) == 1
        assert slot.left == [9]

    run_virtual(main())
