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
    """The configuration with permissions of the role ``user``, by source."""
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


async def test_a_reload_moves_what_is_seen_otherwise_by_the_difference(served: World) -> None:
    seen, shown = client(served, feed("items")), client(served, live("items"))
    all_of_it, beside = client(served, live("items"), Session()), client(served, live("others"), Session())
    other = client(served, live("items"), Session("user", {"n": "8"}))
    await served.until(lambda: seen.read().rows == {1: {"id": 1, "n": 7}}, 0.01)
    await served.until(lambda: bool(shown.read().shown and other.read().shown), 0.01)
    database = served.databases["postgresql://a/x"]
    described, quiet = list(database.described), len(other.sink.messages())
    planned = served.app.prepare("{items {id n}}", None, None, USER)
    changes = await served.reload(configured(items=MINE | {"where": {"id": {"_eq": 2}}}))
    assert changes.permissions == {"items"}
    served.clock.run()
    assert seen.read().rows == {2: {"id": 2, "n": 8}}
    assert seen.phases[-1] == "live", "one set with a delete and an insert, and no new snapshot"
    assert "reset" not in seen.phases
    await served.until(lambda: shown.read().shown == [{"id": 2, "n": 8}], 0.01)
    assert len(other.read().sink.messages()) == quiet, "what shows the same is told nothing"
    assert (all_of_it.ended, beside.ended) == (None, None), "admin sees what it saw"
    assert database.described == described, "nothing is asked of a database"
    assert await served.app.query(planned) == b'{"data":{"items":[{"id":2,"n":8}]}}', "planned a moment ago"
    changed: list[tuple[Row | None, Row | None]] = [((1, 7, "x"), (1, 9, "x")), ((2, 8, "y"), (2, 9, "y"))]
    served.databases["postgresql://a/x"].commit({"items": changed})
    await served.until(lambda: seen.read().rows == {2: {"id": 2, "n": 9}}, 0.01)


async def test_what_is_as_it_was_is_not_touched(served: World) -> None:
    seen = client(served, feed("items"))
    await served.until(lambda: seen.read().rows == {1: {"id": 1, "n": 7}}, 0.01)
    cohort = served.app.hub.operations({"items"}, ())[0].cohort
    await served.reload(configured(items={"columns": ["id", "n"], "where": {"n": {"_in": ["X-Hasura-N"]}}}))
    before = len(seen.sink.messages())
    await served.reload(configured(items=MINE | {"limit": 5}))
    await served.reload(configured(items=MINE))
    assert served.app.hub.operations({"items"}, ())[0].cohort is cohort
    assert len(seen.sink.messages()) == before, "the same condition in other words"


async def test_what_is_not_permitted_any_more_ends(served: World) -> None:
    whole = {"columns": "*", "where": MINE["where"]}
    await served.reload(configured(items=whole))
    secret = client(served, "subscription {items {id secret}}")
    plain = client(served, live("items"))
    await served.until(lambda: bool(secret.read().shown and plain.read().shown), 0.01)
    planned = served.app.prepare("{items {secret}}", None, None, USER)
    await served.reload(configured(items=MINE))
    assert (secret.ended, plain.ended) == ("permissions-changed", None)
    with pytest.raises(RequestError) as caught:
        await served.app.query(planned)
    said = "this operation is not permitted any more: field 'secret' not found in type: 'items'"
    assert caught.value.message == said
    assert caught.value.hint == "what this role may see was changed; fetch the schema again"
    await served.reload(configured())
    assert plain.ended == "permissions-changed"
    with pytest.raises(InvalidRequest, match="field 'items' not found"):
        served.app.prepare("{items {id}}", None, None, USER)


async def test_a_role_that_inherits_otherwise(served: World) -> None:
    """Its operations move, and nobody else's: cells that it may not see any more are masked."""
    both: dict[str, Any] = {
        "some": {"columns": ["id", "n"]},
        "more": {"columns": ["id", "n", "secret"], "where": {"id": {"_eq": 2}}},
    }
    plain = configured()
    items = plain.sources["items"].model_dump(exclude_unset=True)
    items |= {"name": "items", "permissions": both}
    sources = plain.sources | {"items": SourceConfig.model_validate(items)}
    of = plain.model_copy(update={"sources": sources})
    await served.reload(of.model_copy(update={"inherited_roles": {"head": ("some", "more")}}))
    session = Session("head")
    seen = client(served, feed("items", columns="id n secret"), session)
    await served.until(lambda: len(seen.read().rows) == 2, 0.01)
    assert [row["secret"] for row in seen.rows.values()] == [None, "y"]
    fields: Any = served.app.planner_of("head").schema.type_map["items"]
    assert (str(fields.fields["secret"].type), str(fields.fields["id"].type)) == ("String", "Int!")
    changes = await served.reload(of.model_copy(update={"inherited_roles": {"head": ("more",)}}))
    assert changes.roles == {"head"}
    served.clock.run()
    assert seen.read().rows == {2: {"id": 2, "n": 8, "secret": "y"}}
    assert "reset" not in seen.phases


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
