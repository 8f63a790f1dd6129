"""Who acts on what was committed, swept or stored, so that those parts need not know each other."""

from protocol.session import Session
from server.assessing.orders import Orders
from server.caching import Caching, lists_of
from server.runner import TurnRunner
from server.writer import Writer


class Following:
    """Acts on what was committed or swept; see `server.sessions.Followers`."""

    def __init__(self, runner: TurnRunner, writer: Writer) -> None:
        self._runner = runner
        self._writer = writer

    def run(self, interview_id: str) -> None:
        """See `Followers.run`."""
        self._runner.start(interview_id)

    def stop(self, interview_id: str) -> None:
        """See `Followers.stop`."""
        self._runner.stop(interview_id)

    def store(self, partition: int) -> None:
        """See `Followers.store`."""
        self._writer.notice(partition)


class Stored:
    """Is told what the writer stored; see `server.assessing.orders.Orders`."""

    def __init__(self, orders: Orders, caching: Caching) -> None:
        self._orders = orders
        self._caching = caching

    async def consider(self, session: Session) -> None:
        """See `Orders.consider`; the user's lists show another state now."""
        self._caching.stale((lists_of(session.user_id),))
        await self._orders.consider(session)
