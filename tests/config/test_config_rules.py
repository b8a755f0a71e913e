"""Rules between fields: one broken rule, one sentence."""

from __future__ import annotations

import pytest

from tycostream.config.load import loads
from tycostream.config.loopback import is_loopback
from tycostream.config.model import Consistency
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


MZ = "databases: {main: {engine: materialize, url: 'host=mz'}}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "{cluster: c}",
            "t.yaml:1:36: databases.main.cluster: is a setting of engine materialize only; remove it",
        ),
        ("{consistency: source}", "databases.main.consistency: is a setting of engine materialize only"),
        ("{options: {}}", "databases.main.options: is a setting of engine materialize only"),
        ("{stall_after: 0s}", "databases.main.stall_after: must be longer than nothing, such as 10s"),
        ("{reconnect_delay_max: 0s}", "databases.main.reconnect_delay_max: must be longer than nothing"),
        ("{connect_timeout: 0s}", "databases.main.connect_timeout: must be longer than nothing"),
        ("{statement_timeout: 0s}", "databases.main.statement_timeout: must be longer than nothing"),
    ],
)
def test_database_settings(text: str, expected: str) -> None:
    (found,) = problems(f"databases: {{main: {{url: 'host=db', {text[1:]}}}\n{SOURCE}")
    assert expected in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{publication: p}", "databases.main.publication: is a setting of PostgreSQL only; remove it"),
        ("{cluster: ''}", "databases.main.cluster: is not a cluster's name"),
        ("{consistency: databse}", "must be one of source, database, not 'databse'; did you mean database?"),
        ("{options: {Bad-Name: x}}", "databases.main.options.Bad-Name: 'Bad-Name' is not a session setting"),
        ("{options: {timezone: UTC}}", "options.timezone: tycostream reads one form of every value"),
        (
            "{options: {cluster: c}}",
            "options.cluster: has a key of its own; write `cluster:` beside `options:`",
        ),
        ('{options: {a: "x\\ny"}}', "databases.main.options.a: must be one line of printable text"),
        ("{options: {a: [x]}}", "databases.main.options.a: is a list, but must be a text"),
        ("{options: x}", "databases.main.options: is a text, but must be a mapping"),
    ],
)
def test_materialize_settings(text: str, expected: str) -> None:
    (found,) = problems(f"databases: {{main: {{engine: materialize, url: 'host=db', {text[1:]}}}\n{SOURCE}")
    assert expected in found


def test_the_settings_of_a_materialize() -> None:
    text = (
        "databases:\n  main:\n    engine: materialize\n"
        "    url: postgresql://u@mz:6875/materialize?sslmode=verify-full&sslrootcert=ca.pem\n"
        "    cluster: live\n    consistency: database\n    stall_after: 30s\n    reconnect_delay_max: 2s\n"
        "    options: {transaction_isolation: strict serializable, max_query_result_size: 100, emit_it: true}\n"
    )
    main = loads(text + SOURCE, environ={}).databases["main"]
    assert (main.cluster, main.consistency) == ("live", Consistency.DATABASE)
    assert (main.stall_after.total_seconds(), main.reconnect_delay_max.total_seconds()) == (30, 2)
    assert main.options == {
        "transaction_isolation": "strict serializable",
        "max_query_result_size": "100",
        "emit_it": "true",
    }
    plain = loads(MZ + SOURCE, environ={}).databases["main"]
    assert (plain.cluster, plain.consistency, plain.options) == (None, Consistency.SOURCE, {})
    assert (plain.stall_after.total_seconds(), plain.reconnect_delay_max.total_seconds()) == (10, 10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{query: ''}", "t.yaml:2:22: sources.a.query: is empty; write a SELECT"),
        ("{query: 'DROP TABLE t'}", "sources.a.query: starts with 'DROP', but must be a query"),
        ("{query: 'SELECT 1; SELECT 2'}", "sources.a.query: holds a second statement after a semicolon"),
        ("{query: SELECT 1, table: t}", "t.yaml:2:32: sources.a.table: a source reads a table or a query, not both"),
        ("{query: 5}", "sources.a.query: is a number (5), but must be a text"),
        ("{fields: {f: {}}}", "t.yaml:2:24: sources.a.fields.f.sql: is missing"),
        ("{fields: {f: }}", "sources.a.fields.f.sql: is missing"),
        ("{fields: {f: {sql: 'a; b'}}}", "sources.a.fields.f.sql: holds a semicolon"),
        ("{fields: {f: {sql: 'a, b'}}}", "sources.a.fields.f.sql: holds a comma outside of brackets"),
        ("{fields: {1f: {sql: a}}}", "t.yaml:2:24: sources.a.fields.1f: '1f' is not a GraphQL name"),
        ("{fields: {_or: {sql: a}}}", "sources.a.fields._or: '_or' is a word of `where`"),
        ("{fields: {f: {sql: a, type: Strin}}}", "sources.a.fields.f.type: there is no type 'Strin'; did you mean"),
        ("{fields: {f: {sql: a, typ: String}}}", "fields.f.typ: is not a setting; did you mean type? (allowed here: sql, type, comment)"),
        ("{columns: {f: Integer}, fields: {f: {sql: a, type: String}}}", "fields.f.type: is String, but Integer in `columns`"),
        ("{columns: {x: null}, column_config: {x: {name: f}}, fields: {f: {sql: a}}}", "sources.a.fields.f: 'f' is the name of column 'x' already"),
        ("{columns: [x], primary_key: g, fields: {f: {sql: a}}}", "'g' is not among `columns`"),
        ("{columns: [x], column_config: {ff: {}}, fields: {f: {sql: a}}}", "'ff' is not among `columns`; did you mean f?"),
    ],
)  # fmt: skip
def test_queries_and_fields(text: str, expected: str) -> None:
    (found,) = problems(f"{MZ}sources: {{a: {text}}}\n")
    assert expected in found


def test_a_query_with_fields() -> None:
    text = (
        f"{MZ}enums: {{side: [buy, sell]}}\nsources:\n  totals:\n    query: |\n      SELECT symbol, sum(x) AS s -- all\n"
        "      FROM trades GROUP BY symbol;\n    primary_key: [symbol, half]\n    columns: [symbol, s, half]\n"
        "    column_config: {half: {name: halfOf}}\n"
        "    fields: {half: {sql: s / 2, type: Numeric, comment: one half}, which: {sql: \"'buy'\", type: side}}\n"
    )
    source = loads(text, environ={}).sources["totals"]
    assert source.query == "SELECT symbol, sum(x) AS s -- all\nFROM trades GROUP BY symbol"
    assert source.table == ""
    assert source.primary_key == ("symbol", "half")
    assert (source.fields["half"].sql, source.fields["half"].type) == ("s / 2", "Numeric")
    assert (source.fields["half"].comment, source.fields["which"].type) == ("one half", "side")


RW = "databases: {rw: {engine: risingwave, url: 'host=r'}}\n"
RW_MANAGED = "databases: {rw: {engine: risingwave, url: 'host=r', manage: true}}\n"


def test_risingwave_computes_what_it_may_make_a_view_of() -> None:
    said = (
        "RisingWave keeps it as a materialized view: set `manage: true` of its database to have it created, or create the "
        "view yourself and name it in `table:`"
    )
    sources = "sources: {a: {query: SELECT 1, fields: {f: {sql: b}}}}\n"
    assert problems(f"{RW}{sources}") == [
        f"t.yaml:2:15: sources.a.query: {said}",
        f"t.yaml:2:32: sources.a.fields: {said}",
    ]
    assert loads(f"{RW_MANAGED}{sources}", environ={}).sources["a"].query == "SELECT 1"


def test_a_subscription_is_risingwaves_and_over_a_table() -> None:
    assert problems(f"{RW_MANAGED}sources: {{a: {{query: SELECT 1, subscription: s}}}}\n") == [
        "t.yaml:2:32: sources.a.subscription: is over a table, and query makes a materialized view of its own; remove one "
        "of them"
    ]
    (found,) = problems(f"{RW}sources: {{a: {{subscription: 'a..b'}}}}\n")
    assert "sources.a.subscription: must be a table's name" in found
    assert problems(f"{MZ}sources: {{a: {{subscription: s}}}}\n") == [
        "t.yaml:2:15: sources.a.subscription: is a setting of engine risingwave only; remove it"
    ]
    assert (
        loads(f"{RW}sources: {{a: {{subscription: x.s}}}}\n", environ={}).sources["a"].subscription == "x.s"
    )


def test_retention_is_whole_seconds_and_long_enough() -> None:
    def of(settings: str) -> list[str]:
        return problems(f"databases: {{d: {{url: 'host=r', {settings}}}}}\nsources: {{a: {{}}}}\n")

    place = "t.yaml:1:63: databases.d.retention: "
    assert of("engine: risingwave, retention: 59s") == [
        f"{place}must be at least 1m: a cursor lives as long, and has to be renewed before it ends"
    ]
    assert of("engine: risingwave, retention: 61.5s") == [
        f"{place}must be whole seconds: RisingWave knows no less"
    ]
    (found,) = of("engine: postgres, retention: 2h")
    assert "databases.d.retention: is a setting of engine risingwave only; remove it" in found
    settings = "engine: risingwave, publication: p, slot: s, reruns_max: 1, cluster: c"
    assert [line.partition("databases.d.")[2] for line in of(settings)] == [
        "publication: is a setting of PostgreSQL only; remove it",
        "slot: is a setting of PostgreSQL only; remove it",
        "reruns_max: is a setting of PostgreSQL only; remove it",
        "cluster: is a setting of engine materialize only; remove it",
    ]


def test_a_query_of_an_engine_that_cannot_be_told_is_one_problem() -> None:
    # which engine it is cannot be told: one problem, not two
    (found,) = problems(
        "databases: {main: {engine: materialise, url: 'host=x'}}\nsources: {a: {query: SELECT 1}}"
    )
    assert "databases.main.engine: must be one of" in found
    loaded = loads(
        f"{DATABASE}sources: {{a: {{query: SELECT 1; , fields: {{f: {{sql: b}}}}}}}}\n", "t.yaml", {}
    )
    assert loaded.sources["a"].query == "SELECT 1"


def test_what_concerns_re_runs_is_a_setting_of_postgres() -> None:
    text = "databases: {mz: {engine: materialize, url: 'host=m', reruns_max: 3}, pg: {url: 'host=p', reruns_max: 3}}\nsources:\n"
    live = "live: {interval: 50ms, refresh: 10s}"
    assert problems(f"{text}  a: {{database: mz, {live}}}\n  b: {{database: pg, {live}}}\n") == [
        "t.yaml:1:54: databases.mz.reruns_max: is a setting of PostgreSQL only; remove it",
        "t.yaml:3:28: sources.a.live.interval: is for what PostgreSQL re-runs; materialize tells every change by itself; remove it",
        "t.yaml:3:44: sources.a.live.refresh: is for what PostgreSQL re-runs; materialize tells every change by itself; remove it",
    ]
    (found,) = problems(f"{DATABASE}live: {{refresh: 5ms}}\n{SOURCE}")
    assert (
        found == "t.yaml:2:17: live.refresh: must be at least 100ms: each time the whole query is run again"
    )
    (found,) = problems(f"databases: {{main: {{url: 'host=db', reruns_max: 0}}}}\n{SOURCE}")
    assert "databases.main.reruns_max" in found


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
        (
            "{a_select_column_a_aggregate_bool_exp_avg_arguments_columns: [b]}",
            "sources.a: its type a_select_column_a_aggregate_bool_exp_avg_arguments_columns is also one of enum a_select",
        ),
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
        ("{jsonb_cast_exp: {}}", "sources.jsonb_cast_exp: jsonb_cast_exp is the name of a type already"),
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
        ("{a: {custom_root_fields: {select: 1x}}}", "sources.a.custom_root_fields.select.name: '1x' is not a GraphQL name"),
        ("{a: {custom_root_fields: {select: {name: __x}}}}", "sources.a.custom_root_fields.select.name: '__x' starts with two underscores"),
        ("{a: {custom_root_fields: {select: b}}, b: {}}", "sources.b: its field b is also one of source a; rename one of them"),
        ("{b: {}, a: {custom_root_fields: {select_changes: b}}}", "sources.a.custom_root_fields.select_changes: b is also a field of source b; choose another name"),
        ("{a: {custom_root_fields: {select: x, select_by_pk: x}}}", "sources.a.custom_root_fields.select_by_pk: x is also a field of source a"),
        ("{a: {custom_root_fields: {by_pk: x}}}", "sources.a.custom_root_fields.by_pk: is not a setting (allowed here: select, select_by_pk, select_aggregate, select_stream, select_changes)"),
        ("{a: {custom_root_fields: {select: {nam: x}}}}", "sources.a.custom_root_fields.select.nam: is not a setting; did you mean name?"),
        ("{a: {custom_root_fields: {select: [x]}}}", "sources.a.custom_root_fields.select: is a list, but must be a mapping"),
        ("{a: {custom_name: b}}", "sources.a.custom_name: is not a setting: a source's name is its key"),
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
            "server.host: '0.0.0.0' can be reached from other machines, and there is no `auth:`",
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


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ("{a: {}}", "types.a: has no fields; write them with their types: {street: String, city: String}"),
        ("{'a b': {c: String}}", "types.a b: 'a b' is not a GraphQL name"),
        ("{a: {'b c': String}}", "types.a.b c: 'b c' is not a GraphQL name"),
        ("{a: {b: Sting}}", "types.a.b: there is no type 'Sting'; did you mean String? (types: Integer, "),
        ("{a: {b: [aa]}}", "types.a.b: there is no type '[aa]'"),
        ("{a: {b: 5}}", "types.a.b: is a number (5), but must be a text; write it in quotes"),
        ("{a: {b: [String, Integer]}}", "types.a.b: is a list, but must be a text"),
        ("{a: x}", "types.a: is a text, but must be a mapping"),
        ("{jsonb: {b: String}}", "types.jsonb: jsonb is the name of a type already; choose another"),
        ("{query_root: {b: String}}", "types.query_root: query_root is the name of a type already"),
        ("{side: {b: String}}", "types.side: its type side is also one of enum side; rename one of them"),
        (
            "{side_array_comparison_exp: {b: String}}",
            "types.side_array_comparison_exp: its type side_array_comparison_exp is also one of enum side",
        ),
        ("{s_old: {b: String}}", "sources.s: its type s_old is also one of type s_old; rename one of them"),
    ],
)
def test_object_types(types: str, expected: str) -> None:
    text = f"{DATABASE}enums: {{side: [x]}}\ntypes: {types}\nsources: {{s: {{}}}}"
    (found,) = problems(text)
    assert expected in found


def test_columns_of_object_types() -> None:
    text = f"{DATABASE}types: {{a: {{b: [a], c: [[String]]}}}}\nsources: {{s: {{columns: {{x: a, y: [a], z: JSON}}}}, t: {{}}}}"
    config = loads(text, environ={})
    assert config.types == {"a": {"b": "[a]", "c": "[[String]]"}}
    assert config.sources["s"].columns == {"x": "a", "y": "[a]", "z": "JSON"}
    assert [source.types for source in config.sources.values()] == [config.types, {}]
    (found,) = problems(f"{DATABASE}types: {{addr: {{b: String}}}}\nsources: {{s: {{columns: {{x: add}}}}}}")
    assert "sources.s.columns.x: there is no type 'add'; did you mean addr?" in found
    (found,) = problems(f"{DATABASE}sources: {{s: {{columns: {{x: [String]}}}}}}")
    assert "there is no type '[String]'" in found
    (found,) = problems(f"{DATABASE}sources: {{s: {{types: {{a: {{b: String}}}}}}}}")
    assert "sources.s.types: is not a setting of a source: write `types:` at the top of the file" in found
