"""Thresholds that do not count in a run: nobody can keep them there, whatever the server does."""

from collections.abc import Collection

from msgspec import Struct

from loadtest.load.figures import COUNTS, SERVER

USERS, SECONDS = "--users", "--seconds"
_STAMPED = ("added", "calm", "stall_ratio")
_OWN = ("redis_keys", "keys_growth", "clients_growth")
_GROWTH, _STORED = "_growth", "stored"
_GENERATOR = ("generator_cpu_us_per_token", "yardstick_us")
_REQUESTS = ("requests", "requests_per_second")
"""They do not come from users."""


class Aside(Struct, frozen=True, kw_only=True):
    """In what a run departs from its scenario."""

    options: Collection[str] = ()
    """Those of `--users` and `--seconds` by which it was given less."""
    foreign: bool = False
    """Whether the deployment is somebody else's, not servers of the run's own."""
    metrics: str = ""
    """Why nothing is known of its metrics, where that is so."""

    def __call__(self, figure: str, found: float | None, *, at_most: bool) -> str:
        """Return why a threshold does not count, or nothing where it does."""
        if not at_most and USERS in self.options and figure not in _REQUESTS:
            return f"{USERS} has not the users that the scenario asks for"
        if not at_most and SECONDS in self.options and figure in COUNTS:
            return f"{SECONDS} asks for less time than the scenario does"
        if self.foreign and figure == _STORED:
            return "the deployment's PostgreSQL is not asked"
        if SECONDS in self.options and figure.endswith(_GROWTH):
            return f"{SECONDS} is too short for what grows to be seen"
        return self._unknown(figure.partition(".")[0]) if self.foreign and found is None else ""

    def _unknown(self, name: str) -> str:
        if name in _STAMPED:
            return "no fake provider of this machine stamps the deployment's tokens"
        if name in _OWN:
            return "the deployment's Redis is not asked"
        if name in SERVER and name not in _GENERATOR:
            return self.metrics
        return ""
