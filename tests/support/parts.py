"""Parts of an instance, for tests that are not about them."""

from protocol.scalars import Source
from protocol.session import Session


class NoOrders:
    """Orders nothing; see `server.assessing.orders.Orders`."""

    async def consider(self, session: Session) -> None:
        pass


class OneSpeaker:
    """Says that the bank speaks; see `server.sessions.Speakers`."""

    def source(self, handle: str | None, attempt: int) -> Source:
        assert attempt >= 1
        return "model" if handle == "model" else "bank"
