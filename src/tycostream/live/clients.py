"""Everybody who is connected: who that is, what runs for him, and the end of it if it is revoked."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tycostream.auth.denylist import concerns
from tycostream.auth.session import Session
from tycostream.graphql.plan import Plan, kind_of, sources_of
from tycostream.live.subscriber import Told
from tycostream.state.revocations import About


@dataclass(frozen=True, slots=True)
class RunningOperation:
    """One operation of a client, as it is now. ``kind``: query, live, feed or stream; ``since_s``: seconds since 1970."""

    id: str
    name: str
    kind: str
    sources: Sequence[str]
    since_s: float
    told: Told
    waiting: bool


def running_operation(
    number: str, name: str, plan: Plan, since_s: float, told: Told, *, waiting: bool
) -> RunningOperation:
    """One that runs by ``plan``."""
    return RunningOperation(number, name, kind_of(plan), sources_of(plan), since_s, told, waiting)


class Client(Protocol):
    """A connection, or a request that is answered."""

    transport: str
    client_ip: str
    since_s: float

    @property
    def session(self) -> Session | None:
        """Who it is; None while that is asked."""

    @property
    def unsent_bytes(self) -> int:
        """What was written for it and has not left this machine."""

    def operations(self) -> Iterator[RunningOperation]:
        """What runs for it."""

    def revoke(self) -> None:
        """Its session was revoked: end it."""


class Clients:
    """The clients of this process, in the order in which they came."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(4)  # others have clients too
        self._count = 0
        self._clients: dict[str, Client] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def enter(self, client: Client) -> str:
        """A client came; gives its id, which no other ever has."""
        self._count += 1
        number = f"{self._prefix}-{self._count}"
        self._clients[number] = client
        return number

    def replace(self, number: str, client: Client) -> None:
        """Another goes on in a client's place, as the same one for whoever looks."""
        self._clients[number] = client

    def leave(self, number: str) -> None:
        """It is gone. Idempotent."""
        self._clients.pop(number, None)

    def after(self, number: str = "") -> Iterator[tuple[str, Client]]:
        """All with their ids, or those that came after that one, whether or not it is still there."""
        _, _, place = number.rpartition("-")
        # nobody counts further than twenty digits, and Python reads no more than some thousand
        passed = int(place[:20]) if place.isascii() and place.isdecimal() else 0
        for each, client in self._clients.items():
            if int(each.rpartition("-")[2]) > passed:
                yield each, client

    def concerned(self, about: About) -> list[tuple[str, Client, Session]]:
        """Those whose sessions a revocation is about."""
        return [
            (number, client, session)
            for number, client in self._clients.items()
            if (session := client.session) is not None and concerns(about, session, number)
        ]
