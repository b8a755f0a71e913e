"""The contract of state stores, over SQLite and PostgreSQL: scripts whole or not at all, and the tokens that they keep."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest

from tycostream.config.state import sqlite_path
from tycostream.errors import StateError
from tycostream.state import postgres as postgres_state
from tycostream.state.base import Script, StateStore
from tycostream.state.opening import open_state
from tycostream.state.revocations import About, News, Revocation, denied_since, deny
from tycostream.state.schema import VERSION, expect
from tycostream.state.tokens import (
    FIND_MAX,
    ApiToken,
    add,
    find,
    listed,
    note_uses,
    revoke,
    revoked_since,
    standing,
)
from tycostream.testing.proxy import FaultProxy

Open = Callable[[], StateStore]
ALICE = ApiToken("a1", "alice's job", "trader", {"desk-id": 'f"x\\', "user-id": "ü"}, 1000.25)
BOB = ApiToken("b2", "bob", "auditor", {}, 2000.0, expires_s=3000.5)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/of the server.db"
    found: str = request.getfixturevalue("database")
    return found


@pytest.fixture
async def opened(url: str) -> AsyncIterator[Open]:
    """Opens the same state, as often as it is called."""
    stores: list[StateStore] = []

    def another() -> StateStore:
        stores.append(open_state(url))
        return stores[-1]

    yield another
    for store in stores:
        await store.close()


@pytest.fixture
async def store(opened: Open) -> StateStore:
    store = opened()
    await store.write(add(ALICE, "digest of alice"))
    await store.write(add(BOB, "digest of bob"))
    return store


async def test_what_is_added_is_found_by_its_digest(store: StateStore) -> None:
    found = await store.read(find(["digest of bob", "nobody's", "digest of alice"]))
    assert found.tokens == {"digest of alice": ALICE, "digest of bob": BOB}
    assert found.mark.revision == 0
    nothing = await store.read(find(["nobody's"]))
    assert nothing.tokens == {}
    assert nothing.mark == found.mark
    assert await store.read(listed()) == [ALICE, BOB]


async def test_as_many_are_found_at_once_as_are_asked_for(store: StateStore) -> None:
    digests = [f"digest {n}" for n in range(FIND_MAX - 1)]
    assert set((await store.read(find([*digests, "digest of bob"]))).tokens) == {"digest of bob"}


async def test_adding_twice_is_adding_once(store: StateStore) -> None:
    await store.write(add(ALICE, "digest of alice"))
    assert len(await store.read(listed())) == 2


async def test_two_tokens_with_one_digest_are_refused(store: StateStore) -> None:
    with pytest.raises(StateError):
        await store.write(add(replace(ALICE, id="c3"), "digest of alice"))
    assert len(await store.read(listed())) == 2


async def test_revocations_are_told_after_a_mark(store: StateStore, opened: Open) -> None:
    other = opened()
    before = (await other.read(find([]))).mark
    assert (await other.read(revoked_since(before.revision))).ids == frozenset()
    assert await store.write(revoke(["a1", "nobody"], 5000.5)) == {"a1"}
    news = await other.read(revoked_since(before.revision))
    assert news.ids == {"a1"}
    assert (news.mark.life, news.mark.revision) == (before.life, before.revision + 1)
    assert await other.write(revoke(["a1", "b2"], 6000.0)) == {"b2"}  # of those that stood
    assert (await store.read(revoked_since(news.mark.revision))).ids == {"b2"}
    assert (await store.read(revoked_since(before.revision))).ids == {"a1", "b2"}
    alice, bob = await store.read(listed())
    assert (alice.revoked_s, bob.revoked_s) == (5000.5, 6000.0)
    assert await store.read(standing(["a1", "b2"])) == frozenset()


async def test_revoking_nothing_tells_nobody(store: StateStore) -> None:
    assert await store.write(revoke([], 1.0)) == frozenset()
    assert await store.write(revoke(["nobody"], 1.0)) == frozenset()
    assert (await store.read(revoked_since(0))).mark.revision == 0
    assert await store.read(standing(["a1", "nobody"])) == {"a1"}
    assert await store.read(standing([])) == frozenset()


async def test_the_latest_use_holds(store: StateStore, opened: Open) -> None:
    await store.write(note_uses([("a1", 7000.125), ("b2", 7001.0), ("nobody", 1.0)]))
    await opened().write(note_uses([("a1", 6000.0), ("b2", 8000.0)]))  # a server that tells late
    assert [token.used_s for token in await store.read(listed())] == [7000.125, 8000.0]


async def test_a_script_that_fails_in_its_middle_leaves_nothing(store: StateStore) -> None:
    def broken() -> Script[None]:
        yield "UPDATE tycostream_tokens SET role = ?", ("admin",)
        raise KeyError("a mistake of ours")

    def refused() -> Script[None]:
        yield "UPDATE tycostream_tokens SET role = ?", ("admin",)
        yield "INSERT INTO no_such_table VALUES (1)", ()

    with pytest.raises(KeyError):
        await store.write(broken())
    with pytest.raises(StateError):
        await store.write(refused())
    assert [token.role for token in await store.read(listed())] == ["trader", "auditor"]


async def test_servers_that_start_at_once_make_one_state(opened: Open) -> None:
    marks = await asyncio.gather(*(opened().read(find([])) for _ in range(6)))
    assert len({found.mark for found in marks}) == 1


async def test_revisions_of_writers_at_once_are_all_told(store: StateStore, opened: Open) -> None:
    for n in range(12):
        await store.write(add(replace(BOB, id=f"n{n}"), f"digest {n}"))
    others = [opened() for _ in range(4)]
    reader, mark = opened(), 0
    seen: set[str] = set()

    async def read() -> None:
        nonlocal mark
        while len(seen) < 12:
            news = await reader.read(revoked_since(mark))
            seen.update(news.ids)
            mark = news.mark.revision
            await asyncio.sleep(0)

    async with asyncio.timeout(30):
        await asyncio.gather(read(), *(others[n % 4].write(revoke([f"n{n}"], float(n))) for n in range(12)))
    assert mark == 12


async def test_a_state_of_a_later_version_is_refused(store: StateStore, opened: Open) -> None:
    def later() -> Script[None]:
        yield "UPDATE tycostream_state SET version = ?", (VERSION + 1,)

    await store.write(later())
    with pytest.raises(StateError) as error:
        await opened().read(listed())
    assert error.value.code == "state-newer"
    assert "its version is 2, this one knows 1" in error.value.message


async def test_closing_twice_is_closing_once(opened: Open) -> None:
    store = opened()
    await store.read(listed())
    await store.close()
    await store.close()


# SQLite alone


async def test_a_file_is_for_its_owner_only_and_is_made_anew_when_it_is_gone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    store = open_state(url)
    await store.write(add(ALICE, "digest of alice"))
    before = (await store.read(find([]))).mark
    assert stat.S_IMODE(os.stat(tmp_path / "s.db").st_mode) == 0o600
    for path in tmp_path.iterdir():
        path.unlink()
    other = open_state(url)
    await other.write(add(BOB, "digest of bob"))
    found = await store.read(find(["digest of alice", "digest of bob"]))  # not of the file that is gone
    assert found.tokens == {"digest of bob": BOB}
    assert found.mark.life != before.life
    await store.close()
    await other.close()
    with pytest.raises(StateError, match="cannot be read or written"):
        await store.read(find([]))


async def test_a_file_that_goes_while_it_is_opened_is_not_taken_for_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.db"
    store = open_state(f"sqlite:///{path}")

    def gone(version: int) -> None:
        expect(version)
        path.rename(tmp_path / "elsewhere")

    monkeypatch.setattr("tycostream.state.sqlite.expect", gone)
    with pytest.raises(StateError) as error:
        await store.read(find([]))
    assert "it was removed while it was opened" in error.value.detail
    monkeypatch.undo()
    assert (await store.read(find([]))).tokens == {}
    assert path.exists()
    await store.close()


async def test_a_file_that_is_none_of_ours_says_so_and_may_be_mended(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.write_text("not a database" * 100)
    store = open_state(f"sqlite:///{path}")
    with pytest.raises(StateError) as error:
        await store.read(listed())
    assert error.value.code == "state-unavailable"
    assert str(path) in error.value.detail
    path.unlink()
    assert await store.read(listed()) == []
    await store.close()


def test_the_path_of_a_file() -> None:
    assert sqlite_path("sqlite:///a/b.db") == Path("a/b.db")
    assert sqlite_path("sqlite:////var/x%20y.db") == Path("/var/x y.db")


# PostgreSQL alone


async def test_a_connection_that_was_ended_is_made_again(database: str) -> None:
    store = open_state(database)
    await store.write(add(ALICE, "digest of alice"))
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(StateError) as error:
        await store.read(listed())
    assert error.value.code == "state-unavailable"
    assert await store.read(listed()) == [ALICE]
    await store.close()


async def test_who_may_not_make_tables_is_told_what_to_grant(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        admin.execute("DROP ROLE IF EXISTS keeper")
        admin.execute("CREATE ROLE keeper LOGIN")
        as_keeper = f"{database}{'&' if '?' in database else '?'}options={quote('-c role=keeper')}"
        store = open_state(as_keeper)
        with pytest.raises(StateError) as error:
            await store.read(listed())
        assert error.value.code == "state-rights"
        assert "GRANT CREATE ON SCHEMA" in error.value.hint
        owner = open_state(database)
        await owner.write(add(ALICE, "digest of alice"))
        admin.execute("GRANT SELECT, INSERT, UPDATE ON tycostream_state, tycostream_tokens TO keeper")
        assert await store.read(listed()) == [ALICE]  # who may use them need not be allowed to make them
        await store.close()
        await owner.close()
        admin.execute("DROP OWNED BY keeper")
        admin.execute("DROP ROLE keeper")


async def test_a_table_that_an_earlier_version_did_not_have_is_made(database: str) -> None:
    store = open_state(database)
    await store.write(add(ALICE, "digest of alice"))
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("DROP TABLE tycostream_revocations")
        other = open_state(database)
        assert await other.read(listed()) == [ALICE]
        row = admin.execute("SELECT to_regclass('tycostream_revocations') IS NOT NULL").fetchone()
        assert row == (True,)
        admin.execute("DELETE FROM tycostream_state")
    with pytest.raises(StateError) as error:
        await open_state(database).read(listed())
    assert error.value.code == "state-broken"
    assert error.value.hint.startswith(
        "DROP TABLE tycostream_state, tycostream_tokens, tycostream_revocations"
    )
    await store.close()
    await other.close()


async def test_an_address_where_nobody_is_and_no_password_in_the_error(unused_tcp_port: int) -> None:
    store = open_state(f"postgresql://u:hunter22@127.0.0.1:{unused_tcp_port}/x")
    with pytest.raises(StateError) as error:
        await store.read(listed())
    assert error.value.code == "state-unavailable"
    assert "hunter22" not in str(error.value)
    await store.close()


async def test_who_is_cancelled_leaves_a_store_that_works(database: str) -> None:
    store = open_state(database)

    def slow() -> Script[None]:
        yield "SELECT pg_sleep(10)", ()

    await store.read(listed())
    task = asyncio.create_task(store.read(slow()))
    with psycopg.connect(database, autocommit=True) as admin:
        query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(10)%' AND pid <> pg_backend_pid()"
        while True:
            row = admin.execute(query).fetchone()
            if row is not None and row[0]:
                break
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.read(listed()) == []
    await store.close()


async def test_a_server_that_stops_answering_is_given_up(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_state, "_TIMEOUT_S", 0.5)
    parts = urlsplit(database)
    proxy = FaultProxy(str(parts.hostname), parts.port or 5432)
    await proxy.start()
    login = parts.netloc.rpartition("@")[0]
    store = open_state(parts._replace(netloc=f"{login}@127.0.0.1:{proxy.port}").geturl())
    try:
        assert await store.read(listed()) == []
        proxy.stall(new=False)
        answers = await asyncio.gather(store.read(listed()), store.read(listed()), return_exceptions=True)
        assert isinstance(answers[0], StateError)
        assert answers[0].message == "the database of the state does not answer"
        assert answers[1] == []  # over a new connection
    finally:
        await store.close()
        await proxy.stop()


async def test_who_was_denied_is_told_after_a_mark_and_forgotten_after_its_end(
    store: StateStore, opened: Open
) -> None:
    other = opened()
    about = About('jti "x\\', "ü", "trader", "c-1", {"desk-id": "f'x"})
    first, second = (
        Revocation("r1", about, 10.25, 20.5),
        Revocation("r2", About(user="7"), 15.0, float(2**40)),
    )
    empty = await other.read(denied_since(0))
    assert empty.revocations == []
    await store.write(deny(first, 10.0))
    await store.write(deny(first, 10.0))
    await store.write(deny(second, 11.0))
    told = await other.read(denied_since(0))
    assert sorted(told.revocations, key=lambda each: each.id) == [first, second]
    assert (told.mark.life, told.mark.revision) == (empty.mark.life, empty.mark.revision + 3)
    assert await other.read(denied_since(told.mark.revision)) == News([], told.mark)
    third = Revocation("r3", About(role="x"), 21.0, 30.0)
    await other.write(deny(third, 21.0))
    assert {each.id for each in (await store.read(denied_since(0))).revocations} == {"r2", "r3"}
    assert [each.id for each in (await store.read(denied_since(told.mark.revision))).revocations] == ["r3"]
    assert (await store.read(revoked_since(0))).ids == frozenset(), "tokens of ours are apart"
