"""No secret is in anything that a server says: a run with a secret in every place that holds one, and one in every place
that a client may put one; then all that was written and answered is searched for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
import websockets
from websockets.typing import Subprotocol

from tests.auth.tokens import token
from tests.certificates import Authority

pytestmark = pytest.mark.timeout(180)

PATIENCE_S = 60
MARK = "CANARY"  # every secret has it
ADMIN = "CANARY-admin-secret-of-the-server"
JWT_KEY = "CANARY-jwt-key-that-is-long-enough-for-hs256"
YAML = """
databases:
  good: {{url: "{good}"}}
  wrong: {{url: "{wrong}", reconnect_delay_max: 200ms}}
  away: {{url: "postgresql://user:CANARY-away@127.0.0.1:1/x?application_name=CANARY-option", reconnect_delay_max: 200ms}}
  words: {{engine: materialize, url: "host=127.0.0.1 port=1 user=u password=CANARY-words", reconnect_delay_max: 200ms}}
  quick: {{engine: risingwave, url: "postgresql://u:CANARY-quick@127.0.0.1:1/x", reconnect_delay_max: 200ms}}
sources:
  items: {{database: good}}
  refused: {{database: wrong}}
  unreachable: {{database: away}}
  told: {{database: words}}
  fast: {{database: quick}}
auth:
  admin_secrets: ["{admin}"]
  jwt:
    - {{type: HS256, key: "{key}"}}
    - {{type: HS256, key_file: {key_file}, header: {{type: Cookie, name: session}}}}
    - {{jwk_url: "http://127.0.0.1:1/keys?api_key=CANARY-keys-address", header: {{type: CustomHeader, name: X-Token}}}}
limits: {{wrong_secrets_per_ip: 1000/s}}
state: "postgresql://u:CANARY-state@127.0.0.1:1/x"
server:
  port: 0
  cursor_key: ["CANARY-cursor-key"]
  tls: {{cert: {cert}, key: {private}}}
  log_level: debug
  log_format: {log_format}
"""


class Heard:
    """All that a process says and answers."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def add(self, said: object) -> None:
        self.parts.append(str(said))

    @property
    def text(self) -> str:
        return "\n".join(self.parts)

    def assert_silent(self, *more: str) -> None:
        for word in (MARK, "PRIVATE KEY", *more):
            found = [part for part in self.parts if word in part]
            assert not found, f"{word} is told"


class Served:
    """A process that serves."""

    def __init__(self, process: asyncio.subprocess.Process, heard: Heard) -> None:
        self.process, self.heard = process, heard
        self.url = ""
        self._news = asyncio.Event()
        self._readers = [
            asyncio.ensure_future(self._read(stream)) for stream in (process.stdout, process.stderr)
        ]

    async def _read(self, stream: asyncio.StreamReader | None) -> None:
        assert stream is not None
        while line := (await stream.readline()).decode():
            self.heard.add(line)
            if match := re.match(r"listening (\S+)", line):
                self.url = match[1]
            self._news.set()

    async def until(self, *words: str) -> None:
        """Until it has said all these."""
        async with asyncio.timeout(PATIENCE_S):
            while not all(word in self.heard.text for word in words):
                self._news.clear()
                await self._news.wait()

    async def stop(self) -> None:
        self.process.terminate()
        await self.process.wait()
        await asyncio.gather(*self._readers)


def written(folder: Path, database: str, log_format: str = "json", **changes: str) -> Path:
    """A configuration with a secret wherever one can be."""
    key_file = folder / "jwt.key"
    key_file.write_text("CANARY-key-file-that-is-long-enough-for-hs256")
    cert = Authority(folder, "ours").certificate("127.0.0.1")
    login = psycopg.conninfo.conninfo_to_dict(database)
    wrong = f"postgresql://{login['user']}:CANARY-wrong@{login['host']}:{login['port']}/{login['dbname']}"
    values = {"good": database, "wrong": wrong, "admin": ADMIN, "key": JWT_KEY, "log_format": log_format}
    values |= {"key_file": str(key_file), "cert": str(cert), "private": str(cert)}
    file = folder / "tycostream.yaml"
    file.write_text(YAML.format(**{**values, **changes}))
    return file


@contextlib.asynccontextmanager
async def served(file: Path, heard: Heard) -> AsyncIterator[Served]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tycostream", "serve", "--config", str(file)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        limit=2**20,
    )
    server = Served(process, heard)
    try:
        await server.until("listening https://")
        yield server
    finally:
        await server.stop()


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


GUESSES: list[dict[str, str]] = [
    {},
    {"X-Hasura-Admin-Secret": "CANARY-guess"},
    {"X-Hasura-Access-Key": "CANARY-guess", "X-Hasura-Admin-Secret": "CANARY-other"},
    bearer("CANARY-no-token"),
    bearer("tyco_CANARYCANARYCANARYCANARYCANARYCANARYCANARYCANARY"),
    bearer(token("CANARY-of-another-key-that-is-long-enough", sub="CANARY-subject")),
    bearer(token(JWT_KEY, exp=5, sub="CANARY-subject")),
    bearer(token(JWT_KEY, **{"https://hasura.io/jwt/claims": {"CANARY": "claims"}})),  # type: ignore[arg-type]
    {"Authorization": "Basic CANARY-basic"},
    {"Cookie": "session=CANARY-cookie", "GraphQL-Require-Preflight": "1"},
    {"Cookie": "session=CANARY-cookie"},
    {"Cookie": "session=CANARY; session=CANARY-twice"},
    {"X-Token": token("CANARY-of-another-key-that-is-long-enough")},
    {"Origin": "https://evil.example", "X-Hasura-Admin-Secret": ADMIN},
    {"Host": "evil.example", "X-Hasura-Admin-Secret": ADMIN},
    {"X-Hasura-Admin-Secret": ADMIN, "X-Hasura-Role": "nobody"},
]
QUERIES = [
    "{items {id}}",
    "{nothing}",
    "{",
    "{refused {id}}",
    "{unreachable {id}}",
    "subscription {items {id}}",
]


async def over_http(server: Served) -> None:
    async with httpx2.AsyncClient(verify=False, base_url=server.url) as client:
        admin = {"X-Hasura-Admin-Secret": ADMIN}
        for headers in [*GUESSES, admin]:
            for query in QUERIES:
                for answer in (
                    await client.post("/graphql", json={"query": query}, headers=headers),
                    await client.get("/graphql", params={"query": query}, headers=headers),
                ):
                    server.heard.add(f"{answer.status_code} {dict(answer.headers)} {answer.text}")
        for path in (
            "/readyz",
            "/v1/admin/sessions",
            "/v1/admin/state",
            "/healthz",
            "/v1/version",
            "/graphql?api_key=CANARY-address",
            "/x?t=CANARY-x",
            "/",
        ):
            for headers in ({}, admin):
                answer = await client.get(path, headers=headers)
                # an address that we redirect from is the client's own
                server.heard.add(f"{answer.status_code} {dict(answer.headers)} {answer.text}")
        assert (await client.post("/graphql", json={"query": "{items {id}}"}, headers=admin)).json() == {
            "data": {"items": [{"id": 1}]}
        }


async def over_websockets(server: Served) -> None:
    context: Any = __import__("ssl")._create_unverified_context()
    for headers in [*GUESSES, {"X-Hasura-Admin-Secret": ADMIN}]:
        for payload, upgrade in ((headers, {}), ({}, headers)):
            more = {name: value for name, value in upgrade.items() if name not in ("Host", "Origin")}
            try:
                async with websockets.connect(
                    server.url.replace("http", "ws") + "/graphql?token=CANARY-address",
                    subprotocols=[Subprotocol("graphql-transport-ws")],
                    ssl=context,
                    origin=upgrade.get("Origin"),  # type: ignore[arg-type]
                    additional_headers=more,
                ) as ws:
                    await ws.send(json.dumps({"type": "connection_init", "payload": {"headers": payload}}))
                    server.heard.add(await ws.recv())
                    for number, query in enumerate(QUERIES):
                        subscribe = {"query": query}
                        await ws.send(
                            json.dumps({"type": "subscribe", "id": str(number), "payload": subscribe})
                        )
                        server.heard.add(await ws.recv())
                    await ws.send('{"type":"CANARY-no-type"}')
                    async for message in ws:
                        server.heard.add(message)
            except (websockets.ConnectionClosed, websockets.InvalidStatus) as refused:
                server.heard.add(refused)
                response: Any = getattr(refused, "response", None)
                server.heard.add(response and response.body)


async def over_broken_bytes(server: Served) -> None:
    """Requests that no client writes, over TLS and without."""
    context: Any = __import__("ssl")._create_unverified_context()
    number = int(server.url.rsplit(":", 1)[1])
    secret = f"X-Hasura-Admin-Secret: {ADMIN}"
    for said in (
        f"GET /?k=CANARY HTTP/1.1\r\n{secret}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: CANARY@x\r\n{secret}\r\nCookie: CANARY\0\r\n\r\n",
        f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\n{secret}\r\nContent-Length: CANARY\r\n\r\n",
    ):
        for ssl in (context, None):
            reader, writer = await asyncio.open_connection("127.0.0.1", number, ssl=ssl)
            writer.write(said.encode())
            with contextlib.suppress(ConnectionError):
                server.heard.add((await asyncio.wait_for(reader.read(), PATIENCE_S)).decode(errors="replace"))
            writer.close()


async def prepared(database: str) -> str:
    """``database`` with a table, as a user whose password is a secret of ours."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as db:
        await db.execute("CREATE TABLE items (id int PRIMARY KEY)")
        await db.execute("ALTER TABLE items REPLICA IDENTITY FULL")
        await db.execute("INSERT INTO items VALUES (1)")
        await db.execute("CREATE ROLE canary LOGIN SUPERUSER PASSWORD 'CANARY-good'")
    login = psycopg.conninfo.conninfo_to_dict(database)
    return f"postgresql://canary:CANARY-good@{login['host']}:{login['port']}/{login['dbname']}"


@pytest.fixture
async def as_canary(database: str) -> AsyncIterator[str]:
    yield await prepared(database)
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as db:
        await db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'canary'")
        await db.execute("DROP OWNED BY canary")
        await db.execute("DROP ROLE canary")


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_a_server_tells_no_secret(as_canary: str, tmp_path: Path, log_format: str) -> None:
    heard = Heard()
    good = as_canary
    text_of_good = f'{good}"' + ", manage: true"
    file = written(tmp_path, good, log_format)
    file.write_text(file.read_text().replace(f'{good}"', text_of_good, 1))
    async with served(file, heard) as server:
        await server.until("password authentication failed", "refused")
        async with httpx2.AsyncClient(verify=False, base_url=server.url) as client:
            admin = {"X-Hasura-Admin-Secret": ADMIN}
            async with asyncio.timeout(PATIENCE_S):
                while (
                    '"data"'
                    not in (await client.post("/graphql", json={"query": "{items {id}}"}, headers=admin)).text
                ):
                    await asyncio.sleep(0.05)
        await over_http(server)
        await over_websockets(server)
        await over_broken_bytes(server)
        # secrets that change, and a file that is wrong about them
        right = file.read_text()
        file.write_text(
            right.replace(ADMIN, ADMIN + "-rotated").replace("CANARY-cursor-key", "CANARY-other-key")
        )
        server.process.send_signal(signal.SIGHUP)
        await server.until("reloaded in", "~ auth.admin_secrets", "~ server.cursor_key")
        file.write_text(
            right.replace(JWT_KEY, "CANARY")
            .replace("user:CANARY-away@127.0.0.1:1", "mysql://CANARY-away")
            .replace(ADMIN, "CANARY")
            .replace("CANARY-state@", "CANARY-state@[")
        )
        server.process.send_signal(signal.SIGHUP)
        await server.until("the configuration in force stays")
    assert server.process.returncode == 0
    assert 'invalid "x-hasura-admin-secret"' in heard.text.replace("\\", ""), "answers were heard"
    assert "request_refused" in heard.text, "the log was heard"
    heard.assert_silent()


@pytest.mark.parametrize(
    "arguments",
    [
        ["check"],
        ["check", "--json"],
        ["schema"],
        ["cleanup"],
        ["metadata", "export", "--output", "OUT"],
        ["token", "list"],
        ["token", "create", "--role", "x"],
        ["config", "json-schema"],
    ],
)
async def test_no_command_tells_one(as_canary: str, tmp_path: Path, arguments: list[str]) -> None:
    file = written(tmp_path, as_canary)
    out = tmp_path / "out"
    arguments = [str(out) if word == "OUT" else word for word in arguments]
    if arguments[0] != "config":
        arguments += ["--config", str(file)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tycostream", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )
    heard = Heard()
    said, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    heard.add(said.decode())
    for path in sorted(out.rglob("*")):
        if path.is_file():
            heard.add(path.read_text())
    assert heard.text.strip()
    assert "No such option" not in heard.text
    assert "No such command" not in heard.text
    heard.assert_silent()
