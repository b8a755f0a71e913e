"""Every cell against a real PostgreSQL: its text, its JSON, its order, and each operator's answer for all pairs."""

from __future__ import annotations

import json as json_library
import math
import operator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.scalars import (
    CONFIG_TYPES,
    NAN,
    ORDERED,
    SCALARS,
    config_scalar,
    enum_scalar,
    scalar_for,
    stringified,
)

STAMPS = [
    "2024-01-31 12:34:56.789", "2024-02-29 00:00:00", "0044-03-15 12:00:00.1 BC", "0001-01-01 00:00:00",
    "0001-12-31 23:59:59.999999 BC", "10000-01-01 00:00:00", "294276-12-31 23:59:59.999999", "infinity",
    "-infinity", "4714-11-24 00:00:00 BC", "1969-12-31 23:59:59.000001",
]  # fmt: skip
FLOATS = ["0", "-0", "1", "0.1", "-2.5", "1e-05", "0.0001", "NaN", "Infinity", "-Infinity", "100000", "1e+06"]
SAMPLES: dict[str, list[str]] = {
    "bool": ["t", "f"],
    "int2": ["0", "-32768", "32767"],
    "int4": ["0", "-2147483648", "2147483647"],
    "int8": ["0", "-9223372036854775808", "9223372036854775807"],
    "float4": [*FLOATS, "1.6777215e+07", "3.4028235e+38", "1e-45", "16777216", "33554430"],
    "float8": [*FLOATS, "1e14", "1e15", "1e23", "2e23", "8.41e21", "36028797018963968", "5e-324", "123456789012345678"],
    "numeric": ["0", "-0.00", "1.0", "1.00", "NaN", "Infinity", "-Infinity", "1e20", "1e-20", "99999999999999999.5"],
    "text": ["", "a", "B", "é", "\U0001f600", "\uffff", 'q"\\/\b\t\n\x01\x7f\u2028'],
    "varchar": ["", "a ", "a"],
    "uuid": ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "{00000000000000000000000000000000}"],
    "date": ["2024-02-29", "0044-03-15 BC", "0001-01-01 BC", "5874897-12-31", "infinity", "-infinity", "4714-11-24 BC"],
    "time": ["00:00:00", "24:00:00", "12:34:56.000001", "12:34:56.5"],
    "timestamp": STAMPS,
    "timestamptz": [f"{s[:-3]}+00 BC" if s.endswith("BC") else s if "inf" in s else f"{s}+00" for s in STAMPS],
}  # fmt: skip
OPERATORS = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
SETTINGS = (
    "SET datestyle = 'ISO'; SET intervalstyle = 'iso_8601'; SET timezone = 'UTC'; "
    "SET extra_float_digits = 3; SET bytea_output = 'hex'"
)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_type_is_the_servers(name: str, database: str) -> None:
    scalar = SCALARS[name]
    collate = ' COLLATE "C"' if name in ("text", "varchar") else ""
    with psycopg.connect(database, autocommit=True) as connection:

        def ask(sql: str, *values: Any) -> list[Any]:
            return connection.execute(sql.encode(), values).fetchall()

        connection.execute(SETTINGS.encode())
        cells = []
        for sample in SAMPLES[name]:
            ((text, json),) = ask(
                f"SELECT format('%%s', v), to_json(v)::text FROM (SELECT %s::text::{name}) t(v)", sample
            )
            cell = scalar.parse(text)
            assert (scalar.text(cell), scalar.json(cell)) == (text, json)
            cells.append((text, cell))
            if name != "bool":
                assert scalar.literal(sample) == cell
        texts = [text for text, _ in cells]
        select = f"FROM unnest(%s::text[]) WITH ORDINALITY u(x, n), LATERAL (SELECT x::{name}{collate}) t(v)"
        served = [row[0] for row in ask(f"SELECT x {select} ORDER BY v, n", texts)]
        assert served == [text for text, _ in sorted(cells, key=lambda pair: pair[1])]
        for sign, compare in OPERATORS.items():
            rows = ask(
                f"SELECT a, b, a::{name} {sign} b::{name}{collate} FROM unnest(%s::text[]) a, unnest(%s::text[]) b",
                texts, texts,
            )  # fmt: skip
            assert [(a, b, compare(scalar.parse(a), scalar.parse(b))) for a, b, _ in rows] == rows


def test_nan_is_equal_to_itself_and_larger_than_everything() -> None:
    assert NAN == NAN
    assert NAN >= NAN
    assert not NAN < NAN
    assert len({NAN, SCALARS["numeric"].parse("NaN"), SCALARS["float8"].parse("NaN")}) == 1
    for other in (1, -1.5, math.inf, Decimal("1e400"), Decimal("Infinity")):
        got = [f(other, NAN) for f in OPERATORS.values()] + [f(NAN, other) for f in OPERATORS.values()]
        assert got == [False, True, True, True, False, False, False, True, False, False, True, True]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.decimals()
    | st.just("1e999999999"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


@given(JSON)
def test_a_literal_raises_nothing_but_value_error(value: object) -> None:
    for scalar in SCALARS.values():
        try:
            scalar.literal(value)
        except ValueError as error:  # a sentence, if it raises
            assert str(error)  # noqa: PT017


@given(st.integers(-211_813_488_000_000_000 + 946_684_800_000_000, 9_223_371_331_200_000_000))
def test_moments_go_round(micros: int) -> None:
    for name in ("timestamp", "timestamptz"):
        scalar = SCALARS[name]
        assert scalar.parse(scalar.text(micros)) == micros
        assert scalar.literal(scalar.json(micros)[1:-1]) == micros


@given(st.floats(allow_nan=False))
def test_floats_go_round(value: float) -> None:
    assert SCALARS["float8"].parse(SCALARS["float8"].text(value)) == value


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float4_literal_is_the_cell_of_its_text(value: float) -> None:
    scalar = SCALARS["float4"]
    cell = scalar.literal(value)
    assert scalar.parse(scalar.text(cell)) == cell


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("int4", "x", "expected an integer for type 'Int', but found a string"),
        ("int4", 2**31, "out of range for type 'Int'"),
        ("int4", 1.5, "with a fraction"),
        ("int4", True, "found a boolean"),
        ("float4", "1e39", "out of range"),
        ("timestamptz", "now", "has no fixed value"),
        ("date", "2024-02-30", "there is no such day"),
        ("uuid", "a0eeb-c999c0b4ef8bb6d6bb9bd380a11", "invalid value for type 'uuid'"),
        ("text", "a\0", "null character"),
        ("text", "\ud800", "not valid Unicode"),
    ],
)
def test_a_wrong_literal_says_so(name: str, value: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SCALARS[name].literal(value)


@pytest.mark.parametrize(
    ("sql", "name", "graphql"),
    [
        ("character varying(20)", "varchar", "String"), ("numeric(10,2)", "numeric", "numeric"),
        ("timestamp(3) with time zone", "timestamptz", "timestamptz"), ("integer", "int4", "Int"),
        ("integer[]", "_int4", "_int4"), ("public.citext", "public.citext", "citext"),
        ("int4 list", "list", "mz_list"), ("map[text=>int4]", "map", "mz_map"), ("uint8", "uint8", "uint8"),
        ("timestamp with time zone", "timestamptz", "timestamptz"), ("double precision", "float8", "float8"),
        ("app.uuid", "app.uuid", "app_uuid"), ('"My Type"', '"My Type"', "My_Type"),
    ],
)  # fmt: skip
def test_type_names(sql: str, name: str, graphql: str) -> None:
    scalar = scalar_for(sql)
    assert (scalar.name, scalar.graphql) == (name, graphql)
    assert scalar_for(sql) is scalar


# What Materialize's own tests record it to print, one line a type: the text, what it becomes in JSON, and the canonical
# text where that is PostgreSQL's spelling and not Materialize's.
MATERIALIZE: list[tuple[str, str, str, str | None]] = [
    ("bool", "t", "true", None),
    ("int2", "-32768", "-32768", None),
    ("int8", "-9223372036854775808", "-9223372036854775808", None),
    ("uint2", "65535", "65535", None),
    ("uint4", "4294967295", "4294967295", None),
    ("uint8", "18446744073709551615", "18446744073709551615", None),
    ("mz_timestamp", "18446744073709551615", "18446744073709551615", None),
    ("float4", "1.1920929e-7", "1.1920929e-07", "1.1920929e-07"),
    ("float4", "1.1754944e-38", "1.1754944e-38", None),
    ("float4", "-3.4028235e+38", "-3.4028235e+38", None),
    ("float4", "-0", "-0", None),
    ("float8", "2.220446049250313e-16", "2.220446049250313e-16", None),
    ("float8", "2.2250738585072014e-308", "2.2250738585072014e-308", None),
    ("float8", "1.7976931348623157e+308", "1.7976931348623157e+308", None),
    ("float8", "1e-5", "1e-05", "1e-05"),
    ("float8", "NaN", '"NaN"', None),
    ("float8", "-Infinity", '"-Infinity"', None),
    ("numeric", "0.0000000000000002220446049250313", "0.0000000000000002220446049250313", None),
    ("numeric", "NaN", '"NaN"', None),
    ("numeric", "Infinity", '"Infinity"', None),
    ("date", "4714-11-24 BC", '"4714-11-24 BC"', None),
    ("date", "262143-12-31", '"262143-12-31"', None),
    ("time", "00:00:00", '"00:00:00"', None),
    ("time", "23:59:59.999999", '"23:59:59.999999"', None),
    ("timestamp", "1970-01-01 00:00:00.123457", '"1970-01-01T00:00:00.123457"', None),
    ("timestamp", "4714-12-31 00:00:00 BC", '"4714-12-31T00:00:00 BC"', None),
    ("timestamp", "262143-12-31 00:00:00", '"262143-12-31T00:00:00"', None),
    ("timestamptz", "1970-01-01 00:00:00+00", '"1970-01-01T00:00:00+00:00"', None),
    ("timestamptz", "4714-12-31 00:00:00+00 BC", '"4714-12-31T00:00:00+00:00 BC"', None),
    ("timestamptz", "262143-12-31 00:00:00+00", '"262143-12-31T00:00:00+00:00"', None),
    ("interval", "1 mon 1 day 00:00:00.000001", '"1 mon 1 day 00:00:00.000001"', None),
    ("interval", "-1 mons -1 days -00:00:00.000001", '"-1 mons -1 days -00:00:00.000001"', None),
    ("bytea", "\\xff", '"\\\\xff"', None),
    ("char", "\0", '"\\u0000"', None),
    ("bpchar", "a  ", '"a  "', None),
    ("uuid", "ffffffff-ffff-ffff-ffff-ffffffffffff", '"ffffffff-ffff-ffff-ffff-ffffffffffff"', None),
    ("oid", "4294967295", '"4294967295"', None),
    ("regclass", "4294967295", '"4294967295"', None),
    ("mz_aclitem", "u42=arwdUCRBN/p", '"u42=arwdUCRBN/p"', None),
    ("jsonb", '{"x":true,"y":null}', '{"x":true,"y":null}', None),
    ("jsonb", '{"NaN":[NaN,-Infinity,Infinity],"a\\"b":"-Infinity"}',
     '{"NaN":["NaN","-Infinity","Infinity"],"a\\"b":"-Infinity"}', None),
    ("list", '{a,"white space",NULL,{1}}', '"{a,\\"white space\\",NULL,{1}}"', None),
    ("map", "{a=>1,b=>{c=>d}}", '"{a=>1,b=>{c=>d}}"', None),
    ("_int4", "{1,2}", '"{1,2}"', None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "json", "canonical"), MATERIALIZE)
def test_materialize_prints_what_we_read(name: str, text: str, json: str, canonical: str | None) -> None:
    scalar = scalar_for(name)
    cell = scalar.parse(text)
    assert scalar.json(cell) == json
    assert scalar.text(cell) == (canonical or text)
    assert scalar.parse(scalar.text(cell)) == cell
    json_library.loads(json, parse_constant=pytest.fail)  # NaN and its like are no JSON


def test_a_leap_second_is_the_next_minute() -> None:
    assert SCALARS["time"].text(SCALARS["time"].parse("23:59:60")) == "24:00:00"


@pytest.mark.parametrize("name", ["uint2", "uint4", "uint8", "mz_timestamp"])
def test_unsigned_integers(name: str) -> None:
    scalar = SCALARS[name]
    top = 2 ** {"uint2": 16, "uint4": 32}.get(name, 64) - 1
    assert (scalar.graphql, scalar.operators) == (name, ORDERED)
    assert (scalar.literal(top), scalar.literal(str(top)), scalar.literal(0.0)) == (top, top, 0)
    for wrong in (-1, top + 1, str(top + 1)):
        with pytest.raises(ValueError, match=f"out of range for type '{name}'"):
            scalar.literal(wrong)
    written = stringified(scalar).json(top)
    assert written == (f'"{top}"' if top > 2**53 else str(top))


def test_config_types() -> None:
    assert all(config_scalar(name) for name in CONFIG_TYPES)
    assert config_scalar("Nonsense") is None
    assert config_scalar("bigint") is SCALARS["int8"]
    assert config_scalar("mz_timestamp") is SCALARS["mz_timestamp"]
    assert all(name in SCALARS or name[1:] in SCALARS for names in CONFIG_TYPES.values() for name in names)


def test_stringified() -> None:
    assert stringified(SCALARS["int8"]).json(5) == '"5"'
    assert stringified(SCALARS["numeric"]).json(NAN) == '"NaN"'
    assert stringified(SCALARS["int4"]) is SCALARS["int4"]


def test_enums() -> None:
    unlisted: list[str] = []
    side = enum_scalar("side", ["buy", "sell"], unlisted.append)
    assert [side.parse(label) for label in ("sell", "hold", "hold")] == [1, None, None]
    assert (unlisted, side.json(1), side.text(0), side.literal("buy")) == (["hold"], '"sell"', "buy", 0)
    assert side.operators == ORDERED
    with pytest.raises(ValueError, match="expected one of buy, sell"):
        side.literal("hold")


def test_a_decimal_beyond_floats_is_finite() -> None:
    assert SCALARS["numeric"].literal(Decimal("1e400")) == Decimal("1e400")
    with pytest.raises(ValueError, match=r"int8|bigint"):
        SCALARS["int8"].literal(Decimal("1e400"))
