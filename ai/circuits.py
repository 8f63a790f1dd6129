"""The circuits of one process: one for each task of each model, and who hears that one opens."""

from functools import partial
from typing import NamedTuple, Protocol

from ai.ports import Clock
from ai.retries import Circuit
from protocol.ledger import Task


class Use(NamedTuple):
    """What a circuit guards. A model that refuses ratings may still speak: each has its own."""

    task: Task
    model: str


class Watch(Protocol):
    """Who is told."""

    def opened(self, use: Use, code: str, seconds: float, *, told: bool) -> None:
        """See `Circuit`; may neither block nor raise."""


class Circuits:
    """All of them; ``all`` grows while the process is put together, and not afterwards."""

    def __init__(self, clock: Clock, watch: Watch | None = None) -> None:
        self._clock = clock
        self._watch = watch
        self.all: dict[Use, Circuit] = {}

    def of(self, task: Task, model: str) -> Circuit:
        """Return the circuit of one use of a model, the same each time."""
        use = Use(task, model)
        if use not in self.all:
            self.all[use] = Circuit(self._clock, partial(self._opened, use))
        return self.all[use]

    def _opened(self, use: Use, code: str, seconds: float, told: bool) -> None:  # noqa: FBT001  # called by position, see `Circuit`
        if self._watch is not None:
            self._watch.opened(use, code, seconds, told=told)
