"""How long requests take, measured around the app: what it has no route for counts, too."""

import time
from typing import Any, Protocol

Scope = dict[str, Any]


class RequestMeter(Protocol):
    """What is measured of requests."""

    def requested(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request by its route's pattern, and how long its answer took."""


class Measured:
    """The app, with each of its HTTP requests measured, from its head to the answer's last byte.

    A request that was not answered, since its client left or the app failed, has the status 0.
    """

    def __init__(self, app: Any, meter: RequestMeter) -> None:
        self._app = app
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """See ASGI 3.0."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def heard(message: dict[str, Any]) -> None:
            nonlocal status
            await send(message)
            if message["type"] == "http.response.start":
                status = message["status"]

        try:
            await self._app(scope, receive, heard)
        finally:
            # Left there by the router. Paths themselves are too many, and whose they are is told.
            route = scope.get("path_template") or "none"
            self._meter.requested(scope["method"], route, status, time.perf_counter() - began)
