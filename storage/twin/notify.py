"""The twin's notification connection."""

import asyncio
from collections.abc import Callable

from storage.live import Listener
from storage.twin.server import TwinServer

Deliver = Callable[[Callable[[], None], str, str], None]


class TwinNotifier:
    """`storage.live.Notifier` over a `TwinServer`; delivers while it runs.

    Notifications are delivered at once, or handed to ``deliver(go, interview_id, payload)``, which
    may call ``go()`` later, in another order between interviews, or never.
    """

    def __init__(self, server: TwinServer, deliver: Deliver | None = None) -> None:
        self._server = server
        self._deliver = deliver
        self._listener: Listener | None = None
        self._watched: dict[str, None] = {}  # in order: a simulation must be repeatable

    async def watch(self, interview_id: str) -> None:
        """See `Notifier.watch`. The watch outlives an outage."""
        self._watched[interview_id] = None
        await self._server.call("notifier", "watch", lambda: None)

    async def unwatch(self, interview_id: str) -> None:
        """See `Notifier.unwatch`."""
        self._watched.pop(interview_id, None)

    def hears(self, interview_id: str) -> bool:
        """See `Notifier.hears`."""
        return self._listener is not None and interview_id in self._watched

    async def run(self, listener: Listener) -> None:
        """Deliver to ``listener`` until cancelled, as `RedisNotifier.run` does."""
        self.attach(listener)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.detach()

    def attach(self, listener: Listener) -> None:
        """Begin to deliver, for those who have no task to run."""
        self._listener = listener
        self._server.subscribers.append(self)

    def detach(self) -> None:
        """Deliver no more."""
        self._listener = None
        self._server.subscribers.remove(self)

    def receive(self, interview_id: str, payload: str) -> None:
        """Take what was published; see `Subscriber.receive`."""
        if interview_id in self._watched:
            self._pass(interview_id, payload)

    def reconnected(self) -> None:
        """Wake everybody in doubt; see `Subscriber.reconnected`."""
        for interview_id in tuple(self._watched):
            self._pass(interview_id, "")

    def _pass(self, interview_id: str, payload: str) -> None:
        def go() -> None:
            if self._listener is not None and interview_id in self._watched:
                self._listener(interview_id, payload)

        if self._deliver is None:
            go()
        else:
            self._deliver(go, interview_id, payload)
