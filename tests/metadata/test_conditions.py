"""Every spelling that Hasura takes comes out as one; what has no counterpart ends the whole condition."""

from __future__ import annotations

from typing import Any

import pytest

from tycostream.metadata.conditions import condition_of, filter_of
from tycostream.metadata.ledger import Entry, Ledger, Untranslatable
from tycostream.metadata.names import TableName
from tycostream.metadata.world import Tracked, World


def tracked(database: str, schema: str, name: str, source: str) -> Tracked:
    return Tracked(database, TableName(schema, name), source, Entry({}, Ledger()))


WORLD = World()
ARTICLE = tracked("main", "public", "article", "Article")
USER = tracked("main", "auth", "user", "users")
ELSEWHERE = tracked("other", "public", "x", "x")
for each in (ARTICLE, USER, ELSEWHERE):
    WORLD.add(each)
ARTICLE.relationships.update(author=USER, far=ELSEWHERE)
ARTICLE.unknown["rank"] = "that computed field is not carried"


@pytest.mark.parametrize(
    ("metadata", "config"),
    [
        ({}, {}),
        ({"id": {"$eq": 1}}, {"id": {"_eq": 1}}),
        ({"id": 1}, {"id": {"_eq": 1}}),
        ({"id": "X-Hasura-User-Id"}, {"id": {"_eq": "X-Hasura-User-Id"}}),
        ({"id": {"_ne": 1, "$nin": [1]}}, {"id": {"_neq": 1, "_nin": [1]}}),
        ({"$and": [{"id": {"_eq": 1}}], "$or": [], "$not": {}}, {"_and": [{"id": {"_eq": 1}}], "_or": [], "_not": {}}),
        ({"_or": {"id": {"_eq": 1}}}, {"_or": [{"id": {"_eq": 1}}]}),
        ({"a": {"$cgt": ["$", "b"], "_ceq": "b"}}, {"a": {"_cgt": ["$", "b"], "_ceq": "b"}}),
        ({"author": {"org": {"_in": "X-Hasura-Orgs"}}}, {"author": {"org": {"_in": "X-Hasura-Orgs"}}}),
        ({"author": {}}, {"author": {}}),
        ({"doc": {"_contains": {"a": None}, "_cast": {"String": {"$like": "%"}}}}, {"doc": {"_contains": {"a": None}, "_cast": {"String": {"_like": "%"}}}}),
        ({"n": {"_eq": 10**20}}, {"n": {"_eq": "100000000000000000000"}}),
        ({"gone": {"_eq": None}}, {"gone": {"_eq": None}}),
        (
            {"$exists": {"$table": {"schema": "auth", "name": "user"}, "$where": {"id": 1}}},
            {"_exists": {"_table": "users", "_where": {"id": {"_eq": 1}}}},
        ),
        ({"_exists": {"_table": "article", "_where": {"author": {"id": 1}}}}, {"_exists": {"_table": "Article", "_where": {"author": {"id": {"_eq": 1}}}}}),
    ],
)  # fmt: skip
def test_a_filter_becomes_a_condition(metadata: Any, config: Any) -> None:
    assert condition_of(metadata, ARTICLE, WORLD) == config


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ([], "[] is not a condition"),
        ({"_and": [1]}, "1 is not a condition"),
        ({"rank": {"_eq": 1}}, "it asks about rank: that computed field is not carried"),
        ({"far": {"id": 1}}, "it asks about far, which leads to another database"),
        ({"author": 1}, "1 is not a condition"),
        ({"place": {"_st_d_within": {}}}, "_st_d_within is no operator of this version"),
        ({"id": {"eq": 1}}, "eq is no operator of this version"),
        ({"$eq": 1}, "$eq is no condition of this version"),
        ({"_eq": 1}, "_eq is no condition of this version"),
        ({"id": {"$eq": 1, "_eq": 2}}, "it says _eq twice, as _eq too"),
        ({"$and": [], "_and": []}, "it says _and twice, as _and too"),
        ({"doc": {"_cast": []}}, "[] is not a mapping of a type to operators"),
        ({"_exists": {"_table": "article"}}, "its _exists is not {_table: …, _where: …}"),
        ({"_exists": {"_table": "gone", "_where": {}}}, "its _exists asks about public.gone, which is not tracked"),
        ({"_not": {"_or": [{"author": {"id": {"_x": 1}}}]}}, "_x is no operator of this version"),
    ],
)  # fmt: skip
def test_what_has_no_counterpart(metadata: Any, reason: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        condition_of(metadata, ARTICLE, WORLD)
    assert caught.value.reason == reason


def test_back_again() -> None:
    found = filter_of({"_exists": {"_table": "users", "_where": {"id": {"_eq": 1}}}}, ARTICLE, WORLD)
    assert found == {"_exists": {"_table": {"schema": "auth", "name": "user"}, "_where": {"id": {"_eq": 1}}}}
    for other in ("x", "nobody"):
        with pytest.raises(
            Untranslatable, match=f"asks about {other}, which is no table of the same database"
        ):
            filter_of({"_exists": {"_table": other, "_where": {}}}, ARTICLE, WORLD)
