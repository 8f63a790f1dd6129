"""The clock of a virtual loop, for parts that are given one."""

import asyncio


class LoopClock:
    """Follows the running loop; chance is always ``chance``, nonces count up."""

    def __init__(self, chance: float = 1.0) -> None:
        self.chance = chance
        self._nonces = 0

    def now(self) -> int:
        """Unix ms of a sort: the loop's own time."""
        return int(asyncio.get_running_loop().time() * 1000)

    def monotonic(self) -> float:
        """The loop's time."""
        return asyncio.get_running_loop().time()

    def random(self) -> float:
        """Always the same."""
        return self.chance

    def nonce(self) -> str:
        """One more."""
        self._nonces += 1
        return f"n{self._nonces}"
