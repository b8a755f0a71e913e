"""docs/auth.md as a reader follows it: the ten minutes step by step, and every issuer with a token as it makes them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import jwt
import psycopg
import pytest
import websockets
from aiohttp import web
from websockets.typing import Subprotocol

from tests.auth.tokens import EC, OTHER_RSA, RSA, SECRET, jwk, pem, token
from tests.transports.test_port import Port, serving
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS
from tycostream.testing.scripted import ScriptedEngine

PAGE = Path(__file__).parents[1] / "docs" / "auth.md"
ADDRESS = "http://127.0.0.1:4000"
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def section(title: str, level: str = "##") -> list[tuple[str, str]]:
    """The blocks of a section: their language and their text."""
    found = re.search(
        rf"^{level} {re.escape(title)}$(.*?)(?=^#{{2,{len(level)}}} |\Z)",
        PAGE.read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert found, title
    return _FENCE.findall(found[1])


TEN_MINUTES = section("From nothing to rules for rows")


# the ten minutes


class Reader:
    """Somebody who types what the page says."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.database = database
        self.address = ""
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        self.environ = {**os.environ, "PATH": path, "DATABASE_URL": database, "TYCO_PORT": "0"}

    def sql(self, text: str) -> None:
        with psycopg.connect(self.database, autocommit=True) as connection:
            for statement in filter(str.strip, text.split(";")):
                connection.execute(statement.encode())

    def sh(self, text: str) -> str:
        """What the lines say; what they export is there for the next ones."""
        kept = self.folder / "environment"
        script = f"set -e\n{text.replace(ADDRESS, self.address)}\nenv -0 > '{kept}'\n"
        command = ["bash", "-c", script]
        done = subprocess.run(
            command,
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        pairs = kept.read_text().rstrip("\0").split("\0")
        self.environ = dict(pair.split("=", 1) for pair in pairs)
        return done.stdout

    @contextmanager
    def serve(self, command: str) -> Iterator[None]:
        process = subprocess.Popen(
            command.split(),
            env=self.environ,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        lines: list[str] = []
        ready = threading.Event()

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if line.startswith("ready "):
                    ready.set()
            ready.set()

        reader = threading.Thread(target=read)
        reader.start()
        try:
            assert ready.wait(60)
            listening = [line.split()[1] for line in lines if line.startswith("listening ")]
            assert listening, "".join(lines)
            self.address = listening[0]
            yield
        finally:
            process.terminate()
            process.wait(20)
            reader.join(20)
            assert process.stdout is not None
            process.stdout.close()


needs_curl = pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "curl", "openssl"))), reason="the page uses bash, curl and openssl"
)


@needs_curl
def test_from_nothing_to_rules_for_rows(tmp_path: Path, database: str) -> None:
    reader = Reader(tmp_path, database)
    kinds = [kind for kind, _ in TEN_MINUTES]
    assert kinds == ["sql", "yaml", "sh", *["sh", "json"] * 5, "json", "sql", "json"]
    table, yaml, start, *steps = (text for _, text in TEN_MINUTES)
    asked, (messages, moves, told) = steps[:-3], steps[-3:]
    reader.sql(table)
    (tmp_path / "tycostream.yaml").write_text(yaml)
    exports, serve = start.rstrip().rsplit("\n", 1)
    reader.sh(re.sub(r"^export DATABASE_URL=.*$", "", exports, flags=re.MULTILINE))
    assert len(reader.environ["ADMIN_SECRET"]) == len(reader.environ["JWT_SECRET"]) == 64
    with reader.serve(serve):
        for typed, expected in zip(asked[0::2], asked[1::2], strict=True):
            assert json.loads(reader.sh(typed)) == json.loads(expected)
        asyncio.run(follow(reader, messages, moves, told))


async def follow(reader: Reader, messages: str, moves: str, told: str) -> None:
    """The WebSocket's part: what is sent, what happens then in the database, and what is heard of it."""
    address = reader.address.replace("http", "ws") + "/v1/graphql"
    async with (
        asyncio.timeout(60),
        websockets.connect(address, subprotocols=[Subprotocol("graphql-transport-ws")]) as ws,
    ):
        greeting, subscribing = messages.replace("eyJ…", reader.environ["TOKEN"]).splitlines()
        await ws.send(greeting)
        assert json.loads(await ws.recv()) == {"type": "connection_ack"}
        await ws.send(subscribing)
        seen: list[Any] = []
        while len(seen) < 2:  # the snapshot
            sets = json.loads(await ws.recv())["payload"]["data"]["trades_changes"]["changes"]
            seen += [change["row"] for change in sets]
        assert seen == [{"id": 1, "price": 1.08}, {"id": 3, "price": 1.09}]
        assert json.loads(await ws.recv())["payload"]["data"]["trades_changes"] == {"changes": []}  # ready
        await asyncio.to_thread(reader.sql, moves)
        heard = [json.loads(await ws.recv()) for _ in told.splitlines()]
        assert heard == [json.loads(line) for line in told.splitlines()]


# issuers

TRADES = RowType(
    "trades",
    (
        Column("id", SCALARS["int4"], nullable=False),
        Column("desk", SCALARS["text"], nullable=False),
        Column("price", SCALARS["numeric"], nullable=False),
        Column("note", SCALARS["text"]),
    ),
    key=(0,),
)
ROWS = [(1, "fx", Decimal("1.08"), "for auditors"), (2, "rates", Decimal("99.5"), None)]
ISSUERS: dict[str, tuple[Any, str, str | None]] = {  # how each signs: key, algorithm, the id of the key
    "Auth0": (RSA, "RS256", "auth0-1"),
    "Keycloak": (EC, "ES256", "keycloak-1"),
    "A service of your own": (RSA, "RS256", None),
    "A session in a cookie": (SECRET, "HS256", None),
}
PUBLISHED = {
    "/.well-known/jwks.json": [
        jwk(OTHER_RSA, kid="auth0-0", alg="RS256", use="sig"),
        jwk(RSA, kid="auth0-1", alg="RS256", use="sig"),
    ],
    "/realms/shop/protocol/openid-connect/certs": [
        jwk(OTHER_RSA, kid="encryption", use="enc", alg="RSA-OAEP"),
        jwk(EC, kid="keycloak-1", use="sig", alg="ES256"),
    ],
}
ENVIRON = {"JWT_PUBLIC_KEY": pem(RSA), "JWT_SECRET": SECRET, "ADMIN_SECRET": "0123456789abcdef"}


@dataclass
class Issuer:
    """A server that publishes keys, as the real ones do, on this machine."""

    url: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    made = Issuer()

    async def keys(request: web.Request) -> web.Response:
        made.asked.append(request.path)
        return web.json_response({"keys": PUBLISHED[request.path]})

    application = web.Application()
    application.router.add_get("/{path:.*}", keys)
    runner: Any = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def configured(auth: str, issuer: Issuer) -> str:
    """A server of trades that believes an issuer of the page, whose keys are on this machine."""
    sources = re.search(r"^sources:\n(?: .*\n)+", TEN_MINUTES[1][1], re.MULTILINE)
    assert sources
    here = re.sub(r'(jwk_url: ")https://[^/"]+', rf"\g<1>{issuer.url}", auth)
    whole = f"databases: {{main: {{url: host=scripted}}}}\n{sources[0]}server: {{port: 0}}\n{here}"
    for name, value in ENVIRON.items():
        whole = whole.replace(f'"${{{name}}}"', json.dumps(value))
    return whole


def signed(title: str, said: Mapping[str, Any]) -> str:
    key, algorithm, kid = ISSUERS[title]
    times = {"iat": int(time.time()) - 5, "exp": int(time.time()) + 300}
    return jwt.encode({**said, **times}, key, algorithm, headers={"kid": kid} if kid else None)


def headers(title: str, text: str) -> dict[str, str]:
    return {"Cookie": f"session={text}"} if "cookie" in title else {"Authorization": f"Bearer {text}"}


async def ask(port: Port, shown: Mapping[str, str], query: str = "{trades {id}}") -> Any:
    async with httpx2.AsyncClient() as client:
        return (
            await client.post(f"{port.url}/v1/graphql", json={"query": query}, headers=dict(shown))
        ).json()


@pytest.mark.parametrize("title", ISSUERS)
async def test_a_token_of_every_issuer_of_the_page(
    title: str, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = section(title, "###")
    auth = next(text for kind, text in blocks if kind == "yaml")
    said: dict[str, Any] = json.loads(next(text for kind, text in blocks if kind == "json"))
    engine = ScriptedEngine([TRADES])
    engine.tables["trades"] = list(ROWS)
    async with serving(engine, monkeypatch, configured(auth, issuer)) as port:
        trader = headers(title, signed(title, said))
        assert await ask(port, trader) == {"data": {"trades": [{"id": 1}]}}
        auditor = {**trader, "X-Hasura-Role": "auditor"}
        everything = {"data": {"trades": [{"id": 1, "note": "for auditors"}, {"id": 2, "note": None}]}}
        assert await ask(port, auditor, "{trades {id note}}") == everything
        error = (await ask(port, {**trader, "X-Hasura-Role": "admin"}))["errors"][0]
        assert error["message"] == "Your requested role is not in allowed roles"
        for changed in ({"iss": "https://evil.example.com/"}, {"aud": "another-api"}):
            if next(iter(changed)) in said:
                error = (await ask(port, headers(title, signed(title, said | changed))))["errors"][0]
                assert error["extensions"]["code"] == "invalid-jwt"
        protocol = [Subprotocol("graphql-transport-ws")]
        async with websockets.connect(
            port.ws, subprotocols=protocol, additional_headers=trader if "cookie" in title else None
        ) as ws:
            await ws.send(json.dumps({"type": "connection_init", "payload": {"headers": trader}}))
            assert json.loads(await ws.recv()) == {"type": "connection_ack"}
    assert len(issuer.asked) == len(set(issuer.asked)) == ("jwk_url" in auth)  # once, for all of them


async def test_several_issuers_side_by_side(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ((_, auth),) = section("Several", "###")
    auth = auth.replace("sqlite:///", f"sqlite:///{tmp_path}/")
    said = json.loads(next(text for kind, text in section("Auth0", "###") if kind == "json"))
    engine = ScriptedEngine([TRADES])
    engine.tables["trades"] = list(ROWS)
    async with serving(engine, monkeypatch, configured(auth, issuer)) as port:
        assert await ask(port, {"Authorization": f"Bearer {signed('Auth0', said)}"}) == {
            "data": {"trades": [{"id": 1}]}
        }
        roles = {"x-hasura-default-role": "auditor", "x-hasura-allowed-roles": ["auditor"]}
        namespace: dict[str, Any] = {"https://hasura.io/jwt/claims": roles}
        batch = token(SECRET, iss="batch", **namespace)
        assert await ask(port, {"Authorization": f"Bearer {batch}"}) == {
            "data": {"trades": [{"id": 1}, {"id": 2}]}
        }
        crossed = token(SECRET, iss="https://example.eu.auth0.com/", aud="my-api", **namespace)
        error = (await ask(port, {"Authorization": f"Bearer {crossed}"}))["errors"][0]
        assert error["message"] == "Could not verify JWT: no key of its issuer is for it"
        anonymous = (await ask(port, {}))["errors"][0]["message"]
        assert anonymous == "field 'trades' not found in type: 'query_root'"
        assert "trades" in (await ask(port, {"X-Hasura-Admin-Secret": ENVIRON["ADMIN_SECRET"]}))["data"]


def test_every_issuer_of_the_page_is_tested() -> None:
    text = PAGE.read_text()
    titles = re.findall(
        r"^### (.+)$", text[text.index("## Issuers") : text.index("## Secrets")], re.MULTILINE
    )
    assert titles == [*ISSUERS, "Several"]
