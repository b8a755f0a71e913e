"""Server-Sent Events on a real port: what is framed how, where a client goes on, and how a stream ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tests.transports.event_source import EventSource, connected, request, stream
from tests.transports.test_port import ITEMS, Port, serving
from tycostream.observe.events import ConnectionOpened, OperationEnded, OperationStarted
from tycostream.testing.scripted import ScriptedEngine

YAML = """
databases: {main: {url: host=scripted}}
sources: {items: {}}
server: {port: 0, ping_interval: 300ms, cursor_key: a key that the tests have}
"""
FEED = "subscription {items_changes {phase cursor changes {operation row {id name}}}}"
UNSELECTED = "subscription {items_changes {phase changes {operation row {id name}}}}"
LIVE = "subscription {items(order_by: {id: asc}) {name}}"


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Port]:
    engine = ScriptedEngine([ITEMS])
    engine.tables["items"] = [(n, f"name {n}") for n in range(3)]
    async with serving(engine, monkeypatch, YAML) as port:
        yield port


def rename(port: Port, number: int, old: str, new: str) -> None:
    port.engine.commit({"items": [((number, old), (number, new))]})


async def ended(port: Port, count: int = 1) -> list[OperationEnded]:
    async with asyncio.timeout(10):
        while len(found := [each for each in port.events if isinstance(each, OperationEnded)]) < count:
            await asyncio.sleep(0.005)
    return found


async def to_ready(source: EventSource) -> str | None:
    """Read the snapshot; the id of its end."""
    assert (await source.next())["data"]["items_changes"]["phase"] == "snapshot"
    event = await source.event()
    assert event.payload["data"]["items_changes"]["phase"] == "ready"
    return event.id


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/graphql", "/v1/graphql"])
async def test_a_live_query(port: Port, method: str, path: str) -> None:
    async with stream(port, LIVE, method=method, path=path) as source:
        assert source.status == 200
        assert source.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert source.headers["cache-control"] == "no-cache, no-store, no-transform"
        assert source.headers["x-accel-buffering"] == "no"
        assert source.headers["connection"] == "close"
        assert source.headers["transfer-encoding"] == "chunked"
        assert "content-length" not in source.headers
        event = await source.event()
        assert event.payload == {"data": {"items": [{"name": f"name {n}"} for n in range(3)]}}
        assert event.id is None, "a live query has no cursor"
        rename(port, 1, "name 1", "one")
        assert (await source.next())["data"]["items"][1] == {"name": "one"}
    [over] = await ended(port)
    assert (over.asked.transport, over.reason, over.rows) == ("sse", "disconnected", 6)


async def test_a_feed_tells_its_cursor_in_the_id(port: Port) -> None:
    async with stream(port, FEED) as source:
        first = await source.event()
        assert (first.payload["data"]["items_changes"]["phase"], first.id) == ("snapshot", None)
        second = await source.event()
        assert second.id == second.payload["data"]["items_changes"]["cursor"] != None  # noqa: E711
        rename(port, 0, "name 0", "zero")
        third = await source.event()
        assert third.id == third.payload["data"]["items_changes"]["cursor"] != second.id


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_client_goes_on_from_the_last_id_whatever_it_selects(port: Port, method: str) -> None:
    async with stream(port, UNSELECTED) as source:
        last = await to_ready(source)
        assert last
    rename(port, 0, "name 0", "zero")
    rename(port, 0, "zero", "nil")
    async with stream(port, UNSELECTED, method=method, headers={"Last-Event-ID": last}) as source:
        event = await source.event()
        assert event.payload["data"]["items_changes"] == {
            "phase": "live",
            "changes": [{"operation": "update", "row": {"id": 0, "name": "nil"}}],
        }
        assert event.id not in (None, last)


async def test_the_last_id_is_newer_than_what_the_document_says(port: Port) -> None:
    query = "subscription ($after: String) {items_changes(after: $after) {phase cursor changes {operation}}}"
    async with stream(port, query) as source:
        old = await to_ready(source)
        rename(port, 0, "name 0", "zero")
        new = (await source.event()).id
    assert old is not None
    assert new is not None
    async with stream(port, query, headers={"Last-Event-ID": new}, variables={"after": old}) as source:
        assert (await source.next())["data"]["items_changes"]["changes"] == []
    async with stream(port, query, headers={"Last-Event-ID": ""}, variables={"after": old}) as source:
        assert len((await source.next())["data"]["items_changes"]["changes"]) == 1


@pytest.mark.parametrize("last", ["nonsense", "A" * 3000, "%00"])
async def test_an_id_that_is_not_ours_is_a_reset(port: Port, last: str) -> None:
    async with stream(port, FEED, headers={"Last-Event-ID": last}) as source:
        phases = [(await source.next())["data"]["items_changes"]["phase"] for _ in range(3)]
        assert phases == ["reset", "snapshot", "ready"]
    query = "subscription {items_changes(snapshot: false) {phase}}"
    async with stream(port, query, headers={"Last-Event-ID": last}) as source:
        refused, complete = await source.rest()
        assert refused.payload["errors"][0]["extensions"]["code"] == "CURSOR_EXPIRED"
        assert complete.event == "complete"


async def test_the_id_means_nothing_to_other_operations(port: Port) -> None:
    async with stream(port, LIVE, headers={"Last-Event-ID": "nonsense"}) as source:
        assert len((await source.next())["data"]["items"]) == 3
    streamed = "subscription {items_stream(batch_size: 2, cursor: {initial_value: {id: -1}}) {id}}"
    async with stream(port, streamed, headers={"Last-Event-ID": "nonsense"}) as source:
        event = await source.event()
        assert (event.payload, event.id) == ({"data": {"items_stream": [{"id": 0}, {"id": 1}]}}, None)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_query_has_one_result_and_is_complete(port: Port, method: str) -> None:
    async with stream(port, "{items_by_pk(id: 1) {name}}", method=method) as source:
        assert source.status == 200
        assert source.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert (
            await source.body()
            == 'event: next\ndata: {"data":{"items_by_pk":{"name":"name 1"}}}\n\nevent: complete\ndata:\n\n'
        )
        assert "connection" not in source.headers
        source.writer.write(request("{items_by_pk(id: 2) {name}}", method=method))
        await source.read_head()
        assert '"name 2"' in await source.body(), "its connection can be asked again"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("{nope}", "field 'nope' not found in type: 'query_root'"),
        ("subscription {nope}", "field 'nope' not found in type: 'subscription_root'"),
        ("{", "not a valid graphql query"),
    ],
)
async def test_what_is_refused_is_told_by_an_event(port: Port, query: str, message: str) -> None:
    async with stream(port, query) as source:
        assert source.status == 200
        told, complete = (await source.body()).split("\n\n")[:2]
        assert complete == "event: complete\ndata:"
        event, data = told.split("\n")
        assert event == "event: next"
        assert json.loads(data.removeprefix("data: "))["errors"][0]["message"] == message


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"POST /graphql HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 1\r\n%b\r\n{", 400),
        (b"POST /graphql HTTP/1.1\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n%b\r\n{}", 415),
        (b"GET /graphql HTTP/1.1\r\n%b\r\n", 400),
        (b"GET /graphql?query={x}&variables=1 HTTP/1.1\r\n%b\r\n", 400),
    ],
)
async def test_a_request_that_is_none_has_a_status(port: Port, raw: bytes, status: int) -> None:
    async with connected(port) as source:
        source.writer.write(raw % b"host: 127.0.0.1\r\naccept: text/event-stream\r\n")
        await source.read_head()
        assert (source.status, source.headers["content-type"]) == (
            status,
            "application/graphql-response+json",
        )
        assert json.loads(await source.body())["errors"][0]["extensions"]["code"] == "bad-request"


ALL = "application/graphql-response+json, application/json, text/event-stream, multipart/mixed"


@pytest.mark.parametrize(
    "accept", [ALL, "text/event-stream, */*", "application/json;q=0.9, text/event-stream"]
)
async def test_who_takes_both_gets_json_for_queries_and_a_stream_for_subscriptions(
    port: Port, accept: str
) -> None:
    async with stream(port, "{items_by_pk(id: 1) {name}}", headers={"accept": accept}) as source:
        assert json.loads(await source.body()) == {"data": {"items_by_pk": {"name": "name 1"}}}
    async with stream(port, "{nope}", headers={"accept": accept}) as source:
        assert "json" in source.headers["content-type"]
        assert "errors" in json.loads(await source.body())
    async with stream(port, LIVE, headers={"accept": accept}) as source:
        assert source.headers["content-type"].startswith("text/event-stream")
        assert len((await source.next())["data"]["items"]) == 3


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/graphql-response+json"])
async def test_who_takes_no_stream_is_told_of_both_ways(port: Port, accept: str) -> None:
    async with stream(port, LIVE, headers={"accept": accept}) as source:
        [error] = json.loads(await source.body())["errors"]
        assert (
            error["message"] == "subscriptions need a WebSocket, or a client that accepts a stream of events"
        )
        assert error["extensions"]["hint"].startswith("accept text/event-stream, or connect")


async def test_head_starts_nothing(port: Port) -> None:
    async with stream(port, LIVE, method="HEAD") as source:
        assert (source.status, source.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert not [each for each in port.events if isinstance(each, OperationStarted | ConnectionOpened)]


async def test_http_1_0_has_no_chunks(port: Port) -> None:
    async with stream(port, LIVE, version="1.0") as source:
        assert not {"transfer-encoding", "content-length"} & source.headers.keys()
        assert len((await source.next())["data"]["items"]) == 3
        rename(port, 1, "name 1", "one")
        assert (await source.next())["data"]["items"][1] == {"name": "one"}
        await port.server.stop(2)
        assert [each.retry is not None for each in await source.rest()] == [True]


async def test_comments_keep_it_alive(port: Port) -> None:
    async with stream(port, LIVE) as source:
        await source.next()
        for _ in range(2):
            assert (await source.event(comments=True)).comment == ""


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_restart_is_not_told_as_the_end_of_the_operation(port: Port, method: str) -> None:
    async with stream(port, LIVE, method=method) as source:
        await source.next()
        await port.server.stop(5)
        rest = await source.rest()
        assert source.ended, "HTTP's own end was there"
        retries = [each.retry for each in rest]
        # only a browser's EventSource takes the advice; it asks by GET. graphql-sse once broke at it
        assert [retry for retry in retries if retry is not None and 1000 <= retry < 5000] == retries
        assert len(retries) == (method == "GET")
        assert await source.gone() == b""
    [closed] = await port.closed(1)
    assert (closed.transport, closed.code) == ("sse", 1012)


async def test_what_the_server_ends_is_complete(port: Port) -> None:
    async with stream(port, FEED) as source:
        await to_ready(source)
        port.app.hub.remove_source("items")
        refused, complete = await source.rest()
        assert refused.payload["errors"][0]["extensions"]["code"] == "source-removed"
        assert (complete.event, complete.data) == ("complete", "")
        assert source.ended
        assert await source.gone() == b""
    [over] = await ended(port)
    assert over.reason == "source-removed"
    [closed] = await port.closed(1)
    assert (closed.code, closed.reason) == (1000, "the operation is over")


async def test_a_client_that_goes_leaves_nothing(port: Port) -> None:
    connections = port.app.limiter.connections
    async with stream(port, FEED) as source:
        await to_ready(source)
        assert (len(port.app.clients), connections.open) == (1, 1)
        [(number, client)] = port.app.clients.after()
        [operation] = client.operations()
        assert (client.transport, operation.kind, operation.told.rows) == ("sse", "feed", 3)
    [over] = await ended(port)
    assert over.asked.connection == number
    [closed] = await port.closed(1)
    assert closed.code == 1000
    assert (len(port.app.clients), connections.open) == (0, 0)
    assert not port.app.authenticator._watchers
    assert not port.server._server.server_state.connections


@pytest.mark.parametrize("more", [b"GET / HTTP/1.1\r\n", b"x"])
async def test_nothing_may_follow_the_request(port: Port, more: bytes) -> None:
    async with stream(port, LIVE) as source:
        await source.next()
        source.writer.write(b"\r\n")  # old clients end a body so
        rename(port, 1, "name 1", "one")
        await source.next()
        source.writer.write(more)
        assert await source.rest() == []
        assert source.ended
    [closed] = await port.closed(1)
    assert closed.code == 1002


async def test_what_follows_at_once_is_answered_in_place_of_the_stream(port: Port) -> None:
    async with connected(port) as source:
        query = "{items_by_pk(id: 1) {name}}"
        source.writer.write(request(LIVE) + request(query, headers={"accept": "application/json"}))
        await source.read_head()
        assert "would never be answered" in await source.body()
        await source.read_head()
        assert json.loads(await source.body()) == {"data": {"items_by_pk": {"name": "name 1"}}}
