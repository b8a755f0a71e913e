"""What a configuration says in Hasura's words, and what is said of all that Hasura has no words for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tycostream.config.load import written
from tycostream.metadata.exporting import Exported, exported

OURS = "a setting of tycostream, which Hasura does not have"
MAIN = "databases: {main: {url: '${PG_URL}'}}\n"


def of(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> Exported:
    file = tmp_path / "t.yaml"
    file.write_text(text)
    return exported(written(file, environ or {}))


def left(found: Exported) -> list[tuple[str, str]]:
    return [(one.name, one.reason) for one in found.left]


def test_all_of_it(tmp_path: Path) -> None:
    found = of(
        tmp_path,
        MAIN + "sources:\n"
        "  Article:\n"
        "    table: blog.article\n"
        "    comment: text\n"
        "    column_config: {author_id: {name: authorId, comment: fk}, id: {}}\n"
        "    custom_root_fields: {select: articles, select_by_pk: {name: article, comment: c}}\n"
        "    relationships: {author: {object: users, on: {author_id: id}, comment: who}}\n"
        "    permissions: {user: {columns: id, where: {author: {id: {_eq: X-Hasura-User-Id}}}, limit: 5}}\n"
        "  users:\n"
        "inherited_roles: {both: [user, editor]}\n"
        "query_collections: {app: {q: '{a}'}}\n"
        "allowlist: {app: {roles: user}}\n"
        "introspection: {disabled_for_roles: user}\n"
        "limits: {depth_limit: 5, per_role: {user: {depth_limit: 3, node_limit: 9}}}\n",
    )
    assert found.left == []
    article = {
        "table": {"schema": "blog", "name": "article"},
        "configuration": {
            "comment": "text",
            "custom_name": "Article",
            "custom_root_fields": {"select": "articles", "select_by_pk": {"name": "article", "comment": "c"}},
            "column_config": {"author_id": {"custom_name": "authorId", "comment": "fk"}},
        },
        "object_relationships": [
            {
                "name": "author",
                "using": {
                    "manual_configuration": {
                        "remote_table": {"schema": "public", "name": "users"},
                        "column_mapping": {"author_id": "id"},
                    }
                },
                "comment": "who",
            }
        ],
        "select_permissions": [
            {
                "role": "user",
                "permission": {
                    "columns": ["id"],
                    "filter": {"author": {"id": {"_eq": "X-Hasura-User-Id"}}},
                    "limit": 5,
                },
            }
        ],
    }
    assert found.metadata == {
        "version": 3,
        "sources": [
            {
                "name": "main",
                "kind": "postgres",
                "configuration": {"connection_info": {"database_url": {"from_env": "PG_URL"}}},
                "tables": [article, {"table": {"schema": "public", "name": "users"}}],
            }
        ],
        "inherited_roles": [{"role_name": "both", "role_set": ["user", "editor"]}],
        "query_collections": [{"name": "app", "definition": {"queries": [{"name": "q", "query": "{a}"}]}}],
        "allowlist": [{"collection": "app", "scope": {"global": False, "roles": ["user"]}}],
        "graphql_schema_introspection": {"disabled_for_roles": ["user"]},
        "api_limits": {
            "disabled": False,
            "depth_limit": {"global": 5, "per_role": {"user": 3}},
            # Hasura wants one for all: it is what holds here anyway
            "node_limit": {"global": 1000, "per_role": {"user": 9}},
        },
    }


@pytest.mark.parametrize(
    ("limits", "expected", "left"),
    [
        ("{time_limit: 90s}", {"time_limit": {"global": 90}}, []),
        ("{per_role: {x: {time_limit: 5s}}}", {"time_limit": {"global": 60, "per_role": {"x": 5}}}, []),
        ("{time_limit: 500ms}", {}, ["limits.time_limit"]),
        ("{operations_per_role: 60/m}", {"rate_limit": {"global": {"max_reqs_per_min": 60}}}, []),
        (
            "{operations_per_ip: 60/m, user: x-hasura-org, per_role: {x: {operations_per_user: 6/m}}}",
            {
                "rate_limit": {
                    "global": {"max_reqs_per_min": 60, "unique_params": "IP"},
                    "per_role": {"x": {"max_reqs_per_min": 6, "unique_params": ["x-hasura-org"]}},
                }
            },
            [],
        ),
        ("{operations_per_user: 10/s}", {}, ["limits.operations_per_user"]),
        ("{operations_per_user: 60/m burst 5}", {}, ["limits.operations_per_user"]),
        (
            "{operations_per_user: 6/m, operations_per_ip: 6/m}",
            {},
            ["limits.operations_per_user", "limits.operations_per_ip"],
        ),
        ("{per_role: {x: {operations_per_ip: 6/m}}}", {}, ["limits.per_role.x.operations_per_ip"]),
        ("{requests_per_ip: 6/m}", {}, ["limits.requests_per_ip"]),
    ],
)  # fmt: skip
def test_limits_that_metadata_has_too(tmp_path: Path, limits: str, expected: Any, left: list[str]) -> None:
    found = of(tmp_path, MAIN + f"sources: {{a: {{}}}}\nlimits: {limits}\n")
    made = found.metadata.get("api_limits", {"disabled": False})
    assert made == {"disabled": False} | expected
    assert [one.name for one in found.left] == left


@pytest.mark.parametrize(
    ("database", "variable", "reason"),
    [
        ("{url: 'postgresql://u:hunter2@db/x'}", "MAIN_URL", "it may hold a password, so it was not copied: set MAIN_URL for Hasura"),
        ("{url: 'postgresql://u:${PASSWORD}@db/x'}", "MAIN_URL", "it may hold a password, so it was not copied: set MAIN_URL for Hasura"),
        ("{url: '${PG_URL:-postgresql://u:hunter2@db}'}", "PG_URL", "Hasura knows no default of a variable: set PG_URL for it"),
    ],
)  # fmt: skip
def test_an_address_is_a_variable_and_a_password_is_never_copied(
    tmp_path: Path, database: str, variable: str, reason: str
) -> None:
    environ = {"PASSWORD": "hunter2"}
    found = of(tmp_path, f"databases: {{main: {database}}}\nsources: {{a: {{}}}}\n", environ)
    assert "hunter2" not in repr(found)
    info = found.metadata["sources"][0]["configuration"]["connection_info"]
    assert info == {"database_url": {"from_env": variable}}
    assert left(found) == [("databases.main.url", reason)]


def test_a_database_of_our_own_and_one_from_the_environment(tmp_path: Path) -> None:
    found = of(tmp_path, "databases: {main: {embedded: true}}\nsources: {a: {}}\n")
    assert left(found) == [
        ("databases.main", "Hasura has no database of its own: set MAIN_URL for it"),
        ("databases.main.embedded", OURS),
    ]
    found = of(tmp_path, "sources: {a: {}}\n", {"DATABASE_URL": "host=db password=hunter2"})
    assert "hunter2" not in repr(found)
    assert found.metadata["sources"][0]["kind"] == "materialize"


def test_what_hasura_has_no_words_for(tmp_path: Path) -> None:
    found = of(
        tmp_path,
        "databases: {main: {engine: materialize, url: '${MZ_URL}', cluster: c, consistency: database}}\n"
        "enums: {side: [buy]}\n"
        "types: {address: {street: String}}\n"
        "live: {linger: 5s}\n"
        "server: {port: 4001}\n"
        "limits: {field_limit: 5, per_role: {x: {alias_limit: 1}}}\n"
        "sources:\n"
        "  q: {query: SELECT 1}\n"
        "  far: {table: a.b.c}\n"
        "  a:\n"
        "    primary_key: id\n"
        "    columns: [id, x]\n"
        "    fields: {f: {sql: '1'}}\n"
        "    live: {linger: 5s}\n"
        "    custom_root_fields: {select_changes: feed, select: {}}\n"
        "    relationships: {q: {object: q, on: {x: x}}, b: {object: b, on: {x: x}, required: true}}\n"
        "    permissions:\n"
        "      one: {columns: '*', where: {q: {x: {_eq: 1}}}}\n"
        "      two: {columns: '*', where: {_exists: {_table: q, _where: {}}}}\n"
        "      three: {columns: '*', subscription_root_fields: [select_changes]}\n"
        "  b:\n",
    )
    assert [entry["table"]["name"] for entry in found.metadata["sources"][0]["tables"]] == ["a", "b"]
    (three,) = found.metadata["sources"][0]["tables"][0]["select_permissions"]
    assert three == {
        "role": "three",
        "permission": {"columns": "*", "filter": {}, "subscription_root_fields": []},
    }
    whole = "; the whole permission is left out, so that nobody sees more"
    assert sorted(left(found)) == sorted([
        ("databases.main.engine", "Hasura knows no kind materialize: only tycostream reads this entry"),
        ("databases.main.cluster", OURS),
        ("databases.main.consistency", OURS),
        ("enums", OURS),
        ("types", OURS),
        ("live", OURS),
        ("server", OURS),
        ("limits.field_limit", OURS),
        ("limits.per_role.x.alias_limit", OURS),
        ("sources.q", "it reads a query; make it a view, or a native query, in Hasura"),
        ("sources.far", "its table's name has three parts, and Hasura knows two"),
        ("sources.a.primary_key", "Hasura takes the database's"),
        ("sources.a.columns", "Hasura has every column of a table that is tracked; permissions choose among them"),
        ("sources.a.fields", "Hasura computes nothing by an expression; a generated column, or a function, does it there"),
        ("sources.a.live", OURS),
        ("sources.a.custom_root_fields.select_changes", "change feeds are tycostream's own"),
        ("sources.a.relationships.q", "it leads to q, which is not carried"),
        ("sources.a.relationships.b.required", "Hasura knows it of a relationship over a foreign key only: there, it may be null"),
        ("sources.a.permissions.one", f"it asks about q: that relationship is not carried{whole}"),
        ("sources.a.permissions.two", f"its _exists asks about q, which is no table of the same database there{whole}"),
        ("sources.a.permissions.three.subscription_root_fields.select_changes", "change feeds are tycostream's own"),
    ])  # fmt: skip


def test_over_several_databases(tmp_path: Path) -> None:
    found = of(
        tmp_path,
        "databases: {one: {url: '${ONE}'}, two: {url: '${TWO}'}}\n"
        "sources:\n"
        "  a:\n"
        "    database: one\n"
        "    relationships: {bs: {array: b, on: {id: a_id}, comment: c}}\n"
        "    permissions: {x: {columns: '*', where: {bs: {}}}}\n"
        "  b: {database: two}\n",
    )
    one, two = found.metadata["sources"]
    to = {
        "source": "two",
        "table": {"schema": "public", "name": "b"},
        "relationship_type": "array",
        "field_mapping": {"id": "a_id"},
    }
    assert one["tables"][0]["remote_relationships"] == [{"name": "bs", "definition": {"to_source": to}}]
    assert [table["table"]["name"] for table in two["tables"]] == ["b"]
    assert left(found) == [
        ("sources.a.relationships.bs.comment", "a relationship to another database has none there"),
        (
            "sources.a.permissions.x",
            "it asks about bs, which leads to another database; the whole permission is left out, so that nobody sees more",
        ),
    ]


def test_the_shortest(tmp_path: Path) -> None:
    found = of(tmp_path, MAIN + "sources: {a: {}}\n")
    assert found.metadata["sources"][0]["tables"] == [{"table": {"schema": "public", "name": "a"}}]
    assert (list(found.metadata), found.left) == (["version", "sources"], [])
