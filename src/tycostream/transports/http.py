"""Everything that HTTP serves, health and the pages too: a Starlette application."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from tycostream import __version__
from tycostream.admin.administration import Administration
from tycostream.config.model import ServerSettings
from tycostream.live.operations import Operations
from tycostream.observe.events import Emit
from tycostream.transports.admin import AdminEndpoint
from tycostream.transports.door import Door
from tycostream.transports.graphql_endpoint import (
    PAGE_HEADERS,
    POLICY,
    UI,
    GraphQLEndpoint,
    credentials_of,
)
from tycostream.transports.responses import JSON

_FOREVER: Final = "public, max-age=31536000, immutable"  # the build puts a hash into these names


class _Pages(StaticFiles):
    """GraphiQL's files, with the headers that keep them to themselves; none where they are not wanted."""

    def __init__(self, settings: ServerSettings) -> None:
        super().__init__(directory=UI)
        self._settings = settings

    async def get_response(self, path: str, scope: Scope) -> Response:
        if not self._settings().graphiql:
            return Response("Not Found", 404, media_type="text/plain")
        return await super().get_response(path, scope)

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        path = Path(args[0] if args else kwargs["full_path"])
        response.headers["content-security-policy"] = POLICY  # a worker is held to that of its own file
        if path.suffix == ".html":
            response.headers.update(PAGE_HEADERS)
        elif path.parent.name == "assets":
            response.headers["cache-control"] = _FOREVER
        return response


class Served(Operations, Protocol):
    """What the port needs of the core: operations, and what operators may ask."""

    @property
    def admin(self) -> Administration:
        """See Administration."""


def make_app(
    operations: Served,
    settings: ServerSettings,
    emit: Emit,
    *,
    extra_routes: Sequence[BaseRoute] = (),
    examples: Sequence[str] = (),
) -> Starlette:
    """Everything on the one port but WebSockets."""
    endpoint = GraphQLEndpoint(operations, settings, emit)
    home = "/demo" if extra_routes else "/graphql"

    async def healthz(_: Request) -> Response:
        return Response("OK", media_type="text/plain")

    async def readyz(request: Request) -> Response:
        ready, sources = operations.ready()
        known: dict[str, object] = {"ready": ready}
        if await operations.authenticator.is_admin(credentials_of(request)):
            known["sources"] = sources
        body = msgspec.json.encode(known)
        return Response(body, 200 if ready else 503, media_type=JSON)

    async def version(_: Request) -> Response:
        return Response(msgspec.json.encode({"version": __version__}), media_type=JSON)

    async def root(_: Request) -> Response:
        return RedirectResponse(home)

    async def example_documents(_: Request) -> Response:
        if not settings().graphiql:
            return Response("Not Found", 404, media_type="text/plain")
        return Response(msgspec.json.encode(list(examples)), media_type=JSON)

    routes: list[BaseRoute] = [
        Route("/", root),
        Route("/graphql", endpoint.answer, methods=["GET", "POST"]),
        Route("/v1/graphql", endpoint.answer, methods=["GET", "POST"]),
        Route("/graphiql-examples.json", example_documents),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/v1/version", version),
        *AdminEndpoint(operations.admin, settings, emit).routes(),
        *extra_routes,
    ]
    if UI.exists():
        routes.append(Mount("/graphiql", _Pages(settings), name="graphiql"))
    return Starlette(routes=routes, middleware=[Middleware(Door, settings, operations.limiter, emit)])
