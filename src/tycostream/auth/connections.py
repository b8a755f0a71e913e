"""How many connections there are: in all, of an address, of a user."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Final

from tycostream.auth.counts import Counts
from tycostream.auth.session import Session
from tycostream.errors import TooMany

if TYPE_CHECKING:
    from tycostream.auth.limiter import Limiter

TURNED_AWAY_MAX: Final = 256  # connections that are told, in words, that they are too many


class Connections:
    """All that are open. One that was refused counts for nothing any more, but as ``turned_away`` until it is closed:
    it is told why when it asks for something.
    """

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self.open = 0
        self.turned_away = 0
        self.addresses = Counts()
        self.users = Counts()
        self._handed_over: dict[Hashable, Slot] = {}

    @property
    def crowded(self) -> bool:
        """Whether so many wait to be told that they are too many that the next one is not told."""
        return self.turned_away > TURNED_AWAY_MAX

    def enter(self) -> Slot:
        """A connection came in; refused if there are as many as may be."""
        slot = Slot(self)
        self.open += 1
        most = self.limiter.limits.connections
        if most is not None and self.open > most:
            said = f"the server has {most} connections"
            slot.refuse(TooMany("limit-exceeded", said, limit="connections", busy=True))
        return slot

    def hand_over(self, transport: Hashable, slot: Slot) -> None:
        """A socket goes from one protocol to another in this step; ``take`` is called next."""
        self._handed_over[transport] = slot

    def take(self, transport: Hashable) -> Slot:
        """The place of a socket that was handed over; a new one, if it was not."""
        return self._handed_over.pop(transport, None) or self.enter()


class Slot:
    """One connection's place. What it counts for is told as it becomes known; each may be what refuses it."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._address: Hashable = None
        self._user: Hashable = None
        self._left = False
        self.refusal: TooMany | None = None

    def comes_from(self, address: Hashable) -> None:
        """The address it comes from, as ``limiter.network`` has it; refused if that has as many as it may."""
        limiter, counts = self._connections.limiter, self._connections.addresses
        if self._gone or address == self._address:
            return
        most = limiter.limits.connections_per_ip
        if most is not None and counts.of(address) >= most:
            said = f"an address may have {most} connections"
            self.refuse(TooMany("limit-exceeded", said, limit="connections_per_ip", advice="close some"))
            return
        if self._address is not None:
            counts.remove(self._address)
        counts.add(address)
        self._address = address

    def belongs_to(self, session: Session) -> None:
        """Whose it is, by its session, or by another one that it has now; refused if he has as many as he may."""
        limiter, counts = self._connections.limiter, self._connections.users
        user = limiter.client(session)
        if self._gone or user == self._user:
            return
        most = limiter.of(session.role).connections_per_user
        if most is not None and counts.of(user) >= most:
            said = f"a user may have {most} connections"
            error = TooMany("limit-exceeded", said, limit="connections_per_user", advice="close some")
            self.refuse(error, session.role)
            return
        if self._user is not None:
            counts.remove(self._user)
        counts.add(user)
        self._user = user

    @property
    def _gone(self) -> bool:
        return self._left or self.refusal is not None

    def refuse(self, error: TooMany, role: str = "") -> None:
        """It is too many: it counts no more, and ``refusal`` says why."""
        self._release()
        self._connections.turned_away += 1
        self.refusal = self._connections.limiter.refused(error, role)

    def leave(self) -> None:
        """It is closed. Idempotent."""
        if self._left:
            return
        if self.refusal is None:
            self._release()
        else:
            self._connections.turned_away -= 1
        self._left = True

    def _release(self) -> None:
        self._connections.open -= 1
        if self._address is not None:
            self._connections.addresses.remove(self._address)
        if self._user is not None:
            self._connections.users.remove(self._user)
