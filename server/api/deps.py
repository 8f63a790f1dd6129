"""What the API's handlers are given."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, Protocol

from msgspec import Struct

from server.api.limits import UserLimits
from server.assessing.orders import OrderBook
from server.caching import Caching
from server.clock import Clock
from server.credentials import Credentials
from server.documents.reading import Documents
from server.notice import Notice
from server.reporting.drawing import Drawing
from server.wordings import Wordings
from storage.live import LiveStore
from storage.postgres.archive import Archive
from storage.postgres.assessments import Assessments
from storage.postgres.profiles import Profiles


class HealthMeter(Protocol):
    """What is measured of readiness."""

    def dependency_is(self, name: str, *, up: bool) -> None:
        """Set whether one was found ready to be used."""


class Deps(Struct, frozen=True, kw_only=True):
    """The backends behind the API, and its limits."""

    archive: Archive
    assessments: Assessments
    profiles: Profiles
    caching: Caching
    wordings: Wordings
    orders: OrderBook
    documents: Documents
    drawing: Drawing
    store: LiveStore
    credentials: Credentials
    clock: Clock
    limits: UserLimits
    checks: dict[str, Callable[[], Awaitable[None]]]
    """By name: what raises `StorageError` where a dependency is down."""
    spares: dict[str, Callable[[], bool]]
    """By name: whether something that makes others faster answered when it was asked last."""
    meter: HealthMeter
    circuits: Callable[[], Mapping[str, str]]
    """By model, whether it is called: ``closed`` or, while it is left alone, ``open``."""
    draining: Callable[[], bool]
    interviewer: Literal["model", "offline"]
    notice: Notice
