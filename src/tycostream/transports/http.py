"""GraphQL over HTTP, health, and the pages: a Starlette application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from tycostream import __version__
from tycostream.auth.credentials import Credentials
from tycostream.auth.session import Session
from tycostream.config.model import ServerSettings
from tycostream.errors import RequestError
from tycostream.graphql.execute import InvalidRequest
from tycostream.live.operations import Operations
from tycostream.observe.events import Emit, OperationFailed
from tycostream.transports.door import Door
from tycostream.transports.responses import GRAPHQL, JSON, errors_response

_DECODER = msgspec.json.Decoder(float_hook=Decimal)
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


class _Refused(Exception):
    """A request that HTTP itself refuses."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


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
            media = _media_type(request)
            session = await self._operations.authenticator.authenticate(_credentials(request))
            parameters = await self._parameters(request)
            return await self._answer(parameters, media, session)
        except RequestError as unknown:
            # as Hasura: who reads the old media type reads the errors, not the status
            status, headers = (401, {"www-authenticate": "Bearer"}) if media == GRAPHQL else (200, None)
            return errors_response([unknown], status, media, headers)
        except _Refused as refused:
            error = RequestError("bad-request", refused.message)
            return errors_response([error], refused.status, media, refused.headers)
        except ClientDisconnect:
            return Response(status_code=499)

    def _wants_page(self, request: Request) -> bool:
        accept = request.headers.get("accept", "")
        return (
            request.method in ("GET", "HEAD")
            and "query" not in request.query_params
            and "text/html" in accept
            and self._settings().graphiql
            and (UI / "index.html").exists()
        )

    async def _parameters(self, request: Request) -> dict[str, Any]:
        if request.method == "POST":
            content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if content_type != JSON:  # a form of another site can post anything but this without asking
                raise _Refused(415, f"POST a body of type {JSON}, not {content_type[:80] or 'none'}")
            body = await self._body(request)
            parameters = _decoded(body, "the body")
            if isinstance(parameters, list):
                raise _Refused(400, "batches are not supported: send one operation a request")
        else:
            parameters = dict(request.query_params)
            for name in ("variables", "extensions"):
                if name in parameters:
                    parameters[name] = _decoded(parameters[name].encode(), name)
        if not isinstance(parameters, dict):
            raise _Refused(400, "the body is not a JSON object")
        for name, kind in (("query", str), ("operationName", str), ("variables", dict), ("extensions", dict)):
            if parameters.get(name) is not None and not isinstance(parameters[name], kind):
                raise _Refused(400, f"{name} is not {'a string' if kind is str else 'an object'}")
        if not parameters.get("query"):
            raise _Refused(400, "the query is missing")
        return parameters

    async def _body(self, request: Request) -> bytes:
        limit = self._settings().message_bytes_max
        chunks, size = [], 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise _Refused(413, f"the body has more than {limit} bytes", {"connection": "close"})
            chunks.append(chunk)
        return b"".join(chunks)

    async def _answer(self, parameters: dict[str, Any], media: str, session: Session) -> Response:
        # by the GraphQL-over-HTTP text a refused request is 400 in the new media type and 200 in the old, as Hasura's
        refused = 400 if media == GRAPHQL else 200
        try:
            plan = self._operations.prepare(
                parameters["query"], parameters.get("operationName"), parameters.get("variables"), session
            )
            if plan.subscription:
                hint = "connect to the same path with the subprotocol graphql-transport-ws"
                raise RequestError("not-supported", "subscriptions need a WebSocket", hint=hint)
            return _result(await self._operations.query(plan), media)
        except InvalidRequest as invalid:
            return errors_response(invalid.errors, refused, media)
        except RequestError as error:
            return errors_response([error], refused, media)
        except Exception as error:
            self._emit(OperationFailed("unexpected", "internal error", f"{type(error).__name__}: {error}"))
            return errors_response([RequestError("unexpected", "internal error")], 500, media)


def _result(payload: bytes, media: str) -> Response:
    if len(payload) <= _PIECE_BYTES:
        return Response(payload, 200, media_type=media)

    async def pieces() -> AsyncIterator[bytes]:
        # at the pace of the client: a transport copies all that it is given at once
        for at in range(0, len(payload), _PIECE_BYTES):
            yield payload[at : at + _PIECE_BYTES]

    return StreamingResponse(pieces(), 200, {"content-length": str(len(payload))}, media)


def _credentials(request: Request) -> Credentials:
    credentials = Credentials(request.headers.items())
    return credentials if request.state.cookies else credentials.without_cookies()


def _decoded(text: bytes, name: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError, ArithmeticError):
        raise _Refused(400, f"{name} is not valid JSON") from None


def _media_type(request: Request) -> str:
    accept = request.headers.get("accept", "*/*").lower()
    if GRAPHQL in accept:
        return GRAPHQL
    if JSON in accept or "*/*" in accept or "application/*" in accept or not accept.strip():
        return JSON
    if request.method == "GET" and "text/html" in accept:
        return JSON
    raise _Refused(406, f"this server answers with {GRAPHQL} or {JSON}")


async def _is_admin(operations: Operations, request: Request) -> bool:
    try:
        return (await operations.authenticator.authenticate(_credentials(request))).admin
    except RequestError:
        return False


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


def make_app(
    operations: Operations,
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
        if await _is_admin(operations, request):
            known["sources"] = sources
        body = msgspec.json.encode(known)
        return Response(body, 200 if ready else 503, media_type=JSON)

    async def version(_: Request) -> Response:
        return Response(msgspec.json.encode({"version": __version__}), media_type=JSON)

    async def root(_: Request) -> Response:
        return RedirectResponse(home)

    async def example_documents(_: Request) -> Response:
        return Response(msgspec.json.encode(list(examples)), media_type=JSON)

    routes: list[BaseRoute] = [
        Route("/", root),
        Route("/graphql", endpoint.answer, methods=["GET", "POST"]),
        Route("/v1/graphql", endpoint.answer, methods=["GET", "POST"]),
        Route("/graphiql-examples.json", example_documents),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/v1/version", version),
        *extra_routes,
    ]
    if UI.exists():
        routes.append(Mount("/graphiql", _Pages(settings), name="graphiql"))
    return Starlette(routes=routes, middleware=[Middleware(Door, settings, emit)])
