"""GraphQL over HTTP: a query has an answer, a subscription a stream of events. GraphiQL for a browser that asks nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from tycostream.auth.credentials import Credentials
from tycostream.auth.denied import Denied, Reason, unavailable
from tycostream.config.model import ServerSettings
from tycostream.errors import RequestError, TooMany
from tycostream.graphql.execute import InvalidRequest
from tycostream.graphql.plan import Plan
from tycostream.live.operations import Operations
from tycostream.live.subscriber import COMPLETED
from tycostream.observe.events import Emit, OperationFailed, RequestRefused
from tycostream.transports.activity import Activity
from tycostream.transports.event_stream import TRANSPORT, EventStream
from tycostream.transports.event_stream_socket import EventStreamResponse, EventStreamSocket
from tycostream.transports.graphql_request import Accepted, Refused, accepted, guard, parameters_of
from tycostream.transports.http_protocol import HttpShell
from tycostream.transports.requests import RunningRequest
from tycostream.transports.responses import (
    GRAPHQL,
    JSON,
    errors_response,
    pieces_response,
    too_many_response,
)
from tycostream.transports.wire.sse import (
    CHUNKED,
    EVENT_STREAM,
    HEADERS,
    LAST_EVENT_ID,
    PLAIN,
    answer_events,
    errors_events,
)

UI: Final = Path(__file__).with_name("ui") / "graphiql"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; worker-src 'self' blob:; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
PAGE_HEADERS: Final = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",  # it names files of one version; and the same address answers JSON to others
    "vary": "accept",
}


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
                return FileResponse(UI / "index.html", headers=PAGE_HEADERS)
            wanted = accepted(request)
            media = wanted.media
            authenticator = self._operations.authenticator
            guard(request, authenticator.cookies)
            transport = TRANSPORT if wanted.only_stream else "http"
            era = authenticator.era
            session = await authenticator.authenticate(credentials_of(request, transport))
            with RunningRequest(self._operations, session, _socket(request), transport) as running:
                own = self._operations.limiter.of(session.role).message_bytes_max
                parameters = await parameters_of(request, own or self._settings().message_bytes_max)
                return await self._answer(request, parameters, wanted, running, era)
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

    async def _answer(
        self,
        request: Request,
        parameters: dict[str, Any],
        wanted: Accepted,
        running: RunningRequest,
        era: int,
    ) -> Response:
        query, name = parameters["query"], parameters.get("operationName")
        activity = running.asks(self._emit, query, name or "")
        after = request.headers.get(LAST_EVENT_ID) if wanted.stream else None
        try:
            plan = self._operations.prepare(
                query, name, parameters.get("variables"), running.session, after or None
            )
            running.name, running.plan = name or "", plan
            if plan.subscription:
                if request.method == "HEAD" and wanted.stream:
                    return _events([])
                activity = running.asks(self._emit, query, running.name, TRANSPORT)
                return self._stream(request, plan, wanted, running, activity, era)
            activity.began(plan)
            payload = await self._operations.query(plan, running.session, activity.count)
            activity.ended(COMPLETED, activity.rows)
            return (
                _events(answer_events(payload))
                if wanted.only_stream
                else pieces_response([payload], wanted.media)
            )
        except InvalidRequest as invalid:
            return _refused(invalid.errors, wanted, activity)
        except RequestError as error:
            return _refused([error], wanted, activity)
        except Exception as error:
            unexpected = RequestError("unexpected", "internal error")
            self._emit(OperationFailed("unexpected", "internal error", f"{type(error).__name__}: {error}"))
            return _refused([unexpected], wanted, activity, 500)

    def _stream(
        self,
        request: Request,
        plan: Plan,
        wanted: Accepted,
        running: RunningRequest,
        activity: Activity,
        era: int,
    ) -> Response:
        socket = _socket(request)
        if not wanted.stream or socket is None:
            hint = f"accept {EVENT_STREAM}, or connect to the same path with the subprotocol graphql-transport-ws"
            said = "subscriptions need a WebSocket, or a client that accepts a stream of events"
            raise RequestError("not-supported", said, hint=hint)
        if era != self._operations.authenticator.era:  # while its body came
            raise unavailable("authentication was configured anew")
        framing = CHUNKED if socket.reserve(request.state.client_ip, running.session) else PLAIN
        config = socket.settings
        stream = EventStream(self._operations, running, plan, activity, self._emit, framing, config)
        events = EventStreamSocket(
            stream, socket.clock, self._emit, config, reconnecting=request.method == "GET"
        )
        return EventStreamResponse(stream, events, socket)


def _socket(request: Request) -> HttpShell | None:
    """What the request came by; None where another server than ours runs the application."""
    found = request.scope["state"].get("socket")
    return found if isinstance(found, HttpShell) else None


def _events(pieces: Sequence[bytes]) -> Response:
    return pieces_response(pieces, EVENT_STREAM, HEADERS)


def _refused(
    errors: Sequence[RequestError], wanted: Accepted, activity: Activity, status: int | None = None
) -> Response:
    """What an operation that was understood, and is not answered, comes to; ``status``: unless its errors say it."""
    activity.refused(errors)
    if isinstance(errors[0], TooMany):
        return too_many_response(errors[0], wanted.media)
    if wanted.only_stream:  # a browser shows no page the body of another answer than 200
        return _events([errors_events(errors)])
    # by the GraphQL-over-HTTP text a refused request is 400 in the new media type and 200 in the old, as Hasura's
    return errors_response(errors, status or (400 if wanted.media == GRAPHQL else 200), wanted.media)


def _nobody(error: RequestError, media: str) -> Response:
    """Who asks is not known, or cannot be known for now."""
    if media != GRAPHQL:  # as Hasura: who reads the old media type reads the errors, not the status
        return errors_response([error], 200, media)
    if isinstance(error, Denied) and error.reason is Reason.UNAVAILABLE:
        return errors_response([error], 503, media, {"retry-after": "1"})
    return errors_response([error], 401, media, {"www-authenticate": "Bearer"})


def credentials_of(request: Request, transport: str = "http") -> Credentials:
    """What a request shows; of a page that may not come with cookies, without them."""
    credentials = Credentials(request.headers.items(), transport=transport, client_ip=request.state.client_ip)
    return credentials if request.state.cookies else credentials.without_cookies()
