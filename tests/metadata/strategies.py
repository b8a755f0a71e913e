"""Random metadata in the one form that an export gives, and the places in it where a key could be forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

COLUMNS = ("id", "name", "owner_id", "odd name", "on", "where")
TABLES = {
    "main": (("public", "alpha"), ("public", "beta"), ("sales", "gamma"), ("Odd.Schema", 'a "b". c')),
    "second": (("public", "delta"), ("sales", "epsilon")),
}
NAMES = {'a "b". c': "odd"}  # a name that GraphQL cannot hold has another
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20) | st.sampled_from(
    ["${HOME}", "$${", "yes", "1e5", "12", "null", "a: b", "several\nlines\n  of it"]
)
VALUES = (
    st.sampled_from(["X-Hasura-User-Id", "x-hasura-org-ids"])
    | st.integers(-(10**17), 10**17)
    | st.booleans()
    | st.none()
    | st.floats(-1e9, 1e9)
    | TEXTS
)
OPERATORS = ("_eq", "_neq", "_gt", "_in", "_is_null", "_like", "_contains", "_has_key", "_ceq")
QUERY_ROOTS = ("select", "select_by_pk", "select_aggregate")
STREAM_ROOTS = (*QUERY_ROOTS, "select_stream")
ROLES = ("user", "editor", "x y", "ß")
DOCUMENTS = TEXTS.map(lambda text: "{a} # " + " ".join(text.splitlines()))


def subsets(choices: tuple[str, ...], min_size: int = 0) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(choices), unique=True, min_size=min_size)


@st.composite
def metadata(draw: st.DrawFn) -> dict[str, Any]:
    databases = draw(subsets(("main", "second"), 1))
    tracked = {name: draw(subsets_of(TABLES[name])) for name in databases}
    everything = [(name, table) for name in databases for table in tracked[name]]
    relations = {
        (name, table): {
            f"r{i}_{table[1][0]}": (
                draw(st.sampled_from(["object", "array"])),
                draw(st.sampled_from(everything)),
            )
            for i in range(draw(st.integers(0, 2)))
        }
        for name, table in everything
    }
    made = [
        {
            "name": name,
            "kind": draw(st.sampled_from(["postgres", "materialize", "risingwave"])),
            "configuration": {"connection_info": {"database_url": {"from_env": f"{name.upper()}_URL"}}},
            "tables": [draw(_table(name, table, relations)) for table in tracked[name]],
        }
        for name in databases
    ]
    return {"version": 3, "sources": made} | draw(_sections())


def subsets_of(tables: tuple[tuple[str, str], ...]) -> st.SearchStrategy[list[tuple[str, str]]]:
    return st.lists(st.sampled_from(tables), unique=True, min_size=1)


def _named(table: tuple[str, str]) -> dict[str, Any]:
    return {"schema": table[0], "name": table[1]}


@st.composite
def _table(
    draw: st.DrawFn, database: str, table: tuple[str, str], relations: dict[Any, Any]
) -> dict[str, Any]:
    made: dict[str, Any] = {"table": _named(table)}
    configuration: dict[str, Any] = {}
    if draw(st.booleans()):
        configuration["comment"] = draw(TEXTS)
    if table[1] in NAMES or draw(st.booleans()):
        configuration["custom_name"] = f"C_{NAMES.get(table[1], table[1])}"
    roots = {
        root: {"name": f"{NAMES.get(table[1], table[1])}_{root}_root", "comment": draw(TEXTS)}
        if draw(st.booleans())
        else f"{NAMES.get(table[1], table[1])}_{root}_root"
        for root in draw(subsets(STREAM_ROOTS))
    }
    if roots:
        configuration["custom_root_fields"] = roots
    columns = {
        column: draw(st.sampled_from([{"custom_name": f"c{i}"}, {"comment": "${x}"}, {"custom_name": f"c{i}", "comment": ""}]))
        for i, column in enumerate(draw(subsets(COLUMNS)))
    }  # fmt: skip
    if "odd name" in columns:
        columns["odd name"] = {"custom_name": "odd"}
    if columns:
        configuration["column_config"] = columns
    if configuration:
        made["configuration"] = configuration
    made |= _relationships(draw, database, relations[database, table])
    if permissions := [draw(_permission(role, database, table, relations)) for role in draw(subsets(ROLES))]:
        made["select_permissions"] = permissions
    return made


def _relationships(draw: st.DrawFn, database: str, found: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, list[dict[str, Any]]] = {}
    for name, (kind, (other, table)) in found.items():
        on = draw(st.sampled_from([{"id": "owner_id"}, {"odd name": "on", "name": "name"}]))
        if other == database:
            entry: dict[str, Any] = {
                "name": name,
                "using": {"manual_configuration": {"remote_table": _named(table), "column_mapping": on}},
            }
            if draw(st.booleans()):
                entry["comment"] = draw(TEXTS)
            made.setdefault(f"{kind}_relationships", []).append(entry)
        else:
            to = {"source": other, "table": _named(table), "relationship_type": kind, "field_mapping": on}
            made.setdefault("remote_relationships", []).append(
                {"name": name, "definition": {"to_source": to}}
            )
    order = ("object_relationships", "array_relationships", "remote_relationships")
    return {key: made[key] for key in order if key in made}


@st.composite
def conditions(
    draw: st.DrawFn, database: str, table: tuple[str, str], relations: dict[Any, Any], depth: int = 2
) -> Any:
    """A filter over a table's columns, its relationships within the database, and other tables."""
    here = [(name, to[1]) for name, (_, to) in relations[database, table].items() if to[0] == database]
    made: dict[str, Any] = {}
    for key in draw(
        st.lists(
            st.sampled_from(["_and", "_or", "_not", "_exists", "column", "related"]), unique=True, max_size=2
        )
    ):
        if key == "column" or depth == 0:
            made[draw(st.sampled_from(COLUMNS))] = {
                draw(st.sampled_from(OPERATORS)): draw(VALUES | st.lists(VALUES, max_size=3))
            }
        elif key in ("_and", "_or"):
            made[key] = [
                draw(conditions(database, table, relations, depth - 1))
                for _ in range(draw(st.integers(0, 2)))
            ]
        elif key == "_not":
            made[key] = draw(conditions(database, table, relations, depth - 1))
        elif key == "_exists":
            other = draw(st.sampled_from([of for name, of in relations if name == database]))
            made[key] = {
                "_table": _named(other),
                "_where": draw(conditions(database, other, relations, depth - 1)),
            }
        elif here:
            name, target = draw(st.sampled_from(here))
            made[name] = draw(conditions(database, target, relations, depth - 1))
    return made  # fmt: skip


@st.composite
def _permission(
    draw: st.DrawFn, role: str, database: str, table: tuple[str, str], relations: dict[Any, Any]
) -> Any:
    permission: dict[str, Any] = {
        "columns": draw(st.just("*") | subsets(COLUMNS)),
        "filter": draw(conditions(database, table, relations)),
    }
    if draw(st.booleans()):
        permission["limit"] = draw(st.integers(0, 1000))
    if draw(st.booleans()):
        permission["allow_aggregations"] = True
    if draw(st.booleans()):
        permission["query_root_fields"] = draw(subsets(QUERY_ROOTS))
    if draw(st.booleans()):
        permission["subscription_root_fields"] = draw(subsets(STREAM_ROOTS))
    made = {"role": role, "permission": permission}
    return made | ({"comment": draw(TEXTS)} if draw(st.booleans()) else {})


@st.composite
def _sections(draw: st.DrawFn) -> dict[str, Any]:
    collections = draw(subsets(("app", "odd collection")))
    sections: dict[str, Any] = {
        "inherited_roles": [
            {"role_name": f"inherited {name}", "role_set": draw(subsets(ROLES, 1))}
            for name in draw(subsets(("a", "b")))
        ],
        "query_collections": [
            {
                "name": name,
                "definition": {
                    "queries": [
                        {"name": one, "query": draw(DOCUMENTS)} for one in draw(subsets(("q", "r s")))
                    ]
                },
            }
            for name in collections
        ],
        "allowlist": [
            {"collection": name, "scope": draw(st.just({"global": True}) | subsets(ROLES, 1).map(_for_roles))}
            for name in collections
            if draw(st.booleans())
        ],
        "graphql_schema_introspection": draw(st.just({}) | subsets(ROLES, 1).map(_disabled)),
    }
    if limits := {key: draw(_limit()) for key in draw(subsets(("depth_limit", "node_limit", "time_limit")))}:
        sections["api_limits"] = {"disabled": False} | limits
    if draw(st.booleans()):
        rates = sections.setdefault("api_limits", {"disabled": False})
        rates["rate_limit"] = {
            "global": draw(_rate()),
            "per_role": {draw(st.sampled_from(ROLES)): draw(_rate())},
        }
    return {key: value for key, value in sections.items() if value}


@st.composite
def _rate(draw: st.DrawFn) -> dict[str, Any]:
    by = draw(st.sampled_from([None, "IP", ["x-hasura-user-id"]]))
    return {"max_reqs_per_min": draw(st.integers(1, 10_000))} | ({"unique_params": by} if by else {})


@st.composite
def _limit(draw: st.DrawFn) -> dict[str, Any]:
    roles = {role: draw(st.integers(1, 100)) for role in draw(subsets(ROLES))}
    return {"global": draw(st.integers(1, 100))} | ({"per_role": roles} if roles else {})


def _for_roles(roles: list[str]) -> dict[str, Any]:
    return {"global": False, "roles": roles}


def _disabled(roles: list[str]) -> dict[str, Any]:
    return {"disabled_for_roles": roles}


# What stands below these keys is a value as a whole, or its keys are names that somebody chose.
_WHOLE = frozenset({"table", "remote_table", "column_mapping", "field_mapping", "filter", "database_url"})
_BY_NAME = frozenset({"column_config", "per_role"})


def mappings(
    value: Any, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """Every mapping of a metadata in which a further key could stand."""
    if isinstance(value, dict):
        if not (path and path[-1] in _BY_NAME):
            yield path, value
        for key, inner in value.items():
            if key not in _WHOLE:
                yield from mappings(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from mappings(inner, (*path, i))


def planted(value: Any, wanted: Callable[[int], bool]) -> list[tuple[str | int, ...]]:
    """Put a key that nobody knows into some mappings; the places that it stands at."""
    paths = []
    for i, (path, mapping) in enumerate(list(mappings(value))):
        if wanted(i):
            mapping["planted"] = "unheard of"
            paths.append((*path, "planted"))
    return paths
