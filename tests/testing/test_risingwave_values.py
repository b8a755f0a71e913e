"""Every type's number, its name in the catalogue, and the texts of its values."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from tests.testing.feed import ask, connected
from tycostream.testing.risingwave import FakeRisingWave
from tycostream.testing.risingwave_text import text_of
from tycostream.testing.risingwave_types import sql_type

# type, name in rw_columns, OID, value, text
VALUES: list[tuple[str, str, int, Any, str | None]] = [
    ("boolean", "boolean", 16, True, "t"),
    ("smallint", "smallint", 21, -1, "-1"),
    ("int", "integer", 23, 7, "7"),
    ("bigint", "bigint", 20, 2**63 - 1, "9223372036854775807"),
    ("rw_int256", "rw_int256", 1301, -(2**255), str(-(2**255))),
    ("numeric", "numeric", 1700, Decimal("1.10"), "1.10"),
    ("decimal", "numeric", 1700, Decimal("NaN"), "NaN"),
    ("numeric", "numeric", 1700, Decimal("-Infinity"), "-Infinity"),
    ("real", "real", 700, 1.5, "1.5"),
    ("double precision", "double precision", 701, float("nan"), "NaN"),
    ("double precision", "double precision", 701, float("-inf"), "-Infinity"),
    ("double precision", "double precision", 701, 2.0, "2"),
    ("text", "character varying", 1043, "ü 'x'", "ü 'x'"),
    ("varchar", "character varying", 1043, "", ""),
    ("varchar", "character varying", 1043, None, None),
    ("bytea", "bytea", 17, b"\0\xff", "\\x00ff"),
    ("date", "date", 1082, date(2024, 2, 29), "2024-02-29"),
    ("time", "time without time zone", 1083, time(1, 2, 3), "01:02:03"),
    ("timestamp", "timestamp without time zone", 1114, datetime(2024, 1, 1, microsecond=500_000),
     "2024-01-01 00:00:00.500"),
    ("timestamptz", "timestamp with time zone", 1184, datetime(2024, 1, 1, tzinfo=UTC),
     "2024-01-01 00:00:00+00:00"),
    ("timestamptz", "timestamp with time zone", 1184,
     datetime(2024, 1, 1, 2, microsecond=1, tzinfo=timezone(timedelta(hours=2))),
     "2024-01-01 00:00:00.000001+00:00"),
    ("interval", "interval", 1186, "1 mon 2 days 03:04:05", "1 mon 2 days 03:04:05"),
    ("jsonb", "jsonb", 3802, {"a": [1, None, "é"]}, '{"a": [1, null, "é"]}'),
    ("jsonb", "jsonb", 3802, "text", '"text"'),
    ("serial", "serial", 20, 1, "1"),
    ("int[]", "integer[]", 1007, [1, None, 3], "{1,NULL,3}"),
    ("int[][]", "integer[][]", 1007, [[1], [2, 3]], "{{1},{2,3}}"),
    ("text[]", "character varying[]", 1015, ["a", 'b "c"', "", "null", "d,e"], '{a,"b \\"c\\"","","null","d,e"}'),
    ("timestamptz[]", "timestamp with time zone[]", 1185, [datetime(2024, 1, 1, tzinfo=UTC)],
     '{"2024-01-01 00:00:00+00:00"}'),
    ("struct<a int, b text>", "struct<a integer, b character varying>", 2249, (1, "abc"), "(1,abc)"),
    ("struct<a int, b text, c boolean>", "struct<a integer, b character varying, c boolean>", 2249,
     (None, "x, y", False), '(,"x, y",f)'),
    ("struct<a int>[]", "struct<a integer>[]", 2287, [(1,), (2,)], '{"(1)","(2)"}'),
    ("struct<a struct<b int>, l int[]>", "struct<a struct<b integer>, l integer[]>", 2249,
     ((1,), [2, 3]), '("(1)","{2,3}")'),
    ("map(text, int)", "map(character varying,integer)", 1303, {"a:b": 1, "c": None}, "{a:b:1,c:NULL}"),
    ("map(int, text[])[]", "map(integer,character varying[])[]", 1304, [{1: ["x"]}], '{"{1:{x}}"}'),
    ("vector(3)", "vector(3)", 1305, "[1,2,3]", "[1,2,3]"),
]  # fmt: skip


CASES = [pytest.param(*case, id=f"{number}-{case[0]}") for number, case in enumerate(VALUES)]


@pytest.mark.parametrize(("kind", "shown", "oid", "value", "text"), CASES)
def test_types_and_texts(kind: str, shown: str, oid: int, value: Any, text: str | None):
    assert (sql_type(kind).shown, sql_type(kind).oid) == (shown, oid)
    assert text_of(kind, value) == text


async def test_all_of_them_over_the_wire(rw: FakeRisingWave):
    rw.create_table("wide", {f"c{number}": case[0] for number, case in enumerate(VALUES)})
    rw.create_subscription("sw", "wide")
    rw.insert("wide", tuple(case[4] for case in VALUES))
    rw.checkpoint()
    async with connected(rw.url) as connection:
        listed = await ask(
            connection,
            "SELECT data_type, type_oid FROM rw_catalog.rw_columns c JOIN rw_catalog.rw_tables t "
            "ON t.id = c.relation_id WHERE t.name = 'wide' AND NOT is_hidden ORDER BY position",
        )
        assert listed == [(shown, oid) for _, shown, oid, _, _ in VALUES]
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR sw FULL")
        result = (await connection.execute(b"FETCH NEXT FROM c")).pgresult
    assert result is not None
    assert [result.ftype(place) for place in range(len(VALUES))] == [case[2] for case in VALUES]
    texts = [result.get_value(0, place) for place in range(len(VALUES))]
    assert [None if text is None else text.decode() for text in texts] == [case[4] for case in VALUES]


@pytest.mark.parametrize("kind", ["uuid", "int4range", "struct", "map", ""])
def test_types_that_there_are_not(kind: str):
    with pytest.raises(ValueError, match="RisingWave has no type"):
        sql_type(kind)
