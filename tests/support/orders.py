"""For tests that are not about assessing."""

from protocol.session import Session


class NoOrders:
    """Orders nothing; see `server.assessing.orders.Orders`."""

    async def consider(self, session: Session) -> None:
        pass
