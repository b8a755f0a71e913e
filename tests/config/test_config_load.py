"""From YAML to Config: what loads, and every mistake at its place."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.config.load import load, loads
from tycostream.config.model import Config, EngineName
from tycostream.errors import ConfigError, Problem

DATABASE = "databases: {main: {url: 'host=db'}}\n"
SOURCE = "sources: {trades: {}}\n"


def problems(text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text, "t.yaml", environ or {})
    return [str(problem) for problem in caught.value.problems]


def config(text: str, environ: dict[str, str] | None = None) -> Config:
    return loads(text, "t.yaml", environ or {})


# -- what loads ---------------------------------------------------------------------------------------------------


def test_the_shortest_useful_file() -> None:
    loaded = config(
        'databases:\n  main: {engine: materialize, url: "${DATABASE_URL}"}\nsources:\n  trades: {}\n',
        {"DATABASE_URL": "postgresql://mz/db"},
    )
    assert loaded.databases["main"].engine is EngineName.MATERIALIZE
    assert loaded.databases["main"].url == "postgresql://mz/db"
    source = loaded.sources["trades"]
    assert (source.name, source.database, source.table) == ("trades", "main", "trades")
    assert (source.columns, source.primary_key) == (None, ())


@pytest.mark.parametrize(
    "text", ["sources: {a: {}}", "sources:\n  a:\n", "sources: {a: null}", "sources: {a: ~}"]
)
def test_a_source_may_be_empty(text: str) -> None:
    assert config(DATABASE + text).sources["a"].name == "a"


def test_the_shapes_of_key_and_columns() -> None:
    loaded = config(
        DATABASE + "enums: {side: [buy, sell, no]}\nsources:\n"
        "  a: {primary_key: id, columns: [id, note]}\n"
        "  b: {primary_key: [x, y], columns: {x: Integer, y: side, z: , w: 'timestamp(3) without time zone'}}\n"
    )
    assert loaded.sources["a"].primary_key == ("id",)
    assert loaded.sources["a"].columns == {"id": None, "note": None}
    assert loaded.sources["b"].primary_key == ("x", "y")
    assert loaded.sources["b"].columns == {
        "x": "Integer",
        "y": "side",
        "z": None,
        "w": "timestamp(3) without time zone",
    }
    assert loaded.enums == {"side": ("buy", "sell", "no")}  # YAML 1.2: `no` is a text


def test_live_settings_of_a_source_lie_over_the_defaults_key_by_key() -> None:
    loaded = config(
        DATABASE + "live: {linger: 5s, log: {bytes: 1MiB}}\n"
        "sources: {a: {live: {log: {keep: 1h}, coalesce: 50ms}}, b: {live: {linger: 60s}}}"
    )
    live = loaded.sources["a"].live
    assert (live.linger, live.log.bytes) == (timedelta(seconds=5), 2**20)
    assert (live.log.keep, live.coalesce) == (timedelta(hours=1), timedelta(milliseconds=50))
    # equal to the product's default, but written down: it wins
    assert loaded.sources["b"].live.linger == timedelta(seconds=60)


def test_yaml_keeps_words_and_dates_as_they_are_written() -> None:
    loaded = config(DATABASE + "sources: {a: {comment: 2024-01-01}, b: {comment: 1:30}, c: {comment: yes}}")
    assert [source.comment for source in loaded.sources.values()] == ["2024-01-01", "1:30", "yes"]


def test_anchors_and_merge_keys() -> None:
    loaded = config(
        DATABASE
        + "sources:\n  a: &base {primary_key: id, comment: one}\n  b: {<<: *base, comment: two}\n  c: *base\n"
    )
    assert [source.comment for source in loaded.sources.values()] == ["one", "two", "one"]
    assert {source.primary_key for source in loaded.sources.values()} == {("id",)}


def test_the_database_may_be_left_out_where_there_is_one() -> None:
    text = "databases: {a: {url: 'host=a'}, b: {url: 'host=b'}}\nsources: {x: {database: b}}"
    assert config(text).sources["x"].database == "b"


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_bytes(b"\xef\xbb\xbf" + (DATABASE + SOURCE).encode())
    assert "trades" in load(tmp_path / "t.yaml", {}).sources


# -- what does not ------------------------------------------------------------------------------------------------


def test_all_mistakes_at_once_in_the_order_of_the_file() -> None:
    text = (
        "databases:\n"
        "  main: {engine: postgras, url: 5}\n"
        "sources:\n"
        "  trades:\n"
        "    columns: {id: Integr}\n"
        "    primary_key: [idd]\n"
        "    live: {log: {keep: 5}}\n"
        "server: {prot: 1, port: 99999}\n"
    )
    assert problems(text) == [
        "t.yaml:2:18: databases.main.engine: must be one of materialize, risingwave, postgres, not 'postgras'; "
        "did you mean postgres?",
        "t.yaml:2:33: databases.main.url: is a number, but must be a text; write it in quotes",
        "t.yaml:5:19: sources.trades.columns.id: there is no type 'Integr'; did you mean Integer? (types: Integer, "
        "BigInt, Float, Numeric, String, UUID, Timestamp, Date, Time, Boolean, JSON, Array, an SQL type, or an enum "
        "or a type of this file)",
        "t.yaml:6:19: sources.trades.primary_key[0]: 'idd' is not among `columns`; did you mean id?",
        "t.yaml:7:24: sources.trades.live.log.keep: a duration is a number and a unit, such as 500ms, 30s, 5m, 1h or "
        "1d; not 5",
        "t.yaml:8:10: server.prot: is not a setting; did you mean port? (allowed here: host, port, insecure_public, "
        "stringify_numbers, cursor_key, multi_root_subscriptions, tls, cors, trusted_proxies, "
        "forwarded_header, graphiql, header_timeout, body_timeout, header_bytes_max, connection_init_timeout, ping_interval, message_bytes_max, outbox_bytes_max, operations_max, log_level, "
        "log_format)",
        "t.yaml:8:25: server.port: must be at most 65535, not 99999",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "sources: {a: 5}",
            "t.yaml:2:14: sources.a: is a number, but must be a mapping of `key: value` lines",
        ),
        ("sources: [a]", "t.yaml:2:10: sources: is a list, but must be a mapping of `key: value` lines"),
        ("sources: {a: {comment: 5}}", "is a number (5), but must be a text; write it in quotes"),
        ("sources: {a: {primary_key: {}}}", "is a mapping, but must be a list, such as [a, b]"),
        (
            "sources: {a: {columns: [1]}}",
            "sources.a.columns: must be a list of column names, or names with types",
        ),
        ("sources: {a: {columns: [b, c, b]}}", "sources.a.columns: names b twice; name every column once"),
        (SOURCE + "server: {port: true}", "server.port: must be a whole number; not true"),
        (SOURCE + "server: {port: x}", "server.port: is a text ('x'), but must be a whole number"),
        (SOURCE + "server: {port: -1}", "server.port: must be at least 0, not -1"),
        (SOURCE + "server: {graphiql: yes}", "server.graphiql: must be true or false; not 'yes'"),
        (
            SOURCE + "server: {log_level: dbug}",
            "must be one of debug, info, warning, error, not 'dbug'; did you mean debug?",
        ),
        (SOURCE + "server: {message_bytes_max: 1XB}", "a size is a number and a unit, such as 64KiB"),
        (
            SOURCE + f"server: {{message_bytes_max: {'9' * 400}GiB}}",
            "is too large: the largest size is 1048576GiB",
        ),
        (SOURCE + f"server: {{ping_interval: {'9' * 400}d}}", "is too long: the longest duration is 3650d"),
        (SOURCE + "name: Prod!", "t.yaml:3:7: name: must be lower-case letters, digits and underscores"),
        ("sources: {a: {name: b}}", "sources.a.name: is not a setting: a source's name is its key"),
        (SOURCE + "databses: {}", "t.yaml:3:1: databses: is not a setting; did you mean databases?"),
    ],
)
def test_one_mistake(text: str, expected: str) -> None:
    found = problems(DATABASE + text)
    assert len(found) == 1
    assert expected in found[0]


def test_a_wrong_secret_is_not_shown() -> None:
    (found,) = problems("databases: {main: {url: 'mysql://u:hunter2@h/d'}}\n" + SOURCE)
    assert "hunter2" not in found
    assert "is not a libpq connection string" in found


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("limits.memory", "limits: {memory: 2GiB}"),
        ("limits.batch_limit", "limits: {batch_limit: {global: 10}}"),
        ("bus", "bus: null"),
        ("sources.a.triggers", "sources: {a: {triggers: {}}}"),
    ],
)
def test_what_comes_later_is_refused(key: str, text: str) -> None:
    (found,) = problems(DATABASE + text + ("" if "sources" in text else "\n" + SOURCE))
    assert f": {key}: " in found
    assert "this version, " in found
    assert "is refused; remove " in found
    assert "or wait for the version that " in found


def test_the_sentence_about_permissions() -> None:
    (found,) = problems(DATABASE + "sources:\n  trades:\n    permissions: {trader: {columns: '*'}}\n")
    assert found == (
        "t.yaml:4:5: sources.trades.permissions: permissions hold for nobody without `auth`: whoever reaches the port "
        "is admin, and sees everything; say in `auth` who is asking, or remove them"
    )


def test_permissions_are_served_to_those_who_are_asked_who_they_are() -> None:
    text = DATABASE + "sources:\n  trades:\n    permissions: {trader: {columns: '*'}}\n"
    config = loads(text + f"auth: {{admin_secrets: [{'x' * 32}]}}\n", "t.yaml", {})
    assert list(config.sources["trades"].permissions) == ["trader"]


def test_equal_keys_are_refused() -> None:
    assert problems(DATABASE + "sources:\n  a: {}\n  b: {}\n  a: {comment: x}\n") == [
        "t.yaml:5:3: sources.a: is a second time here, first in line 3; keep one"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "t.yaml:1:1: is empty; it needs `sources:`"),
        ("# nothing\n", "t.yaml:1:1: is empty"),
        ("null", "t.yaml:1:1: is empty"),
        ("- a", "t.yaml:1:1: is a list, but must be a mapping"),
        ("\nhello", "t.yaml:2:1: is a single value, but must be a mapping"),
        ("a: 1\n---\nb: 2", "t.yaml:2:1: a second document starts here"),
        (
            "sources: {a: [}",
            "t.yaml:1:15: is not YAML: while parsing a flow node, did not find expected node content",
        ),
        ("a: *nowhere", "t.yaml:1:4: alias *nowhere has no anchor &nowhere before it"),
        ("a: &a [*a]", "alias *a has no anchor"),
        ("a: !!python/object:os.system {}", "tag tag:yaml.org,2002:python/object:os.system is not allowed"),
        ("a: !!int 5", "tag tag:yaml.org,2002:int is not allowed"),
        ("a: b\x00", "t.yaml:1:5: holds a character that YAML does not allow"),
        ("ä: \ud800", "t.yaml:1:4: is not valid Unicode"),
        ("a: " + "[" * 60 + "]" * 60, "is nested more than 50 levels deep"),
        ("a: " + "[" * 100_000, "is nested more than 50 levels deep"),
        ("? [a]\n: b\n", "t.yaml:1:3: a key must be a plain text"),
        ("<<: 5\n", "t.yaml:1:5: <<: merges a mapping or a list of mappings only"),
    ],
)
def test_what_is_not_a_configuration(text: str, expected: str) -> None:
    assert any(expected in found for found in problems(text))


@pytest.mark.parametrize(
    "link", ["[" * 45 + "*a{0}" + "]" * 45, "{{x{0}: 1, <<: *a{0}}}"], ids=["aliases", "merges"]
)
def test_depth_counts_with_aliases_followed(link: str) -> None:
    lines = ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {link.format(n - 1)}" for n in range(1, 500))]
    (found,) = problems("\n".join(lines))
    assert "is nested more than 50 levels deep, aliases followed" in found


def test_an_alias_bomb_is_bounded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (found,) = problems("\n".join(lines))
    assert "holds more than 200000 values, aliases followed" in found


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    def error(path: Path) -> ConfigError:
        with pytest.raises(ConfigError) as caught:
            load(path, {})
        return caught.value

    missing = error(tmp_path / "none.yaml")
    assert str(missing).startswith(
        f"{tmp_path}/none.yaml:1:1: there is no such file\nHint: `tycostream init` writes"
    )
    assert "is a folder, not a file" in str(error(tmp_path))
    (tmp_path / "latin.yaml").write_bytes(b"a: b\nc: \xe4\n")
    assert f"{tmp_path}/latin.yaml:2:4: is not UTF-8 from here on" in str(error(tmp_path / "latin.yaml"))
    assert "cannot be read" in str(error(tmp_path / "a\0b"))
    (tmp_path / "file").write_text("")
    assert "cannot be read: Not a directory" in str(error(tmp_path / "file" / "t.yaml"))


def test_a_problem_does_not_breed_others() -> None:
    # the enum's name and the database's name are known although their values are wrong
    text = (
        "databases: {main: {url: [x]}}\nenums: {side: 5}\nsources: {a: {database: main, columns: {s: side}}}\n"
        "server: {host: '${NOPE}'}"
    )
    assert [found.split(" is ")[0] for found in problems(text)] == [
        "t.yaml:1:25: databases.main.url:",
        "t.yaml:2:15: enums.side:",
        "t.yaml:4:16: server.host: environment variable NOPE",
    ]


# -- 0.x ----------------------------------------------------------------------------------------------------------

OLD = """
enums:
  side:
    - buy
    - sell
sources:
  trades:
    primary_key: id
    columns:
      id: Integer
      big: BigInt
      side: side
      price: Float
      name: String
      key: UUID
      at: Timestamp
      day: Date
      hour: Time
      good: Boolean
      data: JSON
      tags: Array
  older:
    primary_key: id
    columns:
      id: integer
      price: double precision
      executed_at: timestamp without time zone
"""


def test_a_file_of_0x_loads_unchanged() -> None:
    environ = {
        "DATABASE_HOST": "localhost",
        "DATABASE_PORT": "6875",
        "DATABASE_USER": "materialize",
        "DATABASE_PASSWORD": "it's \\ secret",
        "DATABASE_NAME": "materialize",
    }
    loaded = config(OLD, environ)
    assert loaded.sources["trades"].primary_key == ("id",)
    assert loaded.sources["older"].database == "main"
    main = loaded.databases["main"]
    assert main.engine is EngineName.MATERIALIZE
    assert main.url == (
        "host=localhost port=6875 user=materialize password='it\\'s \\\\ secret' dbname=materialize"
    )


def test_0x_on_another_engine_and_its_mistakes() -> None:
    environ = {"DATABASE_HOST": "db", "DATABASE_ENGINE": "postgres", "DATABASE_SSL": "true"}
    main = config(OLD, environ).databases["main"]
    assert main.engine is EngineName.POSTGRES
    assert main.url == "host=db port=5432 user=postgres dbname=postgres sslmode=require"
    url = config(OLD, {"DATABASE_URL": "postgresql://x/y"}).databases["main"].url
    assert url == "postgresql://x/y"
    assert problems(OLD, {"DATABASE_HOST": "db", "DATABASE_PORT": "x"}) == [
        "environment:1:1: DATABASE_PORT: must be a port, 1 to 65535"
    ]
    (found,) = problems(OLD, {"DATABASE_HOST": "db", "DATABASE_ENGINE": "oracle"})
    assert found.startswith("environment:1:1: DATABASE_ENGINE: must be one of materialize,")


def test_no_database_at_all() -> None:
    assert problems(SOURCE) == [
        't.yaml:1:1: databases: there is no database; write `databases: {main: {engine: postgres, url: "'
        '${DATABASE_URL}"}}`, or set DATABASE_HOST, DATABASE_PORT, DATABASE_USER, DATABASE_PASSWORD and DATABASE_NAME'
    ]


# -- anything at all ----------------------------------------------------------------------------------------------

FRAGMENTS = st.sampled_from(
    [
        "databases",
        "sources",
        "enums",
        "server",
        "live",
        "main",
        "trades",
        "columns",
        "primary_key",
        "column_config",
        "log",
        "keep",
        "bytes",
        "url",
        "embedded",
        "engine",
        "postgres",
        "true",
        "null",
        "~",
        "5",
        "-1",
        "1.5",
        "5m",
        "64KiB",
        "id",
        "name",
        "port",
        "host",
        "<<",
        "&a",
        "*a",
        "${X}",
        "${X:-y}",
        "${",
        ":",
        "{",
        "}",
        "[",
        "]",
        ",",
        "-",
        "|",
        ">",
        "#",
        "'",
        '"',
        "!",
        "!!str",
        "?",
        "\n",
        "\t",
    ]
) | st.sampled_from([": ", "\n  ", "\n    ", "\n", "- ", ", ", " "])


@given(st.text() | st.lists(FRAGMENTS, max_size=40).map("".join))
def test_any_text_loads_or_is_a_config_error(text: str) -> None:
    found = outcome(text)
    assert all(problem.line > 0 and problem.column > 0 for problem in found)
    assert "\n" not in "".join(map(str, found))


def outcome(text: str) -> tuple[Problem, ...]:
    try:
        loads(text, "t.yaml", {"DATABASE_HOST": "h"})
    except ConfigError as error:
        return error.problems or pytest.fail("an error without a problem")
    return ()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["id", "side", "5m"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "main",
                    "trades",
                    "columns",
                    "primary_key",
                    "column_config",
                    "live",
                    "log",
                    "keep",
                    "url",
                    "name",
                    "host",
                    "id",
                    "side",
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(list(Config.model_fields)), VALUES))
def test_any_tree_loads_or_is_a_config_error(tree: dict[str, object]) -> None:
    outcome(json.dumps(tree))
