"""Revocations of one process and of several: who hears when, what a state that is away means, and what restarts leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.auth.test_tokens import Watched
from tycostream.auth import revocations as module
from tycostream.auth.denied import Denied, Reason
from tycostream.auth.revocations import Revocations
from tycostream.auth.session import Session, Token
from tycostream.errors import RequestError, StateError
from tycostream.observe.events import Event, SessionsRevoked
from tycostream.state.opening import open_state
from tycostream.state.revocations import About, Revocation
from tycostream.testing.clock import FakeClock

AWAY = StateError("state-unavailable", "the state cannot be read", hint="mend it")
OLD = Session("user", {"user-id": "7"}, None, Token("jti", "sub", 900.0))
NEW = Session("user", {"user-id": "7"}, None, Token("other", "sub", 1001.0))


class Server:
    """One process's revocations over a file that others may share."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.store = Watched(open_state(f"sqlite:///{path}/state.db"))
        self.revocations = Revocations(self.store, self.clock, self.events.append)
        self.ended: list[About] = []
        self.revocations.told = self._told

    def _told(self, revocation: Revocation) -> int:
        self.ended.append(revocation.about)
        return 3

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                await asyncio.sleep(0.001)

    async def pass_s(self, seconds: float) -> None:
        """Let time pass until the state was asked and the answer worked off."""
        await self.until(lambda: bool(self.clock._timers))
        reads = self.store.reads
        self.clock.advance(seconds)
        await self.until(lambda: self.store.reads > reads)
        await self.until(lambda: bool(self.clock._timers))

    async def close(self) -> None:
        self.store.away = None
        await self.revocations.close()
        await self.store.close()


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[tuple[Server, Server]]:
    pair = Server(tmp_path), Server(tmp_path)
    yield pair
    for each in pair:
        await each.close()


async def denied(revocations: Revocations, session: Session) -> Reason | None:
    try:
        await revocations.check(session)
    except Denied as error:
        return error.reason
    return None


async def test_what_was_issued_before_is_good_no_more() -> None:
    revocations = Revocations(None, FakeClock(), lambda event: None)
    revocations.start()
    assert not revocations.shared
    await revocations.check(OLD)
    await revocations.revoke(About(user="7"), 60)
    assert await denied(revocations, OLD) is Reason.TOKEN_REVOKED
    assert await denied(revocations, NEW) is None, "who logs in again is let in"
    assert await denied(revocations, Session("user", {"user-id": "7"})) is None, "it has no token"
    await revocations.close()


async def test_it_is_forgotten_when_no_token_can_be_left() -> None:
    clock = FakeClock()
    revocations = Revocations(None, clock, lambda event: None)
    await revocations.revoke(About(token="jti"), 60)
    clock.advance(60)
    assert await denied(revocations, OLD) is Reason.TOKEN_REVOKED
    clock.advance(1)
    assert await denied(revocations, OLD) is None
    await revocations.revoke(About(token="x"), 60)
    assert len(revocations) == 1


async def test_another_server_hears_within_a_second(servers: tuple[Server, Server]) -> None:
    here, there = servers
    there.revocations.start()
    await there.pass_s(0.5)
    assert there.ended == []
    revocation, ended = await here.revocations.revoke(About(role="user"), 60)
    assert (ended, here.ended) == (3, [About(role="user")])
    assert revocation.until_s == 1060
    await there.pass_s(0.5)
    assert there.ended == [About(role="user")]
    assert await denied(there.revocations, OLD) is Reason.TOKEN_REVOKED
    assert SessionsRevoked("", "", "user", "", 3) in there.events
    here.revocations.start()
    await here.pass_s(0.5)
    assert here.ended == [About(role="user")], "its own are no news"


async def test_a_restart_leaves_them_and_nobody_is_let_in_before_they_are_known(
    servers: tuple[Server, Server],
) -> None:
    here, there = servers
    await here.revocations.revoke(About(token="jti"), 60)
    there.store.go.clear()
    there.revocations.start()
    checking = asyncio.create_task(denied(there.revocations, OLD))
    await there.store.asked.wait()
    assert not checking.done()
    there.store.go.set()
    assert await checking is Reason.TOKEN_REVOKED


async def test_a_state_that_is_away(servers: tuple[Server, Server]) -> None:
    here, _ = servers
    here.store.away = AWAY
    here.revocations.start()
    assert await denied(here.revocations, OLD) is Reason.UNAVAILABLE
    await here.revocations.check(Session("admin"))  # who shows a secret
    with pytest.raises(StateError):
        await here.revocations.revoke(About(token="jti"), 60)
    assert len(here.revocations) == 0, "nothing was revoked"
    here.store.away = None
    await here.pass_s(1)
    assert await denied(here.revocations, OLD) is None
    here.store.away = AWAY
    await here.pass_s(0.5)
    assert await denied(here.revocations, OLD) is None, "for an hour what was heard holds"
    here.clock.now_s += 3601
    assert await denied(here.revocations, OLD) is Reason.UNAVAILABLE


async def test_another_state_takes_nothing_back(servers: tuple[Server, Server], tmp_path: Path) -> None:
    here, _ = servers
    here.revocations.start()
    await here.pass_s(0.5)
    await here.revocations.revoke(About(token="jti"), 600)
    await here.pass_s(0.5)
    for file in tmp_path.glob("state.db*"):
        file.unlink()
    await here.pass_s(0.5)
    assert await denied(here.revocations, OLD) is Reason.TOKEN_REVOKED
    await here.revocations.revoke(About(token="x"), 600)
    await here.pass_s(0.5)
    assert len(here.revocations) == 2


async def test_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    revocations = Revocations(None, FakeClock(), lambda event: None)
    for n in range(2):
        await revocations.revoke(About(token=str(n)), 60)
    with pytest.raises(RequestError, match="no more can be") as refused:
        await revocations.revoke(About(token="3"), 60)
    assert refused.value.code == "limit-exceeded"


async def test_a_mistake_of_ours_does_not_end_the_asking(servers: tuple[Server, Server]) -> None:
    here, there = servers

    def broken(_: Any) -> int:
        raise RuntimeError("x")

    there.revocations.told = broken
    there.revocations.start()
    await there.pass_s(0.5)
    await here.revocations.revoke(About(token="jti"), 600)
    await there.pass_s(0.5)
    there.revocations.told = there._told
    await here.revocations.revoke(About(token="x"), 600)
    await there.pass_s(0.5)
    assert {about.token for about in there.ended} >= {"x"}
    assert await denied(there.revocations, OLD) is Reason.TOKEN_REVOKED
