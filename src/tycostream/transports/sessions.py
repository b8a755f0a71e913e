"""Who a connection's client is: asked when it greets, asked again when it shows new credentials, until its session ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from tycostream.auth.authenticator import Authenticator
from tycostream.auth.credentials import Credentials, of_payload
from tycostream.auth.denied import Denied, Reason
from tycostream.auth.expiry import Expiry
from tycostream.auth.session import Session, time_text
from tycostream.errors import RequestError, TooMany
from tycostream.live.framing import Sink
from tycostream.observe.events import Emit, OperationFailed

_SHOWN: Final = "headers"  # what a ping's payload holds if it is to refresh the session


def changed_session() -> RequestError:
    """An operation was planned for what its client may see no more, or not in this way."""
    return RequestError(
        "session-changed",
        "the session that this operation was started with is another one now",
        hint="subscribe again: it is planned for the new session",
    )


class ClientSession:
    """The session of one connection. ``session`` is of nobody until ``greet`` has told that it is known.

    When it ends the connection is closed: its operations end with it, and the client may come back with a new token.
    """

    def __init__(self, authenticator: Authenticator, sink: Sink, emit: Emit, headers: Credentials) -> None:
        """``headers``: of the upgrade, for what the client's messages do not hold."""
        self._authenticator = authenticator
        self._sink = sink
        self._emit = emit
        self._headers = headers
        self.session = Session(client_ip=headers.client_ip)
        self.known = False
        self._asking: asyncio.Task[None] | None = None
        self._unwatch: Callable[[], None] | None = None
        self._unwatch_token: Callable[[], None] = _nothing
        self._expiry: Expiry | None = None
        self._ended = False

    def greet(self, payload: Mapping[str, object], known: Callable[[], None]) -> None:
        """Ask who ``connection_init`` shows; ``known`` is called when that is somebody, else the connection is closed."""
        if self._authenticator.open:
            self.known = True
            known()
            return
        # before the question: what is asked by rules that are void meanwhile must not be let in
        self._unwatch = self._authenticator.watch(self._void)
        self._asking = asyncio.get_running_loop().create_task(self._greet(payload, known))

    async def _greet(self, payload: Mapping[str, object], known: Callable[[], None]) -> None:
        try:
            session = await self._authenticate(payload)
        except RequestError as error:
            self._asking = None
            if isinstance(error, Denied) and error.reason is Reason.UNAVAILABLE:
                self._sink.abort(1013, f"Try again later: {error.message}")
            elif isinstance(error, TooMany):
                self._sink.abort(4429, error.message)
            else:
                self._sink.abort(4403, f"Forbidden: {error.message}")
        except Exception as error:
            self._asking = None
            self._failed(error)
            self._sink.abort(1011, "internal error")
        else:
            self._asking = None
            self.known = True
            self._take(session)
            known()

    def refresh(
        self,
        payload: Mapping[str, object],
        changed: Callable[[Session], None],
        answer: Callable[[Mapping[str, object]], None],
    ) -> bool:
        """Take on the credentials in a ping's ``payload``; False if there are none, and it is an ordinary ping.

        ``changed`` is called with the session of before when there is another one; ``answer`` with what came of it, in
        every case. A refusal leaves the session as it was, until it ends by itself.
        """
        if not isinstance(payload.get(_SHOWN), Mapping):
            return False
        if self._authenticator.open:
            answer(self._came_of(None))
        elif not self.known or self._asking is not None:
            waits = "a refresh is under way" if self.known else "the connection is not acknowledged"
            answer(self._came_of(RequestError("bad-request", f"{waits}: wait for its answer")))
        else:
            work = self._refresh(payload, changed, answer)
            self._asking = asyncio.get_running_loop().create_task(work)
        return True

    async def _refresh(
        self,
        payload: Mapping[str, object],
        changed: Callable[[Session], None],
        answer: Callable[[Mapping[str, object]], None],
    ) -> None:
        refused: RequestError | None = None
        try:
            session = await self._authenticate(payload)
            before = self.session
            if before.user and session.user != before.user:
                # what is counted and written down of a connection is its first user's
                said = "a refresh may not change the user: open another connection"
                raise RequestError("access-denied", said)
            self._take(session)
            changed(before)
        except RequestError as error:
            refused = error
        except Exception as error:
            self._failed(error)
            refused = RequestError("unexpected", "internal error")
        finally:
            self._asking = None
        if not self._ended:
            answer(self._came_of(refused))

    def _came_of(self, refused: RequestError | None) -> Mapping[str, object]:
        until = {"expires_at": time_text(self.session.expires_at_s)}
        if refused is None:
            return {"authenticated": True, **until}
        return {"authenticated": False, **until, "error": refused.to_graphql()}

    async def _authenticate(self, payload: Mapping[str, object]) -> Session:
        return await self._authenticator.authenticate(of_payload(payload).over(self._headers))

    def _failed(self, error: Exception) -> None:
        self._emit(OperationFailed("unexpected", "internal error", f"{type(error).__name__}: {error}"))

    def _take(self, session: Session) -> None:
        if self._ended:
            return
        self.session = session
        former, self._expiry = self._expiry, None
        if session.expires_at_s is not None:
            self._expiry = self._authenticator.expiries.at(session.expires_at_s, self._expired)
        if former is not None:
            former.cancel()
        self._unwatch_token()
        self._unwatch_token = self._authenticator.watch_token(session, self._revoked)

    def _expired(self) -> None:
        self._sink.abort(4403, "Forbidden: the token has expired")

    def _revoked(self) -> None:
        self._sink.abort(4403, "Forbidden: the token was revoked")

    def revoke(self) -> None:
        """Somebody revoked it."""
        self._sink.abort(4403, "Forbidden: the session was revoked")

    def _void(self) -> None:
        self._sink.abort(1012, "authentication was configured anew: connect again")

    def end(self) -> None:
        """The connection has ended. Idempotent."""
        self._ended = True
        if self._asking is not None:
            self._asking.cancel()
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        self._unwatch_token()
        self._unwatch_token = _nothing
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None


def _nothing() -> None:
    """What ends a watch that was never begun."""
