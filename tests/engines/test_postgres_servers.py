"""What needs a server of its own: a slot whose log is thrown away, a standby that is promoted, SQL_ASCII."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import PostgresServer, postgres_binaries
from tests.engines.stream_contract import Follower
from tests.engines.test_postgres import engine_of, source
from tycostream.engines.embedded import EmbeddedPostgres
from tycostream.errors import Action, UpstreamError

Make = Callable[..., contextlib.AbstractAsyncContextManager[EmbeddedPostgres]]


@pytest.fixture
def folder() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="tycostream-servers-", dir="/var/tmp"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place, ignore_errors=True)


@contextlib.asynccontextmanager
async def running(data: Path, **settings: str) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(data, settings={"fsync": "off", **settings}, binaries=postgres_binaries())
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


async def connected(url: str) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(url, autocommit=True)


async def test_a_slot_whose_log_is_thrown_away_is_told_and_made_anew(folder: Path) -> None:
    bounds = {"max_slot_wal_keep_size": "1MB", "min_wal_size": "32MB", "max_wal_size": "32MB"}
    async with running(folder / "data", **bounds) as server, await connected(server.url) as db:
        await db.execute("CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1)")
        engine = engine_of(server.url, slot="kept")
        row_type = await engine.describe(source("a"))
        f = Follower(await engine.open(), row_type)
        await f.stream.add(row_type, source("a"))
        await f.until(lambda: bool(f.progress))
        await f.stream.close()
        for i in range(2, 6):
            await db.execute(f"INSERT INTO a VALUES ({i})")
            await db.execute("SELECT pg_switch_wal()")
        await db.execute("CHECKPOINT")
        found = [finding for finding in await engine.check([]) if finding.subject.endswith(" slot")]
        assert [(finding.ok, finding.fatal) for finding in found] == [(False, False)]
        with pytest.raises(UpstreamError) as caught:
            await engine.open()
        error = caught.value
        assert (error.code, error.action) == ("slot-lost", Action.RESYNC)
        assert "given up the log that replication slot kept needed" in error.message
        assert "max_slot_wal_keep_size" in error.hint
        again = Follower(await engine.open())
        again.expect_resumed(row_type, f.rows["a"], f.positions["a"])
        await again.stream.add(row_type, source("a"), f.positions["a"])
        await again.until(lambda: set(again.rows["a"]) == {1, 2, 3, 4, 5})
        assert "a" in again.snapshots, "not resumed: read again"
        await again.stream.close()
        operators = engine_of(server.url, slot="kept", manage=False)
        await engine.remove(await engine.leftovers())
        await operators.close()
        await engine.close()


def base_backup(server: EmbeddedPostgres, target: Path) -> None:
    """A standby's folder beside the server's, as EmbeddedPostgres wants it."""
    binaries = server._runnable(postgres_binaries() or _wheel())
    user = pwd.getpwuid((server.data / "cluster").stat().st_uid)
    target.mkdir(mode=0o700)
    os.chown(target, user.pw_uid, user.pw_gid)
    shutil.copy2(server.data / "password", target / "password")
    os.chown(target / "password", user.pw_uid, user.pw_gid)
    as_user = {} if os.geteuid() else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}
    subprocess.run(
        [binaries / "pg_basebackup", "-d", server.url.rpartition("/")[0] + "/postgres", "-D", target / "cluster", "-R", "-X", "stream", "-c", "fast", "--no-sync"],
        check=True, cwd=target, env={"LC_ALL": "C", "HOME": str(target)}, timeout=60, **as_user,  # type: ignore[call-overload]
    )  # fmt: skip


def _wheel() -> Path:
    from tycostream.engines.embedded import find_binaries

    return find_binaries()


async def test_a_standby_that_is_promoted_is_another_history(folder: Path) -> None:
    async with running(folder / "primary") as primary, await connected(primary.url) as db:
        await db.execute("CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1)")
        engine = engine_of(primary.url, slot="kept")
        row_type = await engine.describe(source("a"))
        f = Follower(await engine.open(), row_type)
        await f.stream.add(row_type, source("a"))
        await f.until(lambda: bool(f.progress))
        base_backup(primary, folder / "standby")
        async with running(folder / "standby") as standby:
            await db.execute("INSERT INTO a VALUES (2)")
            await f.until(lambda: 2 in f.rows["a"])
            await f.stream.close()
            engine.renew(standby.url)
            with pytest.raises(UpstreamError) as caught:
                await engine.open()
            assert (caught.value.code, caught.value.action) == ("standby", Action.RETRY)
            assert "target_session_attrs=read-write" in caught.value.hint
            async with await connected(standby.url) as promoted:
                while True:  # until it has replayed what was told already
                    row = await (await promoted.execute("SELECT count(*) FROM a")).fetchone()
                    if row == (2,):
                        break
                await promoted.execute("SELECT pg_promote()")
                await promoted.execute("INSERT INTO a VALUES (3)")
                again = Follower(await engine.open())
                again.expect_resumed(row_type, f.rows["a"], f.positions["a"])
                again.positions["a"] = again.positions["a"]._replace(
                    epoch=0
                )  # not comparable: no promise about it
                await again.stream.add(row_type, source("a"), f.positions["a"])
                await again.until(lambda: "a" in again.snapshots)
                assert set(again.rows["a"]) == {1, 2, 3}
                then, now = f.positions["a"], again.snapshots["a"]
                assert then.incarnation == now.incarnation, "one system"
                assert now.epoch > then.epoch, "another timeline"
                assert not now.comparable(then)
                await promoted.execute("INSERT INTO a VALUES (4)")
                await again.until(lambda: 4 in again.rows["a"])
                await again.stream.close()
            await engine.close()


async def test_a_database_without_an_encoding_is_refused(postgres: PostgresServer) -> None:
    name = f"ascii_{secrets.token_hex(4)}"
    async with await connected(postgres.url) as db:
        await db.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'".encode()
        )
        try:
            engine = engine_of(postgres.url_of(name))
            with pytest.raises(UpstreamError) as caught:
                await engine.open()
            assert (caught.value.code, caught.value.action) == ("encoding", Action.FAIL)
            assert caught.value.message == "the encoding is SQL_ASCII"
            assert "made with ENCODING 'UTF8'" in caught.value.hint
            await engine.close()
        finally:
            await db.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
