"""A reload that changes relationships: only who follows those is told, and nothing is asked of a database."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from tests.reloading.harness import Client, World, configuration, feed, table, world
from tycostream.auth.session import Session
from tycostream.errors import RequestError
from tycostream.graphql.execute import InvalidRequest
from tycostream.observe.events import RelationshipUnfit

ITEMS, OTHERS = table("items"), table("others")
ALL = "all: {array: others, on: {n: n}}"
FOLLOWING = "subscription { items(order_by: {id: asc}) { id other { id n } } }"
BESIDE = "subscription { items(order_by: {id: asc}) { id all(order_by: {id: asc}) { id } } }"
PLAIN = "subscription { items(order_by: {id: asc}) { id n } }"


def related(relationships: str, others: str = ", others: {}") -> str:
    return f"items: {{relationships: {{{relationships}}}}}{others}"


FIRST = configuration(related(f"other: {{object: others, on: {{n: id}}}}, {ALL}"))


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    tables = {"a": {ITEMS: [(1, 2), (2, 7)], OTHERS: [(1, 7), (2, 20)]}}
    async with world(FIRST, monkeypatch, tables) as made:
        await made.live("items", "others")
        yield made


async def shows(served: World, client: Client, expected: object) -> None:
    await served.until(lambda: client.read().shown == expected, 0.01)
    assert client.ended is None


async def test_who_follows_a_relationship_that_is_another_one_is_told(served: World) -> None:
    following, beside, plain = (served.client(query) for query in (FOLLOWING, BESIDE, PLAIN))
    filtered, ordered = (
        served.client(feed("items", "where: {other: {}}")),
        served.client("subscription { items(order_by: [{other: {n: asc}}, {id: asc}]) { id } }"),
    )
    await shows(served, following, [{"id": 1, "other": {"id": 2, "n": 20}}, {"id": 2, "other": None}])
    await shows(served, beside, [{"id": 1, "all": []}, {"id": 2, "all": [{"id": 1}]}])
    await shows(served, plain, [{"id": 1, "n": 2}, {"id": 2, "n": 7}])
    database = served.databases["postgresql://a/x"]
    described, planned = list(database.described), served.app.prepare(FOLLOWING, None, None, Session())

    changes = await served.reload(configuration(related(f"other: {{object: others, on: {{id: id}}}}, {ALL}")))
    assert list(changes.sources.revised) == ["items"]
    assert [each.ended for each in (following, filtered, ordered)] == ["source-changed"] * 3
    assert database.described == described, "nothing is asked of a database"
    with pytest.raises(RequestError) as caught:
        await served.app.query(planned)
    assert caught.value.message == "a relationship of the source 'items' is another one now, or gone"
    assert caught.value.hint == "subscribe again with the new schema"

    again = served.client(FOLLOWING)
    await shows(
        served, again, [{"id": 1, "other": {"id": 1, "n": 7}}, {"id": 2, "other": {"id": 2, "n": 20}}]
    )
    database.commit({"others": [((1, 7), (1, 2))]})
    await shows(
        served, again, [{"id": 1, "other": {"id": 1, "n": 2}}, {"id": 2, "other": {"id": 2, "n": 20}}]
    )
    await shows(served, beside, [{"id": 1, "all": [{"id": 1}]}, {"id": 2, "all": []}])
    await shows(served, plain, [{"id": 1, "n": 2}, {"id": 2, "n": 7}])


async def test_one_row_and_many_are_not_the_same(served: World) -> None:
    following, beside = served.client(FOLLOWING), served.client(BESIDE)
    ordered = served.client("subscription { items(order_by: [{other: {n: asc}}, {id: asc}]) { id } }")
    counted = served.client(
        "subscription { items(where: {all_aggregate: {count: {predicate: {_gt: 0}}}}) { id } }"
    )
    filtered = served.client("subscription { items(where: {other: {}, all: {}}) { id } }")
    await shows(served, following, [{"id": 1, "other": {"id": 2, "n": 20}}, {"id": 2, "other": None}])
    await shows(served, counted, [{"id": 2}])
    await shows(served, filtered, [])
    planned = served.app.prepare(FOLLOWING, None, None, Session())
    await served.reload(
        configuration(related("other: {array: others, on: {n: id}}, all: {object: others, on: {n: n}}"))
    )
    assert [each.ended for each in (following, beside, ordered, counted)] == ["source-changed"] * 4
    assert filtered.ended is None  # that there is one is the same of one and of many
    with pytest.raises(RequestError, match="a relationship of the source 'items' is another one now"):
        await served.app.query(planned)
    again = served.client("subscription { items(order_by: {id: asc}) { id other { id } all { id } } }")
    expected = [{"id": 1, "other": [{"id": 2}], "all": None}, {"id": 2, "other": [], "all": {"id": 1}}]
    await shows(served, again, expected)


@pytest.mark.parametrize(
    "relationships",
    [
        f"other: {{object: others, on: {{n: id}}, comment: another}}, {ALL}",
        f"renamed: {{object: others, on: {{n: id}}}}, {ALL}",
        f"other: {{object: others, on: {{n: id}}}}, {ALL}, more: {{array: others, on: {{id: n}}}}",
    ],
    ids=["a comment", "a name", "one more"],
)
async def test_what_leads_where_it_led_goes_on(served: World, relationships: str) -> None:
    following = served.client(FOLLOWING)
    await shows(served, following, [{"id": 1, "other": {"id": 2, "n": 20}}, {"id": 2, "other": None}])
    await served.reload(configuration(related(relationships)))
    served.databases["postgresql://a/x"].commit({"others": [((2, 20), (2, 21))]})
    await shows(served, following, [{"id": 1, "other": {"id": 2, "n": 21}}, {"id": 2, "other": None}])


async def test_a_source_that_goes_takes_what_leads_to_it_along(served: World) -> None:
    following, plain = served.client(FOLLOWING), served.client(PLAIN)
    await shows(served, following, [{"id": 1, "other": {"id": 2, "n": 20}}, {"id": 2, "other": None}])
    await shows(served, plain, [{"id": 1, "n": 2}, {"id": 2, "n": 7}])
    await served.reload(configuration(related("", others="")))
    assert (following.ended, plain.ended) == ("source-removed", None)
    with pytest.raises(InvalidRequest, match="field 'other' not found in type: 'items'"):
        served.app.prepare(FOLLOWING, None, None, Session())


async def test_one_that_does_not_fit_is_left_out_and_told_once(served: World) -> None:
    unfit = "wrong: {object: others, on: {nothing: id}}, id: {object: others, on: {n: id}}"
    await served.reload(configuration(related(unfit)))
    await served.live("items", "others")
    told = [event for event in served.events if isinstance(event, RelationshipUnfit)]
    assert told == [
        RelationshipUnfit(
            "items", "wrong", "source items has no column 'nothing'", "name another in `on:`", served=False
        ),
        RelationshipUnfit(
            "items",
            "id",
            "its field 'id' has the name of column 'id'",
            "rename the relationship, or give the column another name in `column_config:`",
            served=False,
        ),
    ]
    ready, (items, others) = served.app.ready()
    assert ready
    assert items["remark"] == (
        "relationship wrong: source items has no column 'nothing'; "
        "relationship id: its field 'id' has the name of column 'id'"
    )
    assert "remark" not in others
    answer = json.loads(await served.app.query(served.app.prepare("{items {id}}", None, None, Session())))
    assert answer == {"data": {"items": [{"id": 1}, {"id": 2}]}}
    await served.reload(configuration(related(unfit), more="live: {linger: 2s}"))
    assert told == [event for event in served.events if isinstance(event, RelationshipUnfit)]


async def test_a_relationship_to_what_is_not_known_yet_is_not_the_clients_mistake(served: World) -> None:
    database = served.databases["postgresql://a/x"]
    waiting = "late: {array: more, on: {id: n}}"
    await served.reload(configuration(related(waiting, others=", more: {}")))
    for query, path in (
        ("{items {late {id}}}", "$.selectionSet.items.selectionSet.late"),
        ("{items(where: {late: {}}) {id}}", "$.selectionSet.items.args.where.late"),
        ("{items {late_aggregate {nodes {id}}}}", "$.selectionSet.items.selectionSet.late_aggregate"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            served.app.prepare(query, None, None, Session())
        error = caught.value.errors[0]
        assert (error.code, error.message) == ("source-not-ready", "the source 'more' is not known yet")
        assert error.path == path
    with pytest.raises(InvalidRequest, match="field 'never' not found in type: 'items'"):
        served.app.prepare("{items {never}}", None, None, Session())
    database.has(table("more"), (5, 1))
    await served.live("items", "more", step_s=1)
    answer = await served.app.query(served.app.prepare("{items {late {id}}}", None, None, Session()))
    assert json.loads(answer) == {"data": {"items": [{"late": [{"id": 5}]}, {"late": []}]}}
