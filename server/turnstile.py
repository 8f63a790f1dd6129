"""The gate before the model as one instance uses it: waits, says what still runs, gives back.

While Redis does not answer nobody knows what runs elsewhere. Calls go on then, as many on each
instance as the whole deployment may have: a provider may refuse some, an interview stops for none.
"""

import asyncio
from collections import deque
from typing import Protocol

import structlog

from ai.gate import Slot
from server.clock import Clock, backoff
from storage.errors import StorageError
from storage.gate import Admitted, Full, Gate, Limits, Queued, Ticket

STAY_S = 1.0
"""How often it is said that calls still run; well within `storage.gate.LAPSE_MS`."""
POLL_S = 0.05
POLL_CAP_S = 0.5
POLL_EACH_S = 0.01
"""How much later one asks again for each that is ahead."""
TRIES = 4
"""How often leaving is tried; then the slot lapses."""
LEAVING = 10_000

_log = structlog.get_logger()


class GateMeter(Protocol):
    """What is measured of the gate."""

    def gate_passed(self, how: str, seconds: float) -> None:
        """Count a call that went through ``at_once``, ``waited``, was ``refused``, or ``alone``."""


class Turnstile:
    """One instance's `ai.gate.Gate`."""

    def __init__(self, gate: Gate, limits: Limits, clock: Clock, meter: GateMeter) -> None:
        self._gate = gate
        self._limits = limits
        self._clock = clock
        self._meter = meter
        self._running: dict[str, Ticket] = {}
        self._leaving: deque[tuple[Ticket, int]] = deque()
        self._wanted = asyncio.Event()
        self._down = False

    async def enter(
        self, interview_id: str, *, tokens: int, urgent: bool, wait_s: float
    ) -> Slot | None:
        """See `ai.gate.Gate.enter`."""
        ticket = Ticket(
            id=self._clock.nonce(), interview_id=interview_id, tokens=tokens, urgent=urgent
        )
        if not self._limits.calls and not self._limits.tokens_per_minute:
            return _Slot(self, ticket, counted=False)
        began = self._clock.monotonic()
        how = "refused"
        try:
            async with asyncio.timeout(max(0.0, wait_s)):
                how = await self._admitted(ticket)
        except TimeoutError:
            pass
        finally:
            if how == "refused":
                self.leave(ticket, 0)
        self._meter.gate_passed(how, self._clock.monotonic() - began)
        if how == "refused":
            return None
        self._running[ticket.id] = ticket
        return _Slot(self, ticket, counted=True)

    def leave(self, ticket: Ticket, used: int) -> None:
        """Give a slot back, or a place in the queue; neither blocks nor raises."""
        self._running.pop(ticket.id, None)
        if len(self._leaving) >= LEAVING:
            self._leaving.popleft()  # it lapses
        self._leaving.append((ticket, used))
        self._wanted.set()

    async def run(self) -> None:
        """Say what runs, and give back what does not, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stay())
            group.create_task(self._give_back())

    async def _admitted(self, ticket: Ticket) -> str:
        """Wait until the call may be made; return how that came."""
        waited = False
        while True:
            try:
                answer = await self._gate.enter(ticket, self._limits)
            except StorageError as error:
                if not self._down:
                    _log.warning("the gate cannot be asked", error=type(error).__name__)
                self._down = True
                if not self._limits.calls or len(self._running) < self._limits.calls:
                    return "alone"
                answer = Queued(0)
            else:
                self._down = False
            match answer:
                case Admitted():
                    return "waited" if waited else "at_once"
                case Full():
                    return "refused"
                case Queued(ahead=ahead):
                    waited = True
                    pause = min(POLL_CAP_S, POLL_S + POLL_EACH_S * ahead)
                    await asyncio.sleep(pause * (0.75 + self._clock.random() / 2))

    async def _stay(self) -> None:
        while True:
            await asyncio.sleep(STAY_S)
            if self._running:
                try:
                    await self._gate.stay(tuple(self._running.values()))
                except StorageError:
                    continue  # told once, by whoever enters; the next time is near

    async def _give_back(self) -> None:
        while True:
            self._wanted.clear()
            while self._leaving:
                await self._left(*self._leaving.popleft())
            await self._wanted.wait()

    async def _left(self, ticket: Ticket, used: int) -> None:
        for attempt in range(TRIES):
            try:
                await self._gate.leave(ticket, self._limits, used)
            except StorageError:
                await backoff(self._clock, attempt, base_s=0.1)
            else:
                return


class _Slot:
    """See `ai.gate.Slot`."""

    def __init__(self, turnstile: Turnstile, ticket: Ticket, *, counted: bool) -> None:
        self._turnstile = turnstile
        self._ticket = ticket
        self._counted = counted

    def leave(self, used: int) -> None:
        if self._counted:
            self._counted = False
            self._turnstile.leave(self._ticket, used)
