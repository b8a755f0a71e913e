"""The command line against a real PostgreSQL: init, check, schema, serve; and killed processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
import websockets
from websockets.typing import Subprotocol

TABLES = """
CREATE TYPE side AS ENUM ('buy', 'sell');
CREATE TABLE trades (id bigint PRIMARY KEY, side side NOT NULL, price numeric(12,4), note text);
COMMENT ON TABLE trades IS 'what was traded';
CREATE TABLE loose (n int);
INSERT INTO trades SELECT n, 'buy', n * 1.5, 'n' || n FROM generate_series(1, 50) AS n;
"""


def run(*arguments: str, cwd: Path, url: str = "") -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "DATABASE_URL": url, "COLUMNS": "200"}
    command = [sys.executable, "-m", "tycostream", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=50, check=False
    )


@pytest.fixture
def shop(database: str) -> str:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(TABLES.encode())
    return database


@pytest.fixture
def configured(shop: str, tmp_path: Path) -> Path:
    written = run("init", "--database-url", shop, "-o", "tycostream.yaml", cwd=tmp_path, url=shop)
    assert written.returncode == 0, written.stderr
    return tmp_path


def test_init_writes_what_check_and_schema_accept(configured: Path, shop: str) -> None:
    text = (configured / "tycostream.yaml").read_text()
    assert "side: [buy, sell]" in text
    assert "loose" not in text, "a table without a key is not offered unasked"
    checked = run("check", cwd=configured, url=shop)
    assert checked.returncode in (0, 1), checked.stderr
    sdl = run("schema", cwd=configured, url=shop)
    assert sdl.returncode == 0, sdl.stderr
    assert "trades_by_pk(id: bigint!): trades" in sdl.stdout
    assert "enum side {" in sdl.stdout
    again = run("init", "--database-url", shop, "-o", "tycostream.yaml", cwd=configured)
    assert again.returncode == 1
    assert "exists already" in again.stderr


def test_check_is_for_scripts_too(configured: Path, shop: str) -> None:
    findings = json.loads(run("check", "--json", cwd=configured, url=shop).stdout)
    assert all({"subject", "ok", "message", "hint", "fatal"} <= set(finding) for finding in findings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sources: {trades: {colums: [a]}}", "did you mean"),
        ("databases: {main: {url: 'host=127.0.0.1 port=1'}}\nsources: {trades: {}}", "127.0.0.1"),
        ("databases: {main: {url: '${DATABASE_URL}', manage: true}}\nsources: {tradse: {}}", "trades"),
        (
            "databases: {main: {url: '${DATABASE_URL}', manage: true}}\nsources: {loose: {}}",
            "REPLICA IDENTITY",
        ),
        ("databases: {main: {url: x=1, engine: materialize}}\nsources: {trades: {}}", "source trades is"),
    ],
)
def test_serve_strict_refuses_with_a_reason_and_exit_1(
    shop: str, tmp_path: Path, text: str, expected: str
) -> None:
    (tmp_path / "tycostream.yaml").write_text(text)
    served = run("serve", "--strict", "--port", "0", cwd=tmp_path, url=shop)
    assert served.returncode == 1
    assert expected in served.stderr
    assert "Traceback" not in served.stderr


def test_version_and_json_schema(tmp_path: Path) -> None:
    assert run("--version", cwd=tmp_path).stdout.strip()
    assert json.loads(run("config", "json-schema", cwd=tmp_path).stdout)["properties"]["sources"]


class Served:
    """A `tycostream serve` in a process of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        self.process: asyncio.subprocess.Process
        self.folder, self.database_url = folder, url

    async def __aenter__(self) -> Served:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tycostream", "serve", "--port", "0"),
            cwd=self.folder,
            env={**os.environ, "DATABASE_URL": self.database_url},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if line.startswith(b"ready "):
                self.ws = line.split()[1].decode().replace("http", "ws")
                return self
        raise AssertionError(f"serve ended with {await self.process.wait()}")

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


async def opened(ws: Any, query: str) -> None:
    await ws.send('{"type":"connection_init"}')
    await ws.recv()
    await ws.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": query}}))


async def following(ws: Any) -> dict[str, Any]:
    message = json.loads(await asyncio.wait_for(ws.recv(), 20))
    assert message["type"] == "next", message
    data: dict[str, Any] = message["payload"]["data"]
    return data


FEED = "subscription {trades_changes {phase resync changes {operation row {id note} old {note}}}}"


async def test_serve_from_snapshot_to_sigterm(configured: Path, shop: str) -> None:
    async with (
        Served(configured, shop) as served,
        websockets.connect(served.ws, subprotocols=[Subprotocol("graphql-transport-ws")]) as ws,
        await psycopg.AsyncConnection.connect(shop, autocommit=True) as connection,
    ):
        await opened(ws, FEED)
        assert len((await following(ws))["trades_changes"]["changes"]) == 50
        assert (await following(ws))["trades_changes"]["phase"] == "ready"
        await connection.execute("UPDATE trades SET note = 'seen' WHERE id = 7")
        assert (await following(ws))["trades_changes"]["changes"] == [
            {"operation": "update", "row": {"id": "7", "note": "seen"}, "old": {"note": "n7"}}
        ]
        served.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(served.process.wait(), 20) == 0


async def test_a_lost_stream_is_bridged_by_the_net_difference(configured: Path, shop: str) -> None:
    async with (
        Served(configured, shop) as served,
        websockets.connect(served.ws, subprotocols=[Subprotocol("graphql-transport-ws")]) as ws,
        await psycopg.AsyncConnection.connect(shop, autocommit=True) as connection,
    ):
        await opened(ws, FEED)
        await following(ws)
        await following(ws)
        await connection.execute("UPDATE pg_class SET relname = relname WHERE false")
        async with connection.transaction():
            # in one transaction, so that nothing of it is streamed before the walsender is gone
            await connection.execute("UPDATE trades SET note = 'while away' WHERE id = 3")
            await connection.execute("DELETE FROM trades WHERE id = 4")
            cursor = await connection.execute(
                "SELECT count(pg_terminate_backend(active_pid)) FROM pg_replication_slots"
                " WHERE active_pid IS NOT NULL AND database = current_database()"
            )
            assert await cursor.fetchone() == (1,)
        changes: list[dict[str, Any]] = []
        while len(changes) < 2:
            changes += (await following(ws))["trades_changes"]["changes"]
        assert sorted(changes, key=lambda change: str(change["operation"])) == [
            {"operation": "delete", "row": None, "old": {"note": "n4"}},
            {"operation": "update", "row": {"id": "3", "note": "while away"}, "old": {"note": "n3"}},
        ]


async def test_a_killed_server_leaves_no_slot_behind(configured: Path, shop: str) -> None:
    async with (
        Served(configured, shop) as served,
        await psycopg.AsyncConnection.connect(shop, autocommit=True) as connection,
    ):
        count = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
        assert await (await connection.execute(count)).fetchone() == (1,)
        served.process.kill()
        await served.process.wait()
        for _ in range(500):
            if await (await connection.execute(count)).fetchone() == (0,):
                break
            await asyncio.sleep(0.01)
        else:
            raise AssertionError("the temporary slot outlived its connection")
    async with Served(configured, shop) as again:
        assert again.ws
