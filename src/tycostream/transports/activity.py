"""What one operation of a client tells while it lives: that it was refused, or began and ended."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Final

from tycostream.auth.session import Session
from tycostream.errors import RequestError
from tycostream.graphql.plan import Plan, kind_of, sources_of
from tycostream.graphql.trusted import DocumentId, document_hash
from tycostream.observe.events import Asked, Emit, OperationEnded, OperationRefused, OperationStarted

_numbers: Final = itertools.count(1)


class Activity:
    """One operation, from its request on. ``now`` gives seconds, of whatever clock."""

    def __init__(
        self,
        emit: Emit,
        now: Callable[[], float],
        *,
        connection: str,
        transport: str,
        client_ip: str,
        session: Session,
        query: str | DocumentId,
        name: str,
    ) -> None:
        self._emit = emit
        self._now = now
        document = query.sha256 if isinstance(query, DocumentId) else document_hash(query)
        token = session.token.id if session.token is not None else ""
        self._asked = Asked(
            connection, transport, client_ip, session.role, session.user, token, name, document
        )
        self._number = 0  # None has it: it has not begun
        self._since_s = 0.0
        self._kind = ""
        self._sources: tuple[str, ...] = ()
        self._ended = False
        self.rows = 0  # sent, of what is answered at once

    def began(self, plan: Plan) -> None:
        """It is planned, and runs."""
        self._number = next(_numbers)
        self._since_s = self._now()
        self._kind, self._sources = kind_of(plan), sources_of(plan)
        self._emit(OperationStarted(self._number, self._asked, self._kind, self._sources))

    def count(self, rows: int) -> None:
        """So many rows are in its answer."""
        self.rows = rows

    def refused(self, errors: Sequence[RequestError]) -> None:
        """It is over by an error: refused, if it had not begun."""
        error = errors[0]
        if self._number:
            self.ended(error.code, 0)
        else:
            self._emit(OperationRefused(self._asked, error.code, error.message, error.path))

    def ended(self, reason: str, rows: int) -> None:
        """It is over. Only the first time counts."""
        if self._number and not self._ended:
            self._ended = True
            seconds = round(max(0.0, self._now() - self._since_s), 6)  # the time of day may be set
            self._emit(
                OperationEnded(self._number, self._asked, self._kind, self._sources, reason, rows, seconds)
            )
