"""The shape of permissions and of all that goes with them; and that nobody serves them where everybody is admin."""

from __future__ import annotations

from pathlib import Path

import pytest

from tycostream.config.load import loads, written
from tycostream.errors import ConfigError

HEAD = "databases: {main: {url: 'host=db'}}\n"


def problems(text: str) -> list[str]:
    """What is wrong besides that it would not be enforced."""
    try:
        loads(HEAD + text, "t.yaml", {})
    except ConfigError as error:
        return [str(problem) for problem in error.problems if "so a configuration" not in problem.message]
    return []


def of_trades(permissions: str) -> list[str]:
    return problems(
        f"auth: {{admin_secrets: [{'x' * 32}]}}\nsources:\n  users: {{}}\n  trades: {{columns: [id, desk], permissions: {permissions}}}\n"
    )


def test_a_whole_one_has_no_mistake() -> None:
    assert (
        of_trades(
            "{trader: {columns: [id], where: {_and: [{desk: {_eq: X-Hasura-Desk}}, {_not: {id: {_is_null: true}}}], "
            "_exists: {_table: users, _where: {id: {_eq: 1}}}}, limit: 0, aggregate: true, query_root_fields: [], "
            "subscription_root_fields: [select, select_changes], comment: x}, other: {columns: '*'}}"
        )
        == []
    )


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [
        ("{trader: }", "trader.columns: is missing"),
        ("{admin: {columns: [id]}}", "admin: admin sees everything, and nothing can be said of it; remove it"),
        ("{' x': {columns: [id]}}", "' x' is not a role's name: printable text, without spaces around it"),
        ("{t: {columns: [id, id]}}", "t.columns[1]: 'id' is here a second time; keep one"),
        ("{t: {columns: [dest]}}", "'dest' is not among `columns` of the source; did you mean desk?"),
        ("{t: {columns: ['*', id]}}", "stands for all columns, and then alone; remove the others, or it"),
        ("{t: {columns: [id], limit: -1}}", "t.limit: must be at least 0, not -1"),
        ("{t: {columns: [id], where: []}}", "t.where: is a list, but must be a mapping of `key: value` lines"),
        ("{t: {columns: [id], where: {_or: [1]}}}", "t.where._or[0]: is a number, but must be a condition, such"),
        ("{t: {columns: [id], where: {id: 1}}}", "t.where.id: is a number, but must be a condition"),
        ("{t: {columns: [id], where: {_not: null}}}", "t.where._not: is empty, but must be a condition"),
        ("{t: {columns: [id], where: {user: {_and: x}}}}", "t.where.user._and: is a text, but must be a condition"),
        ("{t: {columns: [id], where: {_exists: {_table: users}}}}", "_exists: must say in which source, and what"),
        (
            "{t: {columns: [id], where: {_exists: {_table: user, _where: {}}}}}",
            "_exists._table: there is no source 'user'; did you mean users?",
        ),
        (
            "{t: {columns: [id], query_root_fields: [select_stream]}}",
            "query_root_fields[0]: must be one of select, select_by_pk, select_aggregate, not 'select_stream'",
        ),
        ("{t: {columns: [id], filter: {}}}", "filter: is not a setting (allowed here: columns, where, limit,"),
    ],
)  # fmt: skip
def test_mistakes_in_permissions(permissions: str, expected: str) -> None:
    (found,) = of_trades(permissions)
    assert expected in found
    assert found.startswith("t.yaml:5:")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("inherited_roles: {a: []}", "inherited_roles.a: names no role; name one at least"),
        ("inherited_roles: {a: [b], b: [c, a]}", "inherited_roles.a: inherits from itself, by way of b, c, a; a role"),
        ("inherited_roles: {a: [admin]}", "inherited_roles.a[0]: admin sees everything"),
        ("allowlist: {app: {}}", "allowlist.app: there is no query collection 'app'"),
        ("query_collections: {app: {q: '{a}'}}\nallowlist: {app: {roles: []}}", "allowlist.app.roles: names no role"),
        ("allowlist: {}", "allowlist: names no collection, and then no role could run anything; name one, or remove"),
        ("query_collections: {app: {q: '{a'}}", "query_collections.app.q: is no GraphQL document: Expected Name, found"),
        ("query_collections: {app: {q: ''}}", "query_collections.app.q: is no GraphQL document: Unexpected <EOF>."),
        ("query_collections: {app: {q: 1}}", "query_collections.app.q: is a number (1), but must be a text"),
        ("introspection: {disabled_for_roles: ['']}", "introspection.disabled_for_roles[0]: '' is not a role's name"),
    ],
)  # fmt: skip
def test_mistakes_beside_them(text: str, expected: str) -> None:
    assert expected in "\n".join(problems(text + "\nsources: {a: {}}\n"))


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("allowlist", "query_collections: {app: {}}\nallowlist: {app: }", "the allow-list holds for nobody without `auth`: whoever reaches the port is admin, and may run any operation; say in `auth` who is asking, or remove it"),
        ("introspection", "introspection: {disabled_for_roles: x}", "introspection is disabled for nobody without `auth`: whoever reaches the port is admin, and may look at the schema; say in `auth` who is asking, or remove it"),
    ],
)  # fmt: skip
def test_what_holds_for_roles_takes_auth(key: str, text: str, message: str) -> None:
    file = HEAD + "sources: {a: {}}\n" + text
    with pytest.raises(ConfigError) as caught:
        loads(file, "t.yaml", {})
    assert [(problem.path, problem.message) for problem in caught.value.problems] == [(key, message)]
    config = loads(file + "\nauth: {admin_secrets: the secret of the admin}", "t.yaml", {})
    assert getattr(config, key)


def test_collections_alone_are_documents_that_are_called_by_their_hash() -> None:
    config = loads(HEAD + "sources: {a: {}}\nquery_collections: {app: {q: '{a {id}}'}}", "t.yaml", {})
    assert config.query_collections == {"app": {"q": "{a {id}}"}}


def test_what_is_written_can_be_read_without_being_served_and_without_its_secrets(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(
        "databases: {main: {url: '${DB_URL:-host=${x}'}, other: {url: 'host=db password=x'}}\n"
        "sources: {a: {database: main, columns: [id], permissions: {r: {columns: id, where: {id: {_eq: null}}}}}}\n"
        "inherited_roles: {both: r}\nquery_collections: {app: {}}\nallowlist: {app: }\n"
    )
    assert written(file, {}) == {
        "databases": {"main": {"url": "${DB_URL:-host=${x}"}, "other": {"url": "host=db password=x"}},
        "sources": {
            "a": {
                "database": "main",
                "columns": {"id": None},
                "permissions": {"r": {"columns": ("id",), "where": {"id": {"_eq": None}}}},
            }
        },
        "inherited_roles": {"both": ("r",)},
        "query_collections": {"app": {}},
        "allowlist": {"app": {}},
    }


def test_mistakes_are_told_there_too(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(HEAD + "sources: {a: {colums: [id]}}\n")
    with pytest.raises(ConfigError, match="did you mean columns"):
        written(tmp_path / "t.yaml", {})
