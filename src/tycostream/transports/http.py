"""GraphQL over HTTP, health, and the pages: a Starlette application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from tycostream import __version__
from tycostream.admin.administration import Administration
from tycostream.auth.credentials import Credentials
from tycostream.auth.denied import Denied, Reason
from tycostream.config.model import ServerSettings
from tycostream.errors import RequestError, TooMany
from tycostream.graphql.execute import InvalidRequest
from tycostream.live.operations import Operations
from tycostream.live.subscriber import COMPLETED
from tycostream.observe.events import Emit, OperationFailed, RequestRefused
from tycostream.transports.admin import AdminEndpoint
from tycostream.transports.door import Door
from tycostream.transports.graphql_request import Refused, guard, media_type, parameters_of
from tycostream.transports.requests import RunningRequest
from tycostream.transports.responses import GRAPHQL, JSON, errors_response, too_many_response

UI: Final = Path(__file__).with_name("ui") / "graphiql"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; worker-src 'self' blob:; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
_PAGE_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",  # it names files of one version; and the same address answers JSON to others
    "vary": "accept",
}
_PIECE_BYTES: Final = 256 * 1024  # of a large result
_FOREVER: Final = "public, max-age=31536000, immutable"  # the build puts a hash into these names


class GraphQLEndpoint:
    """``/graphql``: POST and GET."""

    def __init__(self, operations: Operations, settings: ServerSettings, emit: Emit) -> None:
        self._operations = operations
        self._settings = settings
        self._emit = emit

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        media = JSON
        try:
            if self._wants_page(request):
                return FileResponse(UI / "index.html", headers=_PAGE_HEADERS)
            media = media_type(request)
            guard(request, self._operations.authenticator.cookies)
            session = await self._operations.authenticator.authenticate(_credentials(request))
            with RunningRequest(self._operations, session) as running:
                own = self._operations.limiter.of(session.role).message_bytes_max
                parameters = await parameters_of(request, own or self._settings().message_bytes_max)
                return await self._answer(parameters, media, running)
        except TooMany as too_many:
            return too_many_response(too_many, media)
        except RequestError as unknown:
            return _nobody(unknown, media)
        except Refused as refused:
            error = refused.error
            self._emit(
                RequestRefused("http", request.state.client_ip, refused.status, error.code, error.message)
            )
            return errors_response([error], refused.status, media, refused.headers)

    def _wants_page(self, request: Request) -> bool:
        accept = request.headers.get("accept", "")
        return (
            request.method in ("GET", "HEAD")
            and not {"query", "documentId", "extensions"} & request.query_params.keys()
            and "text/html" in accept
            and self._settings().graphiql
            and (UI / "index.html").exists()
        )

    async def _answer(self, parameters: dict[str, Any], media: str, running: RunningRequest) -> Response:
        # by the GraphQL-over-HTTP text a refused request is 400 in the new media type and 200 in the old, as Hasura's
        refused = 400 if media == GRAPHQL else 200
        activity = running.asks(self._emit, parameters["query"], parameters.get("operationName") or "")
        try:
            plan = self._operations.prepare(
                parameters["query"],
                parameters.get("operationName"),
                parameters.get("variables"),
                running.session,
            )
            running.name, running.plan = parameters.get("operationName") or "", plan
            if plan.subscription:
                hint = "connect to the same path with the subprotocol graphql-transport-ws"
                raise RequestError("not-supported", "subscriptions need a WebSocket", hint=hint)
            activity.began(plan)
            payload = await self._operations.query(plan, running.session, activity.count)
            activity.ended(COMPLETED, activity.rows)
            return _result(payload, media)
        except InvalidRequest as invalid:
            activity.refused(invalid.errors)
            return errors_response(invalid.errors, refused, media)
        except RequestError as error:
            activity.refused([error])
            if isinstance(error, TooMany):
                return too_many_response(error, media)
            return errors_response([error], refused, media)
        except Exception as error:
            unexpected = RequestError("unexpected", "internal error")
            activity.refused([unexpected])
            self._emit(OperationFailed("unexpected", "internal error", f"{type(error).__name__}: {error}"))
            return errors_response([unexpected], 500, media)


def _nobody(error: RequestError, media: str) -> Response:
    """Who asks is not known, or cannot be known for now."""
    if media != GRAPHQL:  # as Hasura: who reads the old media type reads the errors, not the status
        return errors_response([error], 200, media)
    if isinstance(error, Denied) and error.reason is Reason.UNAVAILABLE:
        return errors_response([error], 503, media, {"retry-after": "1"})
    return errors_response([error], 401, media, {"www-authenticate": "Bearer"})


def _result(payload: bytes, media: str) -> Response:
    if len(payload) <= _PIECE_BYTES:
        return Response(payload, 200, media_type=media)

    async def pieces() -> AsyncIterator[bytes]:
        # at the pace of the client: a transport copies all that it is given at once
        for at in range(0, len(payload), _PIECE_BYTES):
            yield payload[at : at + _PIECE_BYTES]

    return StreamingResponse(pieces(), 200, {"content-length": str(len(payload))}, media)


def _credentials(request: Request) -> Credentials:
    credentials = Credentials(request.headers.items(), transport="http", client_ip=request.state.client_ip)
    return credentials if request.state.cookies else credentials.without_cookies()


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
        response.headers["content-security-policy"] = _POLICY  # a worker is held to that of its own file
        if path.suffix == ".html":
            response.headers.update(_PAGE_HEADERS)
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
        if await operations.authenticator.is_admin(_credentials(request)):
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
