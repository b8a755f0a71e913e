"""``/v1/admin``: who is connected, the end of it, and how the server is. For admins alone, and never open to the world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tycostream.admin.administration import Administration
from tycostream.admin.answers import RevokeRequest
from tycostream.admin.sessions import PAGE_MAX, Wanted
from tycostream.auth.credentials import Credentials
from tycostream.auth.denied import Denied, Reason
from tycostream.config.loopback import is_loopback
from tycostream.config.model import ServerSettings
from tycostream.errors import RequestError, StateError, TooMany
from tycostream.observe.events import Emit, OperationFailed, RequestRefused
from tycostream.transports.graphql_request import Refused, body_of, guard
from tycostream.transports.responses import JSON, errors_response, too_many_response

_NAMES: Final = frozenset(each.name for each in fields(Wanted))
_DECODER: Final = msgspec.json.Decoder(RevokeRequest)


class AdminEndpoint:
    """The handlers. Each asks first who it is; an answer is never kept by anybody on its way."""

    def __init__(self, admin: Administration, settings: ServerSettings, emit: Emit) -> None:
        self._admin = admin
        self._settings = settings
        self._emit = emit

    def routes(self) -> list[BaseRoute]:
        """Where they are."""
        return [
            Route("/v1/admin/sessions", self.sessions, methods=["GET"]),
            Route("/v1/admin/state", self.state, methods=["GET"]),
            Route("/v1/admin/revoke", self.revoke, methods=["POST"]),
        ]

    async def sessions(self, request: Request) -> Response:
        """GET, with the fields of Wanted as parameters."""
        return await self._answered(request, self._sessions)

    async def state(self, request: Request) -> Response:
        """GET."""
        return await self._answered(request, self._state)

    async def revoke(self, request: Request) -> Response:
        """POST of a RevokeRequest."""
        return await self._answered(request, self._revoke)

    async def _answered(self, request: Request, answer: Any) -> Response:
        try:
            guard(request, self._admin.authenticator.cookies)
            await self._expect_admin(request)
            body = msgspec.json.encode(await answer(request))
            return Response(body, media_type=JSON)  # the door says no-store
        except Refused as refused:
            return self._refused(request, refused.status, refused.error, refused.headers)
        except StateError as error:
            said = RequestError("state-unavailable", error.message, hint=error.hint)
            return errors_response([said], 503, JSON, {"retry-after": "1"})
        except TooMany as error:
            return too_many_response(error)
        except RequestError as error:
            return self._refused(request, 400, error)
        except Exception as error:
            self._emit(OperationFailed("unexpected", "internal error", f"{type(error).__name__}: {error}"))
            return errors_response([RequestError("unexpected", "internal error")], 500)

    def _refused(
        self, request: Request, status: int, error: RequestError, headers: Mapping[str, str] | None = None
    ) -> Response:
        self._emit(RequestRefused("admin", request.state.client_ip, status, error.code, error.message))
        return errors_response([error], status, JSON, headers)

    async def _expect_admin(self, request: Request) -> None:
        """Refused unless an admin asks; without ``auth`` that is who asks from this machine of a server for it alone."""
        authenticator = self._admin.authenticator
        if authenticator.open:
            if is_loopback(self._settings().host) and is_loopback(request.state.client_ip):
                return
            said = "without `auth` the admin API is for this machine alone"
            raise Refused(403, RequestError("access-denied", said, hint="configure `auth`: docs/auth.md"))
        credentials = Credentials(
            request.headers.items(), transport="admin", client_ip=request.state.client_ip
        )
        try:
            session = await authenticator.authenticate(
                credentials if request.state.cookies else credentials.without_cookies()
            )
        except Denied as denied:
            if denied.reason is Reason.UNAVAILABLE:
                raise Refused(503, denied, {"retry-after": "1"}) from None
            raise Refused(401, denied, {"www-authenticate": "Bearer"}) from None
        except TooMany:
            raise
        except RequestError as error:
            raise Refused(401, error, {"www-authenticate": "Bearer"}) from None
        if not session.admin:
            raise Refused(403, RequestError("access-denied", "this is for the role admin alone"))

    async def _sessions(self, request: Request) -> Any:
        given: dict[str, Any] = {}
        for name, value in request.query_params.multi_items():
            if name not in _NAMES or name in given:
                known = ", ".join(sorted(_NAMES))
                raise RequestError(
                    "bad-request", f"the parameter {name[:80]!r} is not known, or twice there: {known}"
                )
            given[name] = value
        if "limit" in given:
            limit = given["limit"]
            short = limit.isascii() and limit.isdecimal() and len(limit) <= len(str(PAGE_MAX))
            if not short or not 0 < int(limit) <= PAGE_MAX:
                raise RequestError("bad-request", f"limit is a number from 1 to {PAGE_MAX}")
            given["limit"] = int(limit)
        return self._admin.sessions(Wanted(**given))

    async def _state(self, _: Request) -> Any:
        return self._admin.state()

    async def _revoke(self, request: Request) -> Any:
        body = await body_of(request, self._settings().message_bytes_max)
        try:
            wanted = _DECODER.decode(body)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            # what it says names fields and types, never values
            raise RequestError("bad-request", f"the body is no revocation: {error}"[:300]) from None
        return await self._admin.revoke(wanted)
