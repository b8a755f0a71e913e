"""Somebody is to see nothing any more: his sessions end, and his tokens are good no more."""

from __future__ import annotations

import asyncio
from typing import Final

from tycostream.admin.answers import RevokedAnswer, RevokeRequest
from tycostream.auth.authenticator import Authenticator
from tycostream.auth.credentials import PREFIX
from tycostream.auth.denylist import concerns
from tycostream.auth.revocations import CONNECTION_S
from tycostream.auth.session import time_text
from tycostream.errors import RequestError
from tycostream.live.clients import Clients
from tycostream.observe.events import Emit, OperationFailed
from tycostream.state.revocations import About, Revocation

_TEXT_MAX: Final = 1024


class Revoking:
    """What ``/v1/admin/revoke`` does."""

    def __init__(self, authenticator: Authenticator, clients: Clients, emit: Emit) -> None:
        self._authenticator = authenticator
        self._clients = clients
        self._emit = emit
        self._following: set[asyncio.Task[None]] = set()
        authenticator.revocations.told = self._end

    async def revoke(self, request: RevokeRequest) -> RevokedAnswer:
        """Revoke; RequestError if the request says nobody in particular, StateError if it cannot be written down."""
        about = _about(request)
        revocations, tokens = self._authenticator.revocations, self._authenticator.tokens
        api = 0
        if tokens is not None and not about.connection:
            # for good, where the list would forget them
            api = len(await tokens.revoke_where(lambda session: concerns(about, session)))
        keep_s = self._authenticator.keep_s
        if about.connection:
            keep_s = CONNECTION_S
        elif about.token:
            keep_s = self._left_s(about, keep_s)
        ended = len(self._clients.concerned(about))
        revocation, _ = await revocations.revoke(about, keep_s)
        return RevokedAnswer(
            revocation.id, ended, api, time_text(revocation.until_s), shared=revocations.shared
        )

    def _left_s(self, about: About, keep_s: float) -> float:
        """How long a token is good still, if somebody shows it now."""
        ends = [session.expires_at_s for _, _, session in self._clients.concerned(about)]
        known = [end for end in ends if end is not None]
        return max(known) - self._authenticator.now_s + 1 if known and len(known) == len(ends) else keep_s

    def _end(self, revocation: Revocation) -> int:
        """End the sessions that are there. The token of a connection that is ended is revoked with it."""
        found = self._clients.concerned(revocation.about)
        for number, client, session in found:
            try:
                client.revoke()
            except Exception as error:  # of one client: the others must end all the same
                self._failed(error)
            if revocation.about.connection and session.token is not None:
                work = self._revoke_token(session.token.id, session.expires_at_s, number)
                task = asyncio.get_running_loop().create_task(work, name="revoke a token")
                self._following.add(task)
                task.add_done_callback(self._following.discard)
        return len(found)

    async def _revoke_token(self, token: str, expires_at_s: float | None, connection: str) -> None:
        authenticator = self._authenticator
        try:
            if authenticator.tokens is not None and await authenticator.tokens.revoke([token]):
                return
            keep_s = authenticator.keep_s if expires_at_s is None else expires_at_s - authenticator.now_s + 1
            await authenticator.revocations.revoke(About(token), keep_s, number=f"{connection}/{token}"[:300])
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._emit(OperationFailed("unexpected", "internal error", f"{type(error).__name__}: {error}"))

    async def close(self) -> None:
        """Finish what is under way."""
        if self._following:
            await asyncio.wait(self._following)


def _about(request: RevokeRequest) -> About:
    variables = {}
    for name, text in request.variables.items():
        lower = name.lower()
        if not lower.startswith(PREFIX) or len(lower) == len(PREFIX):
            raise RequestError(
                "bad-request", f"{name[:80]!r} is no session variable", hint='"x-hasura-org-id": "7"'
            )
        variables[lower.removeprefix(PREFIX)] = text
    about = About(request.token, request.user, request.role, request.connection, variables)
    if about == About():
        raise RequestError("bad-request", "say whose: token, user, role, variables or connection")
    texts = (about.token, about.user, about.role, about.connection, *variables, *variables.values())
    if any(len(text) > _TEXT_MAX for text in texts) or len(variables) > 100:
        raise RequestError("bad-request", f"a text of more than {_TEXT_MAX} characters, or too many of them")
    return about
