"""Requests are counted by their routes, and never by what clients make up."""

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from server.measured import Measured
from server.meters import Meters


def asked(*scopes: dict[str, Any], status: int = 200, fails: bool = False) -> CollectorRegistry:
    registry = CollectorRegistry()

    async def app(scope: dict[str, Any], _: Any, send: Any) -> None:
        if scope["path"] == "/api/interviews/7":
            scope["path_template"] = "/api/interviews/{interview_id}"
        if fails:
            raise ConnectionResetError
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def send(_: dict[str, Any]) -> None:
        pass

    async def ask() -> None:
        for scope in scopes:
            await Measured(app, Meters(registry))(scope, None, send)

    if fails:
        with pytest.raises(ConnectionResetError):
            asyncio.run(ask())
    else:
        asyncio.run(ask())
    return registry


def count(registry: CollectorRegistry, method: str, route: str, status: int) -> float | None:
    labels = {"method": method, "route": route, "status": str(status)}
    return registry.get_sample_value("viva_http_requests_total", labels)


def request(path: str, method: str = "GET") -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path}


def test_a_request_counts_under_its_route_with_its_time() -> None:
    registry = asked(request("/api/interviews/7"), status=404)
    route = "/api/interviews/{interview_id}"
    assert count(registry, "GET", route, 404) == 1
    timed = {"method": "GET", "route": route}
    assert registry.get_sample_value("viva_http_seconds_count", timed) == 1
    assert registry.get_sample_value("viva_http_seconds_bucket", timed | {"le": "30.0"}) == 1


def test_what_has_no_route_counts_as_that() -> None:
    assert count(asked(request("/wp-login.php", "POST"), status=404), "POST", "none", 404) == 1


def test_what_was_not_answered_counts_as_that() -> None:
    assert (
        count(
            asked(request("/api/interviews/7"), fails=True),
            "GET",
            "/api/interviews/{interview_id}",
            0,
        )
        == 1
    )


def test_sockets_are_no_requests() -> None:
    registry = asked({"type": "websocket", "path": "/api/interviews/7"})
    assert not [
        line for metric in registry.collect() for line in metric.samples if "http" in line.name
    ]
