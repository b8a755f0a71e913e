"""`tycostream dev` and SIGHUP, as processes over a real PostgreSQL: edits, mistakes, and starting anew."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
import websockets
from websockets.typing import Subprotocol

TABLES = """
CREATE TABLE trades (id bigint PRIMARY KEY, note text);
CREATE TABLE quotes (id bigint PRIMARY KEY, note text);
INSERT INTO trades SELECT n, 'n' || n FROM generate_series(1, 5) AS n;
INSERT INTO quotes VALUES (1, 'q');
"""
TRADES = "databases: {main: {url: '${DATABASE_URL}', manage: true}}\nsources:\n  trades: {}\n"
BOTH = TRADES + "  quotes: {}\n"
FEED = "subscription { %s_changes { phase changes { operation row { id note } } } }"


class Process:
    """A command with its output in lines, both streams in one."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.process: asyncio.subprocess.Process
        self.folder, self.arguments = folder, arguments
        self.lines: list[str] = []

    async def __aenter__(self) -> Process:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tycostream", *self.arguments),
            cwd=self.folder,
            env={**os.environ, "TYCO_LOG_LEVEL": "error"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def says(self, words: str) -> str:
        """Wait for a line with these words; gives it."""
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            while line := (await self.process.stdout.readline()).decode().rstrip():
                self.lines.append(line)
                if words in line:
                    return line
        raise AssertionError(f"never said {words!r}, but {self.lines}")

    async def ready(self) -> str:
        """Wait until it is ready; gives its WebSocket's address."""
        return (await self.says("ready ")).split()[1].replace("http", "ws")

    def pid(self) -> int:
        return self.process.pid


class Socket:
    """One connection with operations by id, and what has come for each."""

    def __init__(self, ws: Any) -> None:
        self.ws = ws
        self.sets: dict[str, list[dict[str, Any]]] = {}
        self.errors: dict[str, list[dict[str, Any]]] = {}

    async def greet(self) -> Socket:
        await self.ws.send('{"type":"connection_init"}')
        assert json.loads(await self.ws.recv())["type"] == "connection_ack"
        return self

    async def subscribe(self, operation: str, source: str) -> None:
        payload = {"query": FEED % source}
        await self.ws.send(json.dumps({"id": operation, "type": "subscribe", "payload": payload}))

    async def take(self) -> None:
        message = json.loads(await asyncio.wait_for(self.ws.recv(), 30))
        if message["type"] == "next":
            ((_, value),) = message["payload"]["data"].items()
            self.sets.setdefault(message["id"], []).append(value)
        elif message["type"] == "error":
            self.errors[message["id"]] = message["payload"]

    async def first_set(self, source: str) -> None:
        """Subscribe, again as long as its database has not described it yet, until something comes."""
        for turn in range(1000):
            operation = f"{source}{turn}"
            await self.subscribe(operation, source)
            while operation not in self.sets and operation not in self.errors:
                await self.take()
            if operation in self.sets:
                return
            assert self.errors[operation][0]["extensions"]["code"] == "source-not-ready"
        raise AssertionError(f"{source} never came")

    async def phases(self, operation: str, *wanted: str) -> None:
        """Take until an operation has had exactly these phases."""
        while [one["phase"] for one in self.sets.get(operation, ())] != list(wanted):
            assert operation not in self.errors, self.errors
            await self.take()


def connect(url: str) -> Any:
    return websockets.connect(url, subprotocols=[Subprotocol("graphql-transport-ws")])


def replace(file: Path, text: str) -> None:
    """Write as editors do: another file, renamed over it."""
    other = file.with_suffix(".tmp")
    other.write_text(text)
    other.rename(file)


@pytest.fixture
def folder(database: str, tmp_path: Path) -> Path:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(TABLES.encode())
    (tmp_path / ".env").write_text(f"DATABASE_URL={database}\n")
    (tmp_path / "tycostream.yaml").write_text(TRADES)
    return tmp_path


async def test_dev_follows_its_file_and_keeps_what_it_leaves_alone(folder: Path, database: str) -> None:
    file = folder / "tycostream.yaml"
    async with Process(folder, "dev", "--port", "0") as dev, connect(await dev.ready()) as ws:
        socket = await Socket(ws).greet()
        await socket.subscribe("t", "trades")
        await socket.phases("t", "snapshot", "ready")

        replace(file, BOTH)
        assert await dev.says("source quotes") == "+ source quotes"
        assert "1 added" in await dev.says("reloaded in")
        await socket.first_set("quotes")  # on the connection that was there, with the new schema

        file.write_text(BOTH + "  mistake: {colums: [id]}\nserver: {porrt: 1}\n")
        await dev.says("the configuration in force stays")
        told = [": ".join(line.split(": ")[:2]) for line in dev.lines if line.startswith("tycostream.yaml:")]
        assert told == ["tycostream.yaml:5:13: sources.mistake.colums", "tycostream.yaml:6:10: server.porrt"]

        replace(file, TRADES + "  # quotes: {}\n")
        await dev.says("- source quotes")
        await dev.says("reloaded in")
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(b"INSERT INTO trades VALUES (6, 'n6')")
        await socket.phases("t", "snapshot", "ready", "live")
        assert socket.sets["t"][-1]["changes"] == [{"operation": "insert", "row": {"id": 6, "note": "n6"}}], (
            "no new snapshot, and no gap"
        )


async def test_dev_starts_itself_anew_when_env_changes(folder: Path, database: str) -> None:
    async with Process(folder, "dev", "--port", "0") as dev:
        first, pid = await dev.ready(), dev.pid()
        async with connect(first) as ws:
            await Socket(ws).greet()
            (folder / ".env").write_text("DATABASE_URL='unfinished\n")
            assert ".env:1:1" in await dev.says("must end with it")
            await dev.says("the configuration in force stays")
            replace(folder / ".env", f"DATABASE_URL={database}\nOTHER=1\n")
            await dev.says("restarting")
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await asyncio.wait_for(ws.recv(), 30)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        second = await dev.ready()
        assert dev.pid() == pid
        assert dev.process.returncode is None
        async with connect(second) as ws:
            socket = await Socket(ws).greet()
            await socket.subscribe("t", "trades")
            await socket.phases("t", "snapshot", "ready")
        dev.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(dev.process.wait(), 20) == 0


async def test_dev_waits_for_a_file_without_mistakes(folder: Path) -> None:
    file = folder / "tycostream.yaml"
    file.write_text("sources: {trades: {colums: []}}\n")
    async with Process(folder, "dev", "--port", "0") as dev:
        await dev.says("did you mean")
        await dev.says("waiting for a change")
        replace(file, TRADES)
        await dev.ready()
    async with Process(folder, "dev", "--config", "absent.yaml") as dev:
        await dev.says("there is no such file")
        assert await asyncio.wait_for(dev.process.wait(), 20) == 1


async def test_serve_takes_on_the_file_at_sighup(folder: Path, database: str) -> None:
    file = folder / "tycostream.yaml"
    async with Process(folder, "serve", "--port", "0") as serve, connect(await serve.ready()) as ws:
        socket = await Socket(ws).greet()
        await socket.subscribe("t", "trades")
        await socket.phases("t", "snapshot", "ready")
        replace(file, BOTH + "name: other\n")
        serve.process.send_signal(signal.SIGHUP)
        await serve.says("+ source quotes")
        assert await serve.says("! name") == "! name: tycostream → other; needs a restart"
        await serve.says("reloaded in")
        file.write_text("sources: [")
        serve.process.send_signal(signal.SIGHUP)
        await serve.says("the configuration in force stays")
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(b"DELETE FROM trades WHERE id = 1")
        await socket.phases("t", "snapshot", "ready", "live")
