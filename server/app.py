"""The ASGI app: Litestar's routes behind the guards."""

import importlib.metadata
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from litestar import Litestar, Request, Response
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.routes import HTTPRoute

from server.api.deps import Deps
from server.api.described import BEARER, Document, document_router
from server.api.documents import read_document
from server.api.health import contract, live, metrics_route, ready
from server.api.interviews import Interviews
from server.api.me import Myself
from server.api.notice import show_notice
from server.api.progress import show_progress
from server.api.reports import Reports
from server.auth import Authenticator
from server.guards import BODY_BYTES, Guards
from server.instance import Instance
from server.measured import Measured
from server.notice import notice
from server.page import page_route
from server.problems import HANDLERS
from server.requests import JsonRequest
from server.socket import socket_route

_log = structlog.get_logger()
_JWT = SecurityScheme(
    type="http",
    scheme="bearer",
    bearer_format="JWT",
    description="HS256, signed with VIVA_JWT_SECRET; `sub` is the user, `role` is `candidate`, "
    "`reviewer` or `admin`. `viva token` makes one.",
)


def create_app(instance: Instance) -> Guards:
    """Return the app of one instance; its lifespan is the instance's."""
    settings = instance.settings
    deps = _deps(instance)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncGenerator[None]:
        try:
            async with instance.running():
                yield
        except Exception:
            _log.critical("instance not opened or closed", exc_info=True)  # uvicorn tells no more
            raise

    backends = instance.backends
    app = Litestar(
        [
            Interviews,
            Reports,
            show_progress,
            Myself,
            show_notice,
            read_document,
            live,
            ready,
            contract,
            metrics_route(instance.meters.registry),
            socket_route(lambda: backends, instance.connections, instance.admits),
            page_route(),
        ],
        dependencies={
            "deps": Provide(lambda: deps, sync_to_thread=False),
            "caller": Provide(Authenticator(settings.jwt_secret)),
        },
        exception_handlers=HANDLERS,
        lifespan=[lifespan],
        before_request=_options,
        openapi_config=OpenAPIConfig(
            title="viva",
            version=importlib.metadata.version("viva"),
            openapi_router=document_router("/schema"),
            render_plugins=[Document()],
            use_handler_docstrings=True,
            components=Components(security_schemes={BEARER: _JWT}),
        ),
        request_class=JsonRequest,
        request_max_body_size=BODY_BYTES,
        logging_config=None,
    )
    measured = Measured(app, instance.meters)
    return Guards(measured, hosts=settings.hosts, origins=settings.origins)


async def _options(request: Request[Any, Any, Any]) -> Response[None] | None:
    """Name all methods of a path; Litestar would name those of one of its handlers."""
    if request.method != "OPTIONS":
        return None
    path = request.scope["path_template"]
    methods = {
        method
        for route in request.app.routes
        if isinstance(route, HTTPRoute) and route.path_format == path
        for method in route.methods
    }
    return Response(None, status_code=204, headers={"Allow": ", ".join(sorted(methods))})


def _deps(instance: Instance) -> Deps:
    async def redis() -> None:
        await instance.store.ping()

    async def postgres() -> None:
        await instance.archive.check_schema()

    checks: dict[str, Any] = {"redis": redis, "postgres": postgres}
    spares: dict[str, Any] = {}
    if instance.settings.cache_url:
        spares["cache"] = lambda: instance.caching.answers
    if instance.settings.database_replica_url:
        spares["replica"] = lambda: instance.archive.replica_answers
    return Deps(
        archive=instance.archive,
        assessments=instance.assessments,
        profiles=instance.profiles,
        caching=instance.caching,
        wordings=instance.wordings,
        orders=instance.orders,
        documents=instance.documents,
        drawing=instance.drawing,
        store=instance.store,
        credentials=instance.credentials,
        clock=instance.clock,
        limits=instance.limits,
        checks=checks,
        spares=spares,
        meter=instance.meters,
        circuits=instance.circuits.states,
        draining=lambda: instance.drain.draining,
        interviewer="offline" if instance.interviewer.offline else "model",
        notice=notice(instance.settings),
    )
