"""The circuit board: what this instance knows of its models, shown, and shared with the others.

Each circuit decides by itself, from memory, whether its model is called: no call waits for Redis.
Beside that the instances tell each other what a *provider* said (no quota, a wrong key, come back
later), so that one instance's call finds it out for all. An outage that an instance noticed by
itself is not told: it may be its own network's.
"""

import asyncio
import contextlib
import hashlib
from typing import Literal, Protocol

import msgspec
import structlog

from ai.circuits import Circuits, Use
from server.clock import Clock
from storage.circuits import Finding, SharedCircuits
from storage.errors import StorageError

EVERY_S = 2.0

_log = structlog.get_logger()


class CircuitMeter(Protocol):
    """What is measured of circuits."""

    def circuit_is(self, task: str, model: str, *, open_: bool) -> None:
        """Set the state of one."""

    def circuit_opened(self, task: str, model: str, code: str) -> None:
        """Count that one was opened by what happened here."""


class CircuitBoard:
    """One instance's; builders get ``circuits``. ``account`` names whose words count for whom."""

    def __init__(
        self, shared: SharedCircuits, clock: Clock, meter: CircuitMeter, account: str
    ) -> None:
        self.circuits = Circuits(clock, self)
        self._shared = shared
        self._clock = clock
        self._meter = meter
        self._account = account
        self._found: dict[Use, tuple[str, float]] = {}
        """What is to be told: the code, and until when it holds."""
        self._wanted = asyncio.Event()
        self._down = False

    def opened(self, use: Use, code: str, seconds: float, *, told: bool) -> None:
        """See `ai.circuits.Watch`."""
        _log.warning("model left alone", task=use.task, model=use.model, code=code, seconds=seconds)
        self._meter.circuit_opened(use.task, use.model, code)
        self._meter.circuit_is(use.task, use.model, open_=True)
        if told:
            self._found[use] = (code, self._clock.monotonic() + seconds)
            self._wanted.set()

    def states(self) -> dict[str, Literal["open", "closed"]]:
        """Return the state of each model: open where any of its circuits is."""
        states: dict[str, Literal["open", "closed"]] = {}
        for use, circuit in self.circuits.all.items():
            if circuit.open() or use.model not in states:
                states[use.model] = "open" if circuit.open() else "closed"
        return states

    async def run(self) -> None:
        """Tell and ask for ever; owned by the instance's task group."""
        while self.circuits.all:
            self._wanted.clear()
            try:
                await self._exchange()
                self._down = False
            except StorageError as error:
                if not self._down:
                    _log.warning("circuits are not shared", error=type(error).__name__)
                self._down = True
            for use, circuit in self.circuits.all.items():
                self._meter.circuit_is(use.task, use.model, open_=bool(circuit.open()))
            await self._pause()

    async def _pause(self) -> None:
        seconds = EVERY_S * (0.75 + self._clock.random() / 2)
        if self._down:  # what is to be told is not told sooner by asking without a pause
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wanted.wait()

    async def _exchange(self) -> None:
        for use, (code, until) in tuple(self._found.items()):
            left_s = until - self._clock.monotonic()
            if left_s > 0:
                await self._shared.tell(self._name(use), Finding(code, int(left_s * 1000)))
            if self._found.get(use) == (code, until):
                del self._found[use]
        names = {self._name(use): circuit for use, circuit in self.circuits.all.items()}
        for name, finding in (await self._shared.ask(tuple(names))).items():
            names[name].heard(finding.code, finding.left_ms / 1000)

    def _name(self, use: Use) -> str:
        return _digest(self._account, *use)


def account_of(base_url: str | None, key: str | None) -> str:
    """Return a name for an account at a provider, which tells nothing of its key.

    While a key is replaced, instances that still have the old one are refused; those that have the
    new one are not to be told so.
    """
    return _digest(base_url or "", key or "")


def _digest(*parts: str) -> str:
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]
