"""Permissions in an App: planners by role, a reload that changes what a role sees, and what errors tell whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.reloading.harness import Client, World, configuration, feed, live, table, world
from tycostream.auth.session import Session
from tycostream.config.model import Config, SourceConfig
from tycostream.errors import Action, RequestError, UpstreamError
from tycostream.graphql.execute import InvalidRequest
from tycostream.graphql.plan import Plan
from tycostream.observe.events import PermissionUnfit
from tycostream.rows import Row, RowType

ITEMS, OTHERS = table("items", "secret"), table("others")
USER, GUEST = Session("user", {"n": "7"}), Session("guest")
MINE: dict[str, Any] = {"columns": ["id", "n"], "where": {"n": {"_eq": "X-Hasura-N"}}}


def configured(**permissions: dict[str, Any]) -> Config:
    """The configuration with permissions of the role ``user``, by source. The loader would refuse them so far."""
    plain = configuration("items: {}, others: {}")
    sources = {
        name: SourceConfig.model_validate(
            source.model_dump(exclude_unset=True)
            | {"name": name, "permissions": {"user": permissions[name]} if name in permissions else {}}
        )
        for name, source in plain.sources.items()
    }
    return plain.model_copy(update={"sources": sources})


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    tables: dict[str, dict[RowType, list[Row]]] = {
        "a": {ITEMS: [(1, 7, "x"), (2, 8, "y")], OTHERS: [(1, 7), (2, 20)]}
    }
    async with world(configured(items=MINE), monkeypatch, tables) as made:
        await made.live("items", "others")
        yield made


def client(served: World, query: str, session: Session = USER) -> Client:
    made = Client(served.app, query, session=session)
    served.clock.run()
    return made


async def test_each_role_has_a_schema_of_its_own(served: World) -> None:
    assert set(served.app.planner_of("user").schema.type_map["items"].fields) == {"id", "n"}  # type: ignore[attr-defined]
    assert served.app.planner_of("user") is served.app.planner_of("user")
    assert await served.app.query(served.app.prepare("{items {id n}}", None, None, USER)) == (
        b'{"data":{"items":[{"id":1,"n":7}]}}'
    )
    with pytest.raises(InvalidRequest, match="field 'secret' not found in type: 'items'"):
        served.app.prepare("{items {secret}}", None, None, USER)
    for session, field in ((USER, "others"), (GUEST, "items")):
        with pytest.raises(InvalidRequest, match=f"field '{field}' not found in type: 'query_root'"):
            served.app.prepare(f"{{{field} {{id}}}}", None, None, session)
    for n in range(100):
        served.app.planner_of(f"nobody {n}")
    assert len(served.app._planners) < 30, "roles that see nothing are not kept"


async def test_a_reload_ends_what_is_seen_otherwise(served: World) -> None:
    seen, all_of_it = client(served, feed("items")), client(served, live("items"), Session())
    beside = client(served, live("others"), Session())
    await served.until(lambda: seen.read().rows == {1: {"id": 1, "n": 7}}, 0.01)
    database = served.databases["postgresql://a/x"]
    described = list(database.described)
    planned = served.app.prepare("{items {id n}}", None, None, USER)
    changes = await served.reload(configured(items=MINE | {"where": {"id": {"_eq": 2}}}))
    assert changes.permissions == {"items"}
    assert seen.ended == "source-changed"
    assert (all_of_it.ended, beside.ended) == (None, None), "admin sees what it saw"
    assert database.described == described, "nothing is asked of a database"
    with pytest.raises(RequestError) as caught:
        await served.app.query(planned)
    assert caught.value.message == "what this role may see is something else now"
    assert caught.value.hint == "subscribe again with the new schema"
    again = client(served, live("items"))
    await served.until(lambda: again.read().shown == [{"id": 2, "n": 8}], 0.01)
    await served.reload(configured())
    assert again.ended == "source-changed"
    with pytest.raises(InvalidRequest, match="field 'items' not found"):
        served.app.prepare("{items {id}}", None, None, USER)


async def test_a_cursor_is_of_what_was_seen(served: World) -> None:
    first = client(served, feed("items"))
    await served.until(lambda: first.read().cursor is not None, 0.01)
    for session, resumed in ((USER, True), (Session("user", {"n": "8"}), False)):
        again = client(served, feed("items", f'after: "{first.cursor}"'), session)
        await served.until(lambda again=again: again.read().cursor is not None, 0.01)  # type: ignore[misc]
        assert ("reset" not in again.phases) is resumed


async def test_a_permission_that_does_not_fit_is_told_once(served: World) -> None:
    await served.reload(configured(items={"columns": ["id", "nn"]}))
    for _ in range(2):
        with pytest.raises(InvalidRequest, match="field 'items' not found"):
            served.app.prepare("{items {id}}", None, None, USER)
    told = [event for event in served.events if isinstance(event, PermissionUnfit)]
    assert told == [
        PermissionUnfit("items", "user", "`columns` has 'nn', which is no column of it; did you mean n?")
    ]


async def test_only_admin_is_told_what_a_database_says(served: World) -> None:
    seen, known = client(served, feed("items")), client(served, live("items"), Session())
    await served.until(lambda: bool(seen.read().rows and known.read().shown), 0.01)
    planned: list[Plan] = [served.app.prepare("{items {id}}", None, None, each) for each in (USER, Session())]
    error = UpstreamError("data", 'the key (secret)=(x) exists twice in "items"', action=Action.FAIL)
    served.databases["postgresql://a/x"].fail("items", error)
    await served.until(lambda: served.states()["items"] == "failed", 0.05)
    assert (seen.ended, known.ended) == ("source-failed", "source-failed")
    assert b"secret" not in bytes(seen.sink.data)
    assert b"secret" in bytes(known.sink.data)
    said = []
    for plan in planned:
        with pytest.raises(RequestError) as caught:
            await served.app.query(plan)
        said.append((caught.value.message, caught.value.hint))
    assert said[0] == ("a source of this operation failed", "try again; whoever runs this API can see why")
    assert "secret" in said[1][0]


async def test_a_source_that_is_awaited_is_named_to_who_may_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(configured(items=MINE), monkeypatch, {"a": {OTHERS: []}}) as made:
        await made.live("others")
        for session, code in ((USER, "source-not-ready"), (GUEST, "validation-failed")):
            with pytest.raises(InvalidRequest) as caught:
                made.app.prepare("{items {id}}", None, None, session)
            assert caught.value.errors[0].code == code
