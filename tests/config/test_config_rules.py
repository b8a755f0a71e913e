"""Rules between fields: one broken rule, one sentence."""

from __future__ import annotations

import pytest

from tycostream.config.load import loads
from tycostream.config.rules import is_loopback
from tycostream.errors import ConfigError

DATABASE = "databases: {main: {url: 'host=db'}}\n"
SOURCE = "sources: {a: {}}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text, "t.yaml", {})
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "{}",
            'databases.main: has no url; write url: "${DATABASE_URL}" (a libpq connection string or URI), or embedded: true',
        ),
        ("{url: ''}", "databases.main.url: has no url"),
        ("{engine: risingwave}", "(a libpq connection string or URI)"),
        (
            "{engine: materialize, embedded: true}",
            "databases.main.embedded: only PostgreSQL can be embedded, not materialize",
        ),
        ("{embedded: true, url: 'host=x'}", "databases.main.url: an embedded database has no url"),
        ("{url: localhost}", "databases.main.url: is not a libpq connection string"),
        (
            "{url: 'host=x', port: 5}",
            "databases.main.port: is a setting of an embedded database only; the url holds the port",
        ),
        (
            "{url: 'host=x', data: y}",
            "databases.main.data: is a setting of an embedded database only; remove it",
        ),
    ],
)
def test_databases(text: str, expected: str) -> None:
    (found,) = problems(f"databases: {{main: {text}}}\n{SOURCE}")
    assert expected in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{s: [buy, sell, buy]}", "t.yaml:3:24: enums.s[2]: 'buy' is here a second time; keep one"),
        ("{s: []}", "enums.s: has no labels; write them in their order: [buy, sell]"),
        ("{s: ['true']}", "enums.s[0]: 'true' cannot be a label"),
        ("{s: [true]}", "enums.s[0]: is a boolean (true), but must be a text; write it in quotes"),
        ("{s: [null]}", "enums.s[0]: is empty, but must be a text"),
        ("{s: ['a b']}", "enums.s[0]: 'a b' is not a GraphQL name"),
        ("{s: [__a]}", "enums.s[0]: '__a' starts with two underscores"),
        ("{Date: [a]}", "enums.Date: Date is the name of a type already; choose another"),
        ("{uuid: [a]}", "enums.uuid: uuid is the name of a type already"),
        ("{1s: [a]}", "t.yaml:3:9: enums.1s: '1s' is not a GraphQL name"),
        ("{a: [b]}", "t.yaml:2:11: sources.a: its type a is also one of enum a; rename one of them"),
        ("{a_old: [b]}", "sources.a: its type a_old is also one of enum a_old"),
    ],
)
def test_enums(text: str, expected: str) -> None:
    (found,) = problems(f"{DATABASE}{SOURCE}enums: {text}\n")
    assert expected in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{'a b': {}}", "sources.a b: 'a b' is not a GraphQL name: letters, digits and underscores, not starting with a digit; choose a name, and write the table's in `table:`"),
        ("{__a: {}}", "sources.__a: '__a' starts with two underscores, which GraphQL keeps for itself"),
        ("{query_root: {}}", "sources.query_root: query_root is the name of a type already; choose another, and write `table: query_root`"),
        ("{date: {}}", "sources.date: date is the name of a type already"),
        ("{a: {}, a_by_pk: {}}", "sources.a_by_pk: its field a_by_pk is also one of source a; rename one of them"),
        ("{a_changes: {}, a: {}}", "sources.a: its field a_changes is also one of source a_changes"),
        ("{a: {}, a_change_set: {}}", "sources.a_change_set: its type a_change_set is also one of source a"),
        ("{a: {database: mian}}", "sources.a.database: there is no database 'mian'; did you mean main? (databases: main)"),
        ("{a: {table: public.}}", "sources.a.table: must be a table's name, or schema.table"),
        ("{a: {columns: []}}", "sources.a.columns: names no column"),
        ("{a: {columns: {x: Strin}}}", "sources.a.columns.x: there is no type 'Strin'; did you mean String?"),
        ("{a: {columns: [x], primary_key: y}}", "sources.a.primary_key[0]: 'y' is not among `columns`; add it there"),
        ("{a: {primary_key: [y, y]}}", "t.yaml:2:32: sources.a.primary_key[1]: 'y' is here a second time; keep one"),
        ("{a: {columns: [x], column_config: {xx: {}}}}", "sources.a.column_config.xx: 'xx' is not among `columns`; did you mean x?"),
        ("{a: {columns: [x, 'y z']}}", "t.yaml:2:28: sources.a.columns.y z: 'y z' is not a GraphQL name"),
        ("{a: {column_config: {x: {name: 1x}}}}", "sources.a.column_config.x.name: '1x' is not a GraphQL name"),
        ("{a: {column_config: {x: {name: __x}}}}", "'__x' starts with two underscores"),
        ("{a: {columns: [x, y], column_config: {x: {name: y}}}}", "'y' is the name of column 'x' already; choose another"),
        ("{a: {columns: [_and]}}", "'_and' is a word of `where`; give it one: column_config"),
        ("{a: {live: {log: {bytes: 1KiB}}}}", "sources.a.live.log.bytes: must be at least 64KiB"),
        ("{}", "sources: there is no source; name a table: `sources: {trades: {}}`"),
        ("", "sources: there is no source"),
    ],
)  # fmt: skip
def test_sources(text: str, expected: str) -> None:
    (found,) = problems(f"{DATABASE}sources: {text}\n")
    assert expected in found


def test_a_source_must_say_which_of_several_databases() -> None:
    (found,) = problems("databases: {a: {url: 'host=a'}, b: {url: 'host=b'}}\nsources: {x: {}}")
    assert found.endswith("sources.x: there are several databases; say which: `database: a` (a, b)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "{host: 0.0.0.0}",
            "server.host: '0.0.0.0' can be reached from other machines, and this version has no authentication",
        ),
        ("{host: ''}", "server.host: '' can be reached"),
        ("{message_bytes_max: 1B}", "server.message_bytes_max: must be at least 1KiB"),
        ("{ping_interval: 0s}", "server.ping_interval: must be longer than nothing"),
        ("{cursor_key: ['']}", "server.cursor_key[0]: is empty"),
        ("{operations_max: 0}", "server.operations_max: must be at least 1, not 0"),
    ],
)
def test_server(text: str, expected: str) -> None:
    (found,) = problems(f"{DATABASE}{SOURCE}server: {text}\n")
    assert expected in found


def test_a_public_host_is_allowed_when_asked_for() -> None:
    loaded = loads(f"{DATABASE}{SOURCE}server: {{host: 0.0.0.0, insecure_public: true}}", environ={})
    assert loaded.server.host == "0.0.0.0"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("::", False), ("db", False)],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_names_that_only_seem_to_clash() -> None:
    text = f"{DATABASE}enums: {{a_by_pk: [x], a_changes: [y]}}\nsources: {{a: {{}}, a_by: {{}}}}"
    assert list(loads(text, environ={}).sources) == ["a", "a_by"]
