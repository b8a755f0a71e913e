from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tycostream.engines.embedded import EmbeddedPostgres
from tycostream.errors import UpstreamError


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tycostream-test-", dir="/var/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


async def test_start_stop_start_keeps_data_and_port(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    try:
        url = await server.start()
        assert await server.start() == url
        async with await psycopg.AsyncConnection.connect(url) as connection:
            await connection.execute("CREATE TABLE kept (id int)")
        with pytest.raises(UpstreamError, match="another PostgreSQL"):
            await EmbeddedPostgres(folder).start()
        await server.stop()
        await server.stop()
        assert not server.running
        again = EmbeddedPostgres(folder)
        try:
            assert await again.start() == url
            async with await psycopg.AsyncConnection.connect(url) as connection:
                await connection.execute("SELECT * FROM kept")
        finally:
            await again.stop()
    finally:
        await server.stop()
    assert (folder / "password").stat().st_mode & 0o077 == 0


async def test_a_folder_with_other_files_is_left_alone(folder: Path) -> None:
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(UpstreamError, match=r"thesis\.txt"):
        await EmbeddedPostgres(folder).start()
    assert [p.name for p in folder.iterdir()] == ["thesis.txt"]


async def test_a_server_without_logical_wal_is_refused(folder: Path) -> None:
    from tests.engines.test_postgres import engine_of

    server = EmbeddedPostgres(folder, settings={"wal_level": "replica"})
    try:
        engine = engine_of(await server.start())
        with pytest.raises(UpstreamError, match="ALTER SYSTEM SET wal_level = logical;") as caught:
            await engine.open()
        assert caught.value.code == "wal-level"
    finally:
        await server.stop()
