"""What single things in metadata become, and what is said of those that become nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tycostream.config.load import mistakes
from tycostream.config.table_facts import Reference
from tycostream.config.yaml_text import block
from tycostream.errors import TycoError
from tycostream.metadata.importing import Imported, imported
from tycostream.metadata.names import TableName
from tycostream.metadata.world import ForeignKeys

MUTATIONS = "mutations are not built into this version"


def source(*tables: dict[str, Any], **more: Any) -> dict[str, Any]:
    url = {"connection_info": {"database_url": {"from_env": "PG_URL"}}}
    return {"name": "default", "kind": "postgres", "configuration": url, "tables": list(tables)} | more


def table(name: str, schema: str = "public", **more: Any) -> dict[str, Any]:
    return {"table": {"schema": schema, "name": name}} | more


def of(*sources: dict[str, Any], keys: ForeignKeys | None = None, **more: Any) -> Imported:
    found = imported({"version": 3, "sources": list(sources)} | more, keys)
    assert mistakes("\n".join([*block(found.tree), ""]), "t.yaml") == ()
    return found


def left(found: Imported) -> list[tuple[str, str]]:
    return [(one.name, one.reason) for one in found.left]


def test_names_of_sources() -> None:
    found = of(
        source(
            table("a"),
            table("b", "sales"),
            table("c", configuration={"custom_name": "Sea"}),
            table("c.d", "Odd.Schema"),
            {"table": "old"},
        )
    )
    assert found.tree["sources"] == {
        "a": {},
        "sales_b": {"table": "sales.b"},
        "Sea": {"table": "c"},
        "Odd_Schema_c_d": {"table": '"Odd.Schema"."c.d"'},
        "old": {},
    }
    assert left(found) == [
        (
            "sources.default.tables.Odd.Schema.c.d.table",
            "'Odd.Schema_c.d' is not a name in GraphQL: it is called Odd_Schema_c_d",
        )
    ]


def test_several_databases_and_names_that_both_have() -> None:
    found = of(source(table("a")), source(table("a"), name="second"))
    assert found.tree["sources"] == {
        "a": {"database": "default"},
        "second_a": {"database": "second", "table": "a"},
    }
    assert left(found) == [
        (
            "sources.second.tables.public.a.table",
            "a is the name of another source already: it is called second_a",
        )
    ]


def test_a_table_that_is_tracked_twice_is_one_source() -> None:
    found = of(source(table("a"), table("a", configuration={"custom_name": "b"})))
    assert found.tree["sources"] == {"a": {}}
    assert left(found) == [("sources.default.tables.public.a", "this table is tracked already")]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ({"from_env": "PG_URL"}, "${PG_URL}"),
        ("postgresql://u:hunter2@db/x", "${DEFAULT_URL}"),
        ({"connection_parameters": {"password": "hunter2"}}, "${DEFAULT_URL}"),
        ({"from_env": "not a name"}, "${DEFAULT_URL}"),
    ],
)
def test_an_address_is_a_variable_and_a_password_is_never_copied(url: Any, expected: str) -> None:
    found = of(source(configuration={"connection_info": {"database_url": url}}, tables=[table("a")]))
    assert found.tree["databases"]["default"] == {"engine": "postgres", "url": expected}
    assert "hunter2" not in repr(found)
    if expected == "${DEFAULT_URL}":
        assert left(found) == [
            (
                "sources.default.configuration.connection_info.database_url",
                "it may hold a password, so it was not copied: set DEFAULT_URL in the environment, or in .env",
            )
        ]


def test_what_is_hasuras_default_anyway_says_nothing() -> None:
    info = {
        "database_url": {"from_env": "PG_URL"},
        "isolation_level": "read-committed",
        "use_prepared_statements": False,
    }
    found = of(
        source(
            table("a", is_enum=False, object_relationships=[], configuration={"custom_root_fields": {}}),
            configuration={"connection_info": info},
            customization={"naming_convention": "hasura-default", "root_fields": {}},
            functions=[],
        ),
        actions=[],
        custom_types={"enums": [], "objects": []},
    )
    assert found.left == []


def test_every_thing_that_is_not_built_says_why() -> None:
    found = of(
        source(
            table(
                "a",
                is_enum=True,
                insert_permissions=[{"role": "user", "permission": {}}],
                update_permissions=[{"role": "user"}, {"role": "editor"}],
                delete_permissions=[{"role": "user"}],
                event_triggers=[{"name": "big", "webhook": "https://x"}],
                computed_fields=[{"name": "rank", "definition": {}}],
                configuration={"custom_root_fields": {"insert": "addA", "select": "as"}},
                something_new={"x": 1},
            ),
            customization={"naming_convention": "graphql-default"},
            functions=[{"function": "f"}],
            configuration={
                "connection_info": {"database_url": {"from_env": "PG_URL"}, "pool_settings": {"retries": 1}},
                "read_replicas": [{"database_url": "x"}],
            },
        ),
        {"name": "other", "kind": "mssql", "tables": [table("z")]},
        remote_schemas=[{"name": "r"}],
        actions=[{"name": "doIt"}],
        cron_triggers=[{"name": "nightly"}],
        rest_endpoints=[{"name": "e"}],
        opentelemetry={"status": "enabled"},
    )
    a = "sources.default.tables.public.a"
    assert found.tree["sources"] == {"a": {"custom_root_fields": {"select": "as"}}}
    assert sorted(left(found)) == sorted([
        (f"{a}.is_enum", "an enum is written in the file (`enums:`), and a column is of it (`columns:`)"),
        (f"{a}.insert_permissions (user)", MUTATIONS),
        (f"{a}.update_permissions (user, editor)", MUTATIONS),
        (f"{a}.delete_permissions (user)", MUTATIONS),
        (f"{a}.event_triggers (big)", "triggers are not run by this version; a change feed tells the same changes"),
        (
            f"{a}.computed_fields (rank)",
            "functions are not called by this version; a custom field (`fields:`) takes an SQL expression",
        ),
        (f"{a}.configuration.custom_root_fields.insert", MUTATIONS),
        (f"{a}.something_new", "this version does not know it"),
        (
            "sources.default.configuration.connection_info.pool_settings",
            "tycostream keeps no pool: one connection streams, and a few answer what else is asked",
        ),
        (
            "sources.default.configuration.read_replicas",
            "tycostream reads one server; name a replica's url if it should be that",
        ),
        (
            "sources.default.customization.naming_convention",
            "a source has its own name here, and its own `custom_root_fields`",
        ),
        (
            "sources.default.functions",
            "functions are not called by this version; a view or a `query:` can hold what one selects",
        ),
        ("sources.other", "its kind is mssql; tycostream reads postgres, materialize, risingwave"),
        ("remote_schemas (r)", "remote schemas are not joined by this version"),
        ("actions (doIt)", "actions are not called by this version"),
        ("cron_triggers (nightly)", "triggers are not run by this version"),
        ("rest_endpoints (e)", "there are no REST endpoints in this version; every operation can be asked for by POST"),
        ("opentelemetry", "traces are not sent by this version"),
    ])  # fmt: skip


def test_columns_names_of_both_kinds() -> None:
    found = of(
        source(
            table(
                "a",
                configuration={
                    "column_config": {"x": {"custom_name": "ex", "comment": "c"}, "y": {"comment": "d"}},
                    "custom_column_names": {"x": "ex", "y": "why", "z": "zed"},
                },
            ),
            table(
                "b",
                configuration={
                    "column_config": {"x": {"custom_name": "ex"}},
                    "custom_column_names": {"x": "iks"},
                },
            ),
        )
    )
    assert found.tree["sources"]["a"]["column_config"] == {
        "x": {"name": "ex", "comment": "c"},
        "y": {"comment": "d", "name": "why"},
        "z": {"name": "zed"},
    }
    assert found.tree["sources"]["b"]["column_config"] == {"x": {"name": "ex"}}
    assert left(found) == [
        (
            "sources.default.tables.public.b.configuration.custom_column_names.x",
            "column_config calls it ex, which holds",
        )
    ]


# -- relationships ------------------------------------------------------------------------------------------------


def relationship(name: str, constraint: Any) -> dict[str, Any]:
    return {"name": name, "using": {"foreign_key_constraint_on": constraint}}


KEYS: ForeignKeys = {
    "default": {
        TableName("public", "a"): [
            Reference(("b_id",), "public", "b", ("id",)),
            Reference(("x", "y"), "public", "c", ("u", "v"), always=True),
        ],
        TableName("public", "c"): [Reference(("a_id",), "public", "z", ("id",)), Reference(("a_id",), "public", "a", ("id",))],
    }
}  # fmt: skip


def with_relationships(**more: Any) -> dict[str, Any]:
    return source(table("a", **more), table("b"), table("c"))


def test_foreign_keys_are_looked_up_in_the_database() -> None:
    array = {"table": {"schema": "public", "name": "c"}, "column": "a_id"}
    metadata = with_relationships(
        object_relationships=[
            relationship("b", "b_id"),
            relationship("c", ["y", "x"]),
            relationship("one", array),
            {"name": "by_hand", "comment": "c", "using": {"manual_configuration": {"remote_table": "b", "column_mapping": {"k": "k"}, "insertion_order": None}}},
        ],
        array_relationships=[relationship("many", {**array, "column": None, "columns": ["a_id"]} | {"column": "a_id"})],
    )  # fmt: skip
    found = of(metadata, keys=KEYS)
    assert found.left == []
    assert found.tree["sources"]["a"]["relationships"] == {
        "b": {"object": "b", "on": {"b_id": "id"}},
        "c": {"object": "c", "on": {"x": "u", "y": "v"}, "required": True},
        "one": {"object": "c", "on": {"id": "a_id"}},
        "by_hand": {"object": "b", "on": {"k": "k"}, "comment": "c"},
        "many": {"array": "c", "on": {"id": "a_id"}},
    }


@pytest.mark.parametrize(
    ("using", "keys", "reason"),
    [
        (
            {"foreign_key_constraint_on": "b_id"},
            {},
            "the columns of a foreign key are known to the database only; import again with --database-url to have it asked",
        ),
        (
            {"foreign_key_constraint_on": "other"},
            KEYS,
            "the database has no foreign key over other of public.a",
        ),
        (
            {"foreign_key_constraint_on": {"table": "c", "column": "u"}},
            KEYS,
            "the database has no foreign key over u of public.c to public.a",
        ),
        ({"foreign_key_constraint_on": 1}, KEYS, "its foreign key is over 1, which are no columns"),
        ({}, {}, "it says neither foreign_key_constraint_on nor manual_configuration"),
        (
            {"manual_configuration": {"remote_table": "z", "column_mapping": {"a": "b"}}},
            {},
            "it leads to public.z of default, which is not tracked, or not carried",
        ),
        (
            {"manual_configuration": {"remote_table": "b", "column_mapping": {}}},
            {},
            "its columns are {}, and not pairs of ours and theirs",
        ),
        (
            {"manual_configuration": {"remote_table": "b", "column_mapping": {"a": "b", "c": "b"}}},
            {},
            "it compares one column with two",
        ),
    ],
)
def test_a_relationship_that_is_not_carried_takes_its_permissions_along(
    using: dict[str, Any], keys: ForeignKeys, reason: str
) -> None:
    seen = {"columns": ["id"], "filter": {"r": {"id": {"_eq": 1}}}}
    others = {"columns": ["id"], "filter": {"id": {"_eq": 1}}}
    permissions = [{"role": "user", "permission": seen}, {"role": "other", "permission": others}]
    found = of(
        with_relationships(
            object_relationships=[{"name": "r", "using": using}], select_permissions=permissions
        ),
        keys=keys,
    )
    assert found.tree["sources"]["a"] == {
        "permissions": {"other": {"columns": ["id"], "where": {"id": {"_eq": 1}}}}
    }
    assert left(found) == [
        ("sources.default.tables.public.a.object_relationships.r", reason),
        (
            "sources.default.tables.public.a.select_permissions.user",
            "it asks about r: that relationship is not carried; the whole permission is left out, so that nobody sees more",
        ),
    ]


def test_relationships_to_other_databases_and_schemas() -> None:
    to = {"source": "second", "table": "d", "relationship_type": "array", "field_mapping": {"id": "a_id"}}
    remote = [
        {"name": "ds", "definition": {"to_source": to}},
        {"name": "bad", "definition": {"to_source": to | {"relationship_type": "many"}}},
        {"name": "gone", "definition": {"to_source": to | {"source": "third"}}},
        {"name": "schema", "definition": {"to_remote_schema": {"remote_schema": "r"}}},
        {"name": "older", "remote_schema": "r", "hasura_fields": ["id"]},
    ]
    found = of(source(table("a", remote_relationships=remote)), source(table("d"), name="second"))
    assert found.tree["sources"]["a"]["relationships"] == {"ds": {"array": "d", "on": {"id": "a_id"}}}
    here = "sources.default.tables.public.a.remote_relationships"
    assert left(found) == [
        (f"{here}.bad", "its relationship_type is 'many', and neither object nor array"),
        (f"{here}.gone", "it leads to public.d of third, which is not tracked, or not carried"),
        (f"{here}.schema", "it leads to a remote schema, and those are not joined by this version"),
        (f"{here}.older", "it leads to a remote schema, and those are not joined by this version"),
    ]


# -- roles --------------------------------------------------------------------------------------------------------


def permissions(*entries: dict[str, Any], **more: Any) -> Imported:
    return of(source(table("a", select_permissions=list(entries), **more)))


def test_a_whole_permission() -> None:
    found = permissions(
        {
            "role": "user",
            "comment": "note",
            "permission": {
                "columns": "*",
                "computed_fields": ["rank"],
                "filter": {},
                "limit": 0,
                "allow_aggregations": True,
                "query_root_fields": [],
                "subscription_root_fields": None,
                "backend_only": True,
            },
        }
    )
    assert found.tree["sources"]["a"]["permissions"] == {
        "user": {"columns": "*", "limit": 0, "aggregate": True, "query_root_fields": [], "comment": "note"}
    }
    here = "sources.default.tables.public.a.select_permissions.user.permission"
    assert left(found) == [
        (f"{here}.computed_fields", "functions are not called by this version"),
        (f"{here}.backend_only", "this version does not know it"),
    ]


@pytest.mark.parametrize(
    ("permission", "reason"),
    [
        ({"columns": [], "filter": {"rank": 1}}, "it asks about rank: that computed field is not carried"),
        ({"columns": [], "filter": {"id": {"_st_x": 1}}}, "_st_x is no operator of this version"),
        (
            {"columns": [], "filter": {}, "query_root_fields": ["select", "select_x"]},
            "its query_root_fields has select_x, which this version does not know",
        ),
    ],
)
def test_a_permission_is_carried_whole_or_not_at_all(permission: dict[str, Any], reason: str) -> None:
    found = permissions({"role": "user", "permission": permission}, computed_fields=[{"name": "rank"}])
    assert found.tree["sources"]["a"] == {}
    assert left(found)[0] == (
        "sources.default.tables.public.a.select_permissions.user",
        f"{reason}; the whole permission is left out, so that nobody sees more",
    )


@pytest.mark.parametrize(
    ("permission", "message"),
    [
        ({"columns": "id"}, "permission.columns is a text, but must be a list of columns"),
        ({"columns": [1]}, "permission.columns is a list, but must be a list of columns"),
        ({"columns": [], "limit": -1}, "permission.limit is a number, but must be a whole number"),
        ({"columns": [], "limit": True}, "permission.limit is a boolean, but must be a whole number"),
    ],
)
def test_what_is_no_permission(permission: dict[str, Any], message: str) -> None:
    with pytest.raises(TycoError) as caught:
        permissions({"role": "user", "permission": permission})
    assert message in caught.value.message


def test_roles_collections_and_allow_lists() -> None:
    queries = [{"name": "q", "query": "{a}"}, {"name": "q", "query": "{b}"}, {"name": "odd", "query": "{"}]
    found = of(
        source(table("a")),
        inherited_roles=[
            {"role_name": "both", "role_set": ["x", "y"]},
            {"role_name": "none", "role_set": []},
        ],
        query_collections=[{"name": "app", "comment": "c", "definition": {"queries": queries}}],
        allowlist=[{"collection": "app"}],
        graphql_schema_introspection={"disabled_for_roles": ["x"]},
    )
    assert {key: found.tree[key] for key in list(found.tree)[2:]} == {
        "inherited_roles": {"both": ["x", "y"]},
        "query_collections": {"app": {"q": "{a}"}},
        "allowlist": {"app": {}},
        "introspection": {"disabled_for_roles": ["x"]},
    }
    assert left(found) == [
        ("inherited_roles.none", "it inherits from no role"),
        ("query_collections.app.comment", "a collection has no comment here"),
        ("query_collections.app.definition.queries.q", "a collection has an operation of this name already"),
        (
            "query_collections.app.definition.queries.odd",
            "is no GraphQL document: Expected Name, found <EOF>.",
        ),
    ]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (None, {}),
        ({"global": True}, {}),
        ({"global": False, "roles": ["x"]}, {"roles": ["x"]}),
        ({"roles": ["x"]}, {"roles": ["x"]}),
    ],
)
def test_scopes_of_the_allow_list(scope: Any, expected: dict[str, Any]) -> None:
    collections = [{"name": "app", "definition": {"queries": []}}]
    found = of(
        source(table("a")), query_collections=collections, allowlist=[{"collection": "app", "scope": scope}]
    )
    assert found.tree["allowlist"] == {"app": expected}
    assert found.left == []


def test_limits() -> None:
    limits = {
        "disabled": False,
        "depth_limit": {"global": 5, "per_role": {"user": 3, "odd": 1000}},
        "node_limit": {"global": 0, "per_role": {"user": 9}},
        "batch_limit": {"global": 10},
        "time_limit": {"global": 10, "per_role": {"user": 2.5, "odd": "x"}},
        "rate_limit": {
            "global": {"max_reqs_per_min": 600},
            "per_role": {
                "user": {"max_reqs_per_min": 60, "unique_params": "IP"},
                "named": {"max_reqs_per_min": 6, "unique_params": ["X-Hasura-Org-Id"]},
                "other": {"max_reqs_per_min": 6, "unique_params": ["x-hasura-user-id"]},
                "both": {"max_reqs_per_min": 6, "unique_params": ["x-hasura-user-id", "x-hasura-org-id"]},
                "none": {"max_reqs_per_min": 0},
            },
        },
    }
    found = of(source(table("a")), api_limits=limits)
    assert found.tree["limits"] == {
        "depth_limit": 5,
        "time_limit": "10s",
        "operations_per_role": "600/m",
        "user": "x-hasura-org-id",
        "per_role": {
            "user": {"depth_limit": 3, "node_limit": 9, "time_limit": "2.5s", "operations_per_ip": "60/m"},
            "named": {"operations_per_user": "6/m"},
        },
    }
    assert left(found) == [
        ("api_limits.depth_limit.per_role.odd", "must be at most 100, not 1000"),
        ("api_limits.node_limit.global", "must be at least 1, not 0"),
        ("api_limits.batch_limit", "batches of operations are not read by this version"),
        (
            "api_limits.time_limit.per_role.odd",
            "a duration is a number and a unit, such as 500ms, 30s, 5m, 1h or 1d; not 'x'",
        ),
        (
            "api_limits.rate_limit.per_role.other",
            "users are told apart by one session variable here, for all roles",
        ),
        (
            "api_limits.rate_limit.per_role.both",
            "operations are counted by the role, the address or one session variable here",
        ),
        (
            "api_limits.rate_limit.per_role.none.max_reqs_per_min",
            "must be a whole number of at least 1",
        ),
    ]
    found = of(source(table("a")), api_limits=limits | {"disabled": True})
    assert "limits" not in found.tree
    assert left(found) == [("api_limits", "it is disabled, and would be in force here")]
