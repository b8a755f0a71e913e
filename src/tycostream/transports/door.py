"""What every HTTP request meets first: whose it is by its address, whether its page may ask, and what its answer carries.

An ASGI application around the others. Handlers find the client's address at ``request.state.client_ip``, and whether
cookies count at ``request.state.cookies``.
"""

from __future__ import annotations

import contextlib
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tycostream.auth.limiter import Limiter
from tycostream.config.door import CorsConfig
from tycostream.config.model import ServerSettings
from tycostream.errors import RequestError, TooMany
from tycostream.observe.events import Emit, RequestRefused
from tycostream.transports.caller import caller
from tycostream.transports.origin import Verdict, allowed_headers, judge
from tycostream.transports.responses import errors_response, too_many_response

# What an answer carries if it says nothing else: it is no page, is in no frame, and no other site's page may embed it.
_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),  # for browsers that do not know frame-ancestors
    (b"cache-control", b"no-store"),
)
_TLS_HEADERS: Final = (*_HEADERS, (b"strict-transport-security", b"max-age=31536000"))
_FOR_ALL: Final = ("/healthz",)  # says nothing but that the process is there
# Besides what pages of other origins may read anyway.
_EXPOSED: Final = b"Retry-After, WWW-Authenticate"


class Door:
    """Looks at each request, refuses those of pages that may not ask, and answers preflights."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, limiter: Limiter, emit: Emit) -> None:
        self._app = app
        self._settings = settings
        self._limiter = limiter
        self._emit = emit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        server = self._settings()
        headers = Headers(scope=scope)
        peer = scope.get("client")
        who = caller(peer[0] if peer else None, headers.items(), server)
        secure = scope.get("scheme") == "https"
        verdict = judge(
            headers.getlist("host"), headers.getlist("origin"), server, secure=secure, proxied=who.proxied
        )
        scope.setdefault("state", {}).update(client_ip=who.ip, cookies=verdict.cookies)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = raw = list(message.get("headers", ()))
                _dress(raw, verdict, server.cors, secure=secure)
            await send(message)

        app, refusal = self._app, None
        if scope["path"] not in _FOR_ALL:
            refusal = self._refusal(scope, who.ip, verdict, server.cors)
        if refusal is not None:
            app = refusal
        elif scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            app = _preflight(headers.get("access-control-request-headers", ""), verdict, server.cors)
        with contextlib.suppress(
            ClientDisconnect
        ):  # it left while its body was read: nobody is there to tell
            await app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, client_ip: str, verdict: Verdict, cors: CorsConfig) -> Response | None:
        try:
            self._limiter.request(client_ip)
        except TooMany as error:
            return too_many_response(error)
        said = verdict.refusal or _method_refusal(verdict, scope["method"], cors)
        if said is None:
            return None
        refused = RequestError("origin-not-allowed", said)
        self._emit(RequestRefused("http", client_ip, 403, refused.code, refused.message))
        return errors_response([refused], 403)


def _method_refusal(verdict: Verdict, method: str, cors: CorsConfig) -> str | None:
    if verdict.origin is None or method in (*cors.methods, "OPTIONS"):
        return None
    return f"pages of {verdict.origin[:80]!r} may not use {method}; server.cors.methods can allow it"


def _preflight(requested: str, verdict: Verdict, cors: CorsConfig) -> Response:
    """What a browser wants to know before it sends a page's request; the rest of it is in every answer."""
    answer = Response(status_code=204)
    if verdict.origin is not None:
        answer.headers["access-control-allow-methods"] = ", ".join(cors.methods)
        answer.headers["access-control-max-age"] = str(int(cors.max_age.total_seconds()))
        if allowed := allowed_headers(requested, cors):
            answer.headers["access-control-allow-headers"] = ", ".join(allowed)
    answer.headers["vary"] = "Access-Control-Request-Method, Access-Control-Request-Headers"
    return answer


def _dress(raw: list[tuple[bytes, bytes]], verdict: Verdict, cors: CorsConfig, *, secure: bool) -> None:
    """The headers that every answer has, where it does not say otherwise itself. ``raw``: names in lower case."""
    named = {name for name, _ in raw}
    raw += [pair for pair in (_TLS_HEADERS if secure else _HEADERS) if pair[0] not in named]
    if b"vary" in named:
        MutableHeaders(raw=raw).add_vary_header("Origin")
    else:
        raw.append((b"vary", b"Origin"))
    if verdict.origin is None or verdict.refusal is not None:
        return
    raw.append((b"access-control-allow-origin", verdict.origin.encode("latin-1")))
    if cors.credentials:
        raw.append((b"access-control-allow-credentials", b"true"))
    raw.append((b"access-control-expose-headers", _EXPOSED))
