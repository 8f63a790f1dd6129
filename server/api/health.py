"""Liveness, readiness, metrics, and the machine-readable contract."""

import asyncio
import functools
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from litestar import MediaType, Response, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery
from msgspec import Struct
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from protocol.schema import View, asyncapi
from server.api.deps import Deps
from storage.errors import StorageError, UnmigratedError

CHECK_S = 1.5
DRAINING_S = 0.2

State = Literal["up", "down", "unmigrated"]


@get("/health/live", tags=["health"])
async def live() -> dict[str, str]:
    """Tell that the process runs; it knows no dependency."""
    return {"status": "live"}


class Readiness(Struct, frozen=True, kw_only=True):
    """Whether this instance should get traffic, and what it depends on."""

    status: Literal["ready", "unready", "draining"]
    dependencies: Mapping[str, State]
    interviewer: Literal["model", "offline"]
    circuits: Mapping[str, str]


_UNREADY = ResponseSpec(
    Readiness, generate_examples=False, description="This instance should get no traffic."
)


@get("/health/ready", tags=["health"], responses={503: _UNREADY})
async def ready(deps: Deps) -> Response[Readiness]:
    """Name each dependency with its state; 503 where this instance should get no traffic.

    PostgreSQL is named but not needed: live interviews go on without it. So they do without a
    model: ``circuits`` names those that are left alone for a while (``open``). A ``cache`` and a
    ``replica`` of their own are named by how they answered last; they are not waited for.
    """
    names = list(deps.checks)
    # A balancer must know soon that this instance leaves, also where a dependency hangs.
    wait_s = DRAINING_S if deps.draining() else CHECK_S
    states = await asyncio.gather(*(_state(deps, name, wait_s) for name in names))
    found = dict(zip(names, states, strict=True))
    spares: dict[str, State] = {
        name: "up" if answers() else "down" for name, answers in deps.spares.items()
    }
    dependencies = found | spares
    for name, state in dependencies.items():
        deps.meter.dependency_is(name, up=state == "up")
    fine = found.get("redis") == "up" and not deps.draining()
    body = Readiness(
        status="draining" if deps.draining() else "ready" if fine else "unready",
        dependencies=dependencies,
        interviewer=deps.interviewer,
        circuits=deps.circuits(),
    )
    return Response(body, status_code=200 if fine else 503, headers={"Cache-Control": "no-store"})


@get("/asyncapi.json", include_in_schema=False, sync_to_thread=False)
def contract(view: FromQuery[View] = "server") -> Response[bytes]:
    """Show the socket's AsyncAPI 3 document, as the server sees it or, asked for, a client."""
    return Response(_document(view), media_type=MediaType.JSON)


@functools.cache
def _document(view: View) -> bytes:
    return msgspec.json.encode(asyncapi(view))


async def _state(deps: Deps, name: str, wait_s: float) -> State:
    try:
        async with asyncio.timeout(wait_s):
            await deps.checks[name]()
    except UnmigratedError:
        return "unmigrated"
    except (StorageError, TimeoutError):
        return "down"
    return "up"


def metrics_route(registry: CollectorRegistry) -> Any:
    """Return the route of `/metrics`."""

    @get("/metrics", media_type=MediaType.TEXT, include_in_schema=False)
    async def metrics() -> Response[bytes]:
        """Show the metrics in Prometheus' text format."""
        # As a header: Litestar would append a second charset to a media type.
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return metrics
