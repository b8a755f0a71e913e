"""What operators may ask of a server and tell it: one object, for the API, and for whatever stands on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tycostream import __version__
from tycostream.admin import state
from tycostream.admin.answers import RevokedAnswer, RevokeRequest, SessionsAnswer, StateAnswer
from tycostream.admin.revoking import Revoking
from tycostream.admin.sessions import Wanted, sessions_of
from tycostream.auth.authenticator import Authenticator
from tycostream.clock import Clock
from tycostream.config.model import DatabaseConfig
from tycostream.live.clients import Clients
from tycostream.live.feed import Feed
from tycostream.live.hub import Hub
from tycostream.observe.events import Emit

Ready = Callable[[], tuple[bool, list[dict[str, object]]]]
Databases = Callable[[], tuple[Mapping[str, DatabaseConfig], Mapping[str, Feed]]]


class Administration:
    """Everything is as it is at the moment of asking; what it costs is the asker's, not that of rows."""

    def __init__(
        self,
        authenticator: Authenticator,
        clients: Clients,
        hub: Hub,
        ready: Ready,
        databases: Databases,
        clock: Clock,
        emit: Emit,
    ) -> None:
        """``ready``: see Operations. ``databases``: those of the configuration, and their feeds, as they are now."""
        self.authenticator = authenticator
        self._clients = clients
        self._hub = hub
        self._ready = ready
        self._databases = databases
        self._clock = clock
        self._started_s = clock.monotonic()
        self._revoking = Revoking(authenticator, clients, emit)

    def sessions(self, wanted: Wanted) -> SessionsAnswer:
        """Who is connected to this process."""
        return sessions_of(self._clients, wanted)

    async def revoke(self, request: RevokeRequest) -> RevokedAnswer:
        """See Revoking."""
        return await self._revoking.revoke(request)

    def state(self) -> StateAnswer:
        """How the server is."""
        now_s = self._clock.monotonic()
        ready, entries = self._ready()
        hub = self._hub
        return StateAnswer(
            __version__,
            ready,
            round(now_s - self._started_s, 3),
            len(self._clients),
            sum(len(cohort.members) for cohort in hub.cohorts.known.values()),
            len(hub.cohorts.known),
            state.databases(*self._databases()),
            state.sources(entries, hub),
            state.cohorts(hub),
            state.amounts(hub.meter.rates(now_s)),
            state.amounts(hub.meter.totals),
            len(self.authenticator.revocations),
        )

    async def close(self) -> None:
        """Finish what is under way."""
        await self._revoking.close()
