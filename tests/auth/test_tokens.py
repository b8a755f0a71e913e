"""API tokens on a server: looked up once, ended by a revocation wherever it was made, and a state that goes away."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tycostream.auth import tokens as module
from tycostream.auth.api_token import digest, new_secret
from tycostream.auth.denied import Denied, Reason
from tycostream.auth.session import Session, Token
from tycostream.auth.tokens import Tokens
from tycostream.errors import StateError
from tycostream.observe.events import Event, OperationFailed, StateAvailable, StateUnavailable, TokenRevoked
from tycostream.state.base import Script, StateStore, T
from tycostream.state.opening import open_state
from tycostream.state.tokens import ApiToken, add, listed, revoke
from tycostream.testing.clock import FakeClock

TOKEN = ApiToken("t1", "one", "trader", {"desk-id": "fx"}, 0.0)


class Watched:
    """A real store that counts, and can be away or slow."""

    def __init__(self, store: StateStore) -> None:
        self.store = store
        self.reads = 0
        self.writes = 0
        self.away: Exception | None = None
        self.go = asyncio.Event()
        self.go.set()
        self.asked = asyncio.Event()

    async def read(self, script: Script[T]) -> T:
        self.reads += 1
        self.asked.set()
        await self.go.wait()
        if self.away is not None:
            raise self.away
        return await self.store.read(script)

    async def write(self, script: Script[T]) -> T:
        self.writes += 1
        await self.go.wait()
        if self.away is not None:
            raise self.away
        return await self.store.write(script)

    async def close(self) -> None:
        await self.store.close()


class World:
    """A server's tokens over a file, a clock that is moved by hand, and another process that writes the same file."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder}/state.db"
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.store = Watched(open_state(self.url))
        self.tokens = Tokens(self.store, self.clock, self.events.append)
        self.other = open_state(self.url)

    async def made(self, token: ApiToken = TOKEN, **more: Any) -> str:
        secret = new_secret()
        await self.other.write(add(replace(token, **more), digest(secret) or ""))
        return secret

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                await asyncio.sleep(0.001)

    async def pass_s(self, seconds: float) -> None:
        """Let time pass until the state was asked again and that was worked off."""
        reads = self.store.reads
        self.clock.advance(seconds)
        await self.until(lambda: self.store.reads > reads)
        await self.until(lambda: bool(self.clock._timers))

    async def denied(self, secret: str) -> Reason:
        with pytest.raises(Denied) as error:
            await self.tokens.session(secret)
        assert secret not in str(error.value)
        return error.value.reason


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    world.tokens.start()
    world.tokens.start()  # once is enough
    await world.until(lambda: bool(world.clock._timers))
    world.store.reads = 0
    world.store.asked.clear()
    yield world
    world.store.away = None
    world.store.go.set()
    await world.tokens.close()
    await world.other.close()


AWAY = StateError("state-unavailable", "the state cannot be read", detail="a cable is out", hint="mend it")


async def test_a_token_is_a_session_and_is_looked_up_once(world: World) -> None:
    secret = await world.made(expires_s=2000.0)
    said = Token("t1", issued_at_s=0.0, api=True)
    for _ in range(3):
        assert await world.tokens.session(secret) == Session("trader", {"desk-id": "fx"}, 2000.0, said)
    assert world.store.reads == 1


async def test_those_who_come_at_once_share_a_look_up(world: World) -> None:
    secrets = [await world.made(id=f"t{n}") for n in range(50)]
    world.store.go.clear()
    asking = [asyncio.create_task(world.tokens.session(secret)) for secret in secrets for _ in range(2)]
    await world.store.asked.wait()
    asking[0].cancel()  # who gives up takes nothing from the one who waits for the same
    await asyncio.sleep(0)
    world.store.go.set()
    found = await asyncio.gather(*asking[1:])
    assert [session.token and session.token.id for session in found[0::2]] == [f"t{n}" for n in range(50)]
    assert world.store.reads <= 2


async def test_who_is_nobody(world: World) -> None:
    for secret in (new_secret(), "tyco_", "tyco_ü", "tyco_" + "x" * 5000, ""):
        with pytest.raises(Denied) as error:
            await world.tokens.session(secret)
        assert (error.value.code, error.value.message) == ("access-denied", "the token is not known")
        assert error.value.reason is Reason.TOKEN_UNKNOWN


async def test_a_token_that_has_expired(world: World) -> None:
    secret = await world.made(expires_s=1010.0)
    await world.tokens.session(secret)
    world.clock.advance(9.9)
    await world.tokens.session(secret)
    world.clock.advance(0.1)
    assert await world.denied(secret) is Reason.TOKEN_EXPIRED


async def test_a_revocation_by_another_process_is_heard_within_a_second(world: World) -> None:
    secret, kept = await world.made(), await world.made(id="t2")
    told: list[str] = []
    for shown in (secret, kept):
        session = await world.tokens.session(shown)
        assert session.token is not None
        world.tokens.watch(session.token.id, functools.partial(told.append, session.token.id))
    await world.other.write(revoke(["t1"], 1000.0))
    await world.tokens.session(secret)  # not heard of yet
    await world.pass_s(0.5)
    assert told == ["t1"]
    assert await world.denied(secret) is Reason.TOKEN_REVOKED
    found = (await world.tokens.session(kept)).token
    assert found is not None
    assert found.id == "t2"
    assert world.events == [TokenRevoked("t1")]
    await world.pass_s(0.5)
    assert world.events == [TokenRevoked("t1")]


async def test_a_revocation_here_holds_at_once(world: World) -> None:
    secret, _ = await world.made(), await world.made(id="t2")
    await world.tokens.session(secret)
    told: list[int] = []
    world.tokens.watch("t1", lambda: told.append(1))
    assert await world.tokens.revoke(["t1", "nobody"]) == {"t1"}
    assert told == [1]
    assert await world.denied(secret) is Reason.TOKEN_REVOKED
    assert await world.tokens.revoke(["t1"]) == frozenset()
    await world.pass_s(0.5)
    assert world.events == [TokenRevoked("t1")]


async def test_a_revocation_that_cannot_be_written_down_is_none(world: World) -> None:
    secret = await world.made()
    await world.tokens.session(secret)
    world.store.away = AWAY
    with pytest.raises(StateError):
        await world.tokens.revoke(["t1"])
    await world.tokens.session(secret)


async def test_while_the_state_is_away_known_tokens_go_on_and_others_are_asked_to_wait(world: World) -> None:
    secret, unseen = await world.made(), await world.made(id="t2")
    await world.tokens.session(secret)
    world.store.away = AWAY
    await world.pass_s(0.5)
    await world.tokens.session(secret)
    with pytest.raises(Denied) as error:
        await world.tokens.session(unseen)
    assert error.value.reason is Reason.UNAVAILABLE
    assert error.value.code == "unavailable"
    assert error.value.message == "tokens cannot be looked up at present"
    assert "cable" not in str(error.value)  # where our state is concerns nobody outside
    reads = world.store.reads
    for _ in range(10):
        assert await world.denied(unseen) is Reason.UNAVAILABLE
    assert world.store.reads == reads  # it is not asked for each of them
    await world.pass_s(1.0)
    assert world.events == [
        StateUnavailable("state-unavailable", "the state cannot be read\nDetail: a cable is out", "mend it")
    ]
    await world.other.write(revoke(["t1"], 1000.0))
    world.store.away = None
    await world.pass_s(1.0)
    assert world.events[1:] == [TokenRevoked("t1"), StateAvailable()]  # what was missed is heard of
    await world.tokens.session(unseen)
    assert await world.denied(secret) is Reason.TOKEN_REVOKED


async def test_what_is_known_is_trusted_for_an_hour(world: World) -> None:
    secret = await world.made()
    await world.tokens.session(secret)
    world.store.away = AWAY
    for _ in range(59):
        await world.pass_s(60)
        await world.tokens.session(secret)
    await world.pass_s(60)
    await world.pass_s(1)
    assert await world.denied(secret) is Reason.UNAVAILABLE
    world.store.away = None
    await world.pass_s(1)
    await world.tokens.session(secret)


async def test_a_state_that_is_away_from_the_start_is_told_of_before_anybody_asks(tmp_path: Path) -> None:
    world = World(tmp_path)
    secret = await world.made()
    world.store.away = AWAY
    world.tokens.start()
    await world.until(lambda: bool(world.clock._timers))
    assert [type(event) for event in world.events] == [StateUnavailable]
    assert await world.denied(secret) is Reason.UNAVAILABLE
    world.store.away = None
    assert await world.denied(secret) is Reason.UNAVAILABLE  # it is asked once a second
    await world.pass_s(1)
    await world.tokens.session(secret)
    await world.other.write(revoke(["t1"], 1000.0))
    await world.pass_s(0.5)
    assert await world.denied(secret) is Reason.TOKEN_REVOKED
    assert [type(event) for event in world.events] == [StateUnavailable, StateAvailable, TokenRevoked]
    await world.tokens.close()
    await world.other.close()


async def test_tokens_that_nobody_started_hear_of_revocations_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    secret = await world.made()
    await world.tokens.session(secret)
    await world.other.write(revoke(["t1"], 1000.0))
    await world.until(lambda: bool(world.clock._timers))
    await world.pass_s(0.5)
    assert await world.denied(secret) is Reason.TOKEN_REVOKED
    await world.tokens.close()
    await world.other.close()


async def test_a_mistake_of_ours_ends_nothing(world: World) -> None:
    secret = await world.made()
    world.store.away = ZeroDivisionError("ours")
    assert await world.denied(secret) is Reason.UNAVAILABLE
    world.store.away = None
    await world.tokens.session(secret)
    world.store.away = ZeroDivisionError("ours")
    await world.pass_s(0.5)
    world.store.away = None
    await world.other.write(revoke(["t1"], 0.0))
    await world.pass_s(0.5)
    assert await world.denied(secret) is Reason.TOKEN_REVOKED
    assert [event for event in world.events if not isinstance(event, TokenRevoked)] == [
        OperationFailed("unexpected", "internal error", "ZeroDivisionError: ours")
    ] * 2


async def test_who_shows_what_nobody_made_cannot_fill_the_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WANTED_MAX", 3)
    world.store.go.clear()
    asking = [asyncio.create_task(world.denied(new_secret())) for _ in range(5)]
    await world.store.asked.wait()
    world.store.go.set()
    assert sorted(await asyncio.gather(*asking)) == [Reason.TOKEN_UNKNOWN] * 3 + [Reason.UNAVAILABLE] * 2


async def test_another_state_in_its_place_ends_what_is_not_in_it(world: World, tmp_path: Path) -> None:
    secret, kept = await world.made(), await world.made(id="t2")
    told: list[str] = []
    for shown in (secret, kept):
        token = (await world.tokens.session(shown)).token
        token_id = token.id if token is not None else ""
        world.tokens.watch(token_id, functools.partial(told.append, token_id))
    await world.other.close()
    for path in tmp_path.iterdir():
        path.unlink()
    world.other = open_state(world.url)
    await world.other.write(add(replace(TOKEN, id="t2"), digest(kept) or ""))
    await world.pass_s(0.5)
    await world.until(lambda: told == ["t1"])
    assert await world.denied(secret) is Reason.TOKEN_UNKNOWN
    await world.tokens.session(kept)
    await world.other.write(revoke(["t2"], 0.0))
    await world.pass_s(0.5)
    assert told == ["t1", "t2"]


async def test_uses_are_written_down_together_once_a_minute(world: World) -> None:
    secrets = [await world.made(id=f"t{n}") for n in range(3)]
    for secret in secrets:
        await world.tokens.session(secret)
    await world.pass_s(30)
    assert world.store.writes == 0
    await world.tokens.session(secrets[1])
    await world.pass_s(30)
    await world.until(lambda: world.store.writes == 1)
    await world.pass_s(60)
    used = {token.id: token.used_s for token in await world.other.read(listed())}
    assert used == {"t0": 1000.0, "t1": 1030.0, "t2": 1000.0}
    assert world.store.writes == 1  # nothing was used since


async def test_uses_that_could_not_be_written_are_written_later_and_at_the_end(world: World) -> None:
    secret = await world.made()
    await world.tokens.session(secret)
    await world.pass_s(30)
    world.store.away = AWAY
    await world.pass_s(30)
    world.store.away = None
    await world.tokens.close()
    assert [token.used_s for token in await world.other.read(listed())] == [1000.0]


async def test_closing_while_somebody_waits(world: World) -> None:
    world.store.go.clear()
    asking = asyncio.create_task(world.denied(new_secret()))
    await world.store.asked.wait()
    await world.tokens.close()
    assert await asking is Reason.UNAVAILABLE


async def test_a_state_that_hangs_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CLOSE_MAX_S", 0.01)
    world = World(tmp_path)
    await world.tokens.session(await world.made())
    world.store.go.clear()
    await asyncio.wait_for(world.tokens.close(), 5)
    assert [token.used_s for token in await world.other.read(listed())] == [None]
    await world.other.close()
