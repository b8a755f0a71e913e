"""A request's document: by its text or by its hash, over HTTP and on WebSockets alike."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.transports.test_port import ITEMS, Port, serving
from tycostream.graphql.trusted import DocumentId, document_hash
from tycostream.testing.scripted import ScriptedEngine
from tycostream.transports.wire.documents import NoDocument, document_of
from tycostream.transports.wire.transport_ws import Close, Subscribe, TransportWsProtocol

TEXT = "query one($id: bigint!) { items_by_pk(id: $id) { name } }"
HASH = document_hash(TEXT)
APOLLO = {"persistedQuery": {"version": 1, "sha256Hash": HASH}}
SUBSCRIPTION = "subscription { items_by_pk(id: 1) { name } }"
SECRET = {"X-Hasura-Admin-Secret": "the secret of the admin"}
YAML = f"""
databases: {{main: {{url: host=scripted}}}}
sources: {{items: {{}}}}
server: {{port: 0}}
auth: {{admin_secrets: the secret of the admin}}
query_collections:
  app: {{one: "{TEXT}", live: "{SUBSCRIPTION}"}}
allowlist: {{app: {{roles: [user]}}}}
introspection: {{disabled_for_roles: [user]}}
"""


@pytest.mark.parametrize(
    "parameters",
    [
        {"documentId": HASH},
        {"documentId": f"sha256:{HASH}"},
        {"documentId": HASH.upper(), "query": None},
        {"extensions": APOLLO},
        {"extensions": APOLLO, "query": ""},
        {"documentId": HASH, "extensions": {"persistedQuery": "not looked at"}},
    ],
)
def test_a_document_by_its_hash(parameters: dict[str, Any]) -> None:
    assert document_of(parameters) == DocumentId(HASH)


def test_a_document_by_its_text() -> None:
    beside: list[dict[str, Any]] = [{}, {"documentId": HASH}, {"extensions": APOLLO}, {"extensions": {}}]
    for more in beside:
        assert document_of({"query": TEXT, **more}) == TEXT
    assert document_of({"query": ""}) == ""


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({}, "the query is missing"),
        ({"query": 1}, "query is not a string"),
        ({"documentId": 1}, "documentId is not a SHA-256 in hexadecimal"),
        ({"documentId": "md5:" + HASH}, "documentId is not a SHA-256 in hexadecimal"),
        ({"documentId": HASH[1:] + "g"}, "documentId is not a SHA-256 in hexadecimal"),
        ({"extensions": {"persistedQuery": {"version": 1}}}, "extensions.persistedQuery.sha256Hash is not a SHA-256 in"),
        ({"extensions": {"persistedQuery": {"version": 2, "sha256Hash": HASH}}}, "extensions.persistedQuery is not an object"),
        ({"extensions": {"persistedQuery": HASH}}, "extensions.persistedQuery is not an object of version 1"),
        ({"query": TEXT + " ", "documentId": HASH}, "provided sha does not match query"),
        ({"query": TEXT + " ", "extensions": APOLLO}, "provided sha does not match query"),
    ],
)  # fmt: skip
def test_what_is_none_is_told_on_both_transports(parameters: dict[str, Any], problem: str) -> None:
    with pytest.raises(NoDocument, match=problem):
        document_of(parameters)
    protocol = TransportWsProtocol()
    protocol.feed('{"type":"connection_init"}')
    event = protocol.feed(json.dumps({"id": "1", "type": "subscribe", "payload": parameters}))
    assert isinstance(event, Close)
    assert event.code == 4400
    assert event.reason.startswith(f"Invalid message: {problem}")


def test_an_empty_text_is_for_the_planner_to_refuse() -> None:
    protocol = TransportWsProtocol()
    protocol.feed('{"type":"connection_init"}')
    assert isinstance(protocol.feed('{"id":"1","type":"subscribe","payload":{"query":""}}'), Subscribe)


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Port]:
    engine = ScriptedEngine([ITEMS])
    engine.tables["items"] = [(n, f"name {n}") for n in range(3)]
    yaml = YAML.replace("items: {}", "items: {permissions: {user: {columns: [id, name]}}}")
    async with serving(engine, monkeypatch, yaml) as port:
        yield port


async def over_http(port: Port, headers: dict[str, str], **parameters: Any) -> Any:
    async with httpx2.AsyncClient() as client:
        answer = await client.post(f"{port.url}/graphql", json=parameters, headers=headers)
        return answer.json()


async def over_websocket(port: Port, headers: dict[str, str], **parameters: Any) -> Any:
    async with port.connect() as ws:
        await ws.send(json.dumps({"type": "connection_init", "payload": {"headers": headers}}))
        assert json.loads(await ws.recv()) == {"type": "connection_ack"}
        await ws.send(json.dumps({"id": "1", "type": "subscribe", "payload": parameters}))
        message = json.loads(await ws.recv())
        return message["payload"] if message["type"] == "next" else {"errors": message["payload"]}


USER = {**SECRET, "X-Hasura-Role": "user"}
ROW = {"data": {"items_by_pk": {"name": "name 1"}}}


@pytest.mark.parametrize("ask", [over_http, over_websocket])
async def test_a_role_with_an_allow_list_runs_what_is_listed_and_nothing_else(port: Port, ask: Any) -> None:
    variables = {"id": 1}
    for named in ({"query": TEXT.replace(" ", "  ")}, {"documentId": HASH}, {"extensions": APOLLO}):
        assert await ask(port, USER, variables=variables, **named) == ROW
    refused = await ask(port, USER, query="{items {name}}")
    assert refused["errors"][0]["message"] == "query is not allowed"
    refused = await ask(port, USER, documentId=document_hash("{items {name}}"))
    assert refused["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
    admin = await ask(port, SECRET, query="{items(limit: 1) {name} __schema {queryType {name}}}")
    assert admin["data"]["items"] == [{"name": "name 0"}]
    assert await ask(port, {**SECRET, "X-Hasura-Role": "other"}, documentId=HASH) == {
        "errors": [
            {
                "message": "PersistedQueryNotFound",
                "extensions": {
                    "path": "$",
                    "code": "PERSISTED_QUERY_NOT_FOUND",
                    "hint": "no operation of `query_collections` that this role may run has this hash",
                },
            }
        ]
    }


async def test_a_subscription_by_its_hash(port: Port) -> None:
    assert await over_websocket(port, USER, documentId=document_hash(SUBSCRIPTION)) == ROW


async def test_a_get_with_a_hash_is_answered_and_no_page_is_shown(port: Port) -> None:
    async with httpx2.AsyncClient() as client:
        for named in ({"documentId": HASH}, {"extensions": json.dumps(APOLLO)}):
            answer = await client.get(
                f"{port.url}/graphql",
                params={**named, "variables": '{"id": 1}'},
                headers={**USER, "Accept": "text/html"},
            )
            assert answer.json() == ROW


async def test_a_reload_changes_what_may_be_run(port: Port) -> None:
    async with port.connect() as ws:
        await ws.send(json.dumps({"type": "connection_init", "payload": {"headers": USER}}))
        await ws.recv()
        await port.app.reload(
            port.app.config.model_copy(update={"query_collections": {"app": {"q": "{items {id}}"}}})
        )
        await ws.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": "{items {id}}"}}))
        assert json.loads(await ws.recv())["type"] == "next"
        await ws.recv()
        await ws.send(json.dumps({"id": "2", "type": "subscribe", "payload": {"documentId": HASH}}))
        assert json.loads(await ws.recv())["payload"][0]["message"] == "PersistedQueryNotFound"
