"""What differs between two configurations, and how it is told."""

from __future__ import annotations

import pytest

from tycostream.config.load import loads
from tycostream.config.model import Config
from tycostream.config.reload import Changes, applicable, compare, report

DATABASE = "databases: {main: {url: 'postgresql://u:secret@h/d', engine: materialize}}\n"


def config(text: str) -> Config:
    return loads((DATABASE if "databases:" not in text else "") + text, environ={})


def changes(before: str, after: str) -> Changes:
    return compare(config(before), config(after))


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ("sources: {a: {}}", "sources: {a: {}}", []),
        ("sources: {a: {}, b: {}}", "sources: {b: {}, a: {}}", []),
        ("sources: {a: {}}", "sources: {a: {table: a}}", []),
        ("sources: {a: {}}", "sources: {a: {}, b: {}}", ["+ source b"]),
        ("sources: {a: {}, b: {}}", "sources: {b: {}}", ["- source a"]),
        ("sources: {a: {}}", "sources: {b: {table: a}}", ["+ source b", "- source a"]),
        ("sources: {a: {}}", "sources: {a: {table: x}}", ["~ source a: table"]),
        ("sources: {a: {columns: [x]}}", "sources: {a: {columns: [x, y]}}", ["~ source a: columns.y"]),
        ("sources: {a: {columns: [x, y]}}", "sources: {a: {columns: [y, x]}}", ["~ source a: columns"]),
        (
            "sources: {a: {columns: {x: Integer}}}",
            "sources: {a: {columns: {x: BigInt}}}",
            ["~ source a: columns.x"],
        ),
        (
            "sources: {a: {columns: [x], column_config: {x: {name: y}}}}",
            "sources: {a: {columns: [x], column_config: {x: {name: z, comment: c}}}}",
            ["~ source a: column_config.x.name, column_config.x.comment"],
        ),
        (
            "sources: {a: {custom_root_fields: {select: as}}}",
            "sources: {a: {custom_root_fields: {select: all, select_by_pk: {comment: one}}}}",
            ["~ source a: custom_root_fields.select.name, custom_root_fields.select_by_pk.comment"],
        ),
        (
            "sources: {a: {fields: {f: {sql: x + 1}}}}",
            "sources: {a: {fields: {f: {sql: x + 2}}}}",
            ["~ source a: fields.f.sql"],
        ),
        ("sources: {a: {query: SELECT 1 AS x}}", "sources: {a: {}}", ["~ source a: table, query"]),
        (
            "sources: {a: {}}\nenums: {e: [x]}",
            "sources: {a: {}}\nenums: {e: [x, y], f: [x]}",
            ["+ enum f", "~ enum e"],
        ),
        (
            "sources: {a: {}}",
            "sources: {a: {}}\nserver: {port: 4001, stringify_numbers: true}",
            ["! server.port: 4000 → 4001; needs a restart", "~ server.stringify_numbers: false → true"],
        ),
        ("sources: {a: {}}", "sources: {a: {}}\nname: x", ["! name: tycostream → x; needs a restart"]),
        ("sources: {a: {}}", "sources: {a: {}}\nserver: {cursor_key: [hidden]}", ["~ server.cursor_key"]),
        (
            "sources: {a: {}, b: {live: {linger: 5s}}}",
            "sources: {a: {}, b: {live: {linger: 5s}}}\nlive: {linger: 250ms, log: {bytes: 1MiB}}",
            ["~ live.log.bytes: 67108864 → 1048576", "~ live.linger: 60s → 250ms"],
        ),
        ("sources: {a: {}}", "sources: {a: {live: {linger: 5s}}}", ["~ source a: live.linger"]),
    ],
)
def test_each_difference_is_one_line(before: str, after: str, lines: list[str]) -> None:
    found = changes(before, after)
    assert report(found) == lines
    assert bool(found) == bool(lines)


def test_databases_are_told_without_what_is_secret() -> None:
    after = (
        "databases: {main: {url: 'postgresql://u:other@h/d', engine: materialize}, more: {url: 'host=x'}}\n"
    )
    found = changes("sources: {a: {}}", after + "sources: {a: {database: main}}")
    assert report(found) == ["+ database more", "~ database main: url"]
    assert found.databases.added == ("more",)
    assert found.databases.names == {"main", "more"}


def test_what_changes_for_every_source_is_applied_to_each_and_told_once() -> None:
    found = changes("sources: {a: {}, b: {}}", "sources: {a: {}, b: {}}\nlive: {coalesce: 50ms}")
    assert set(found.sources.revised) == {"a", "b"}
    assert found.only_delivered_otherwise("a")
    assert report(found) == ["~ live.coalesce: 0s → 50ms"]
    mixed = changes("sources: {a: {}}", "sources: {a: {comment: c, live: {linger: 1s}}}")
    assert not mixed.only_delivered_otherwise("a")


def test_types_are_all_that_a_column_can_be_of() -> None:
    found = changes("sources: {a: {}}\nenums: {e: [x], f: [x]}", "sources: {b: {}}\nenums: {f: [y], g: [z]}")
    assert found.types == {"e", "f", "g"}


def test_what_needs_another_process_stays_as_it_was() -> None:
    old = config("sources: {a: {}}")
    new = config("sources: {b: {}}\nname: other\nserver: {port: 1, graphiql: false}")
    kept = applicable(old, new)
    assert compare(old, new).restart == ("name", "server.port")
    assert (kept.name, kept.server.port, kept.server.graphiql) == ("tycostream", 4000, False)
    assert list(kept.sources) == ["b"]
    assert not compare(old, kept).restart


def test_other_rows_are_another_definition_and_nothing_else_is() -> None:
    def definition(text: str) -> object:
        return config(f"sources: {{a: {text}}}").sources["a"].definition

    assert definition("{}") == definition("{table: a, comment: c, columns: [x], live: {linger: 1s}}")
    others = [
        definition(text) for text in ("{}", "{table: b}", "{query: SELECT 1 AS x}", "{fields: {f: {sql: x}}}")
    ]
    assert len(set(others)) == 4
