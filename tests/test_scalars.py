"""Every cell against a real PostgreSQL: its text, its JSON, its order, and each operator's answer for all pairs."""

from __future__ import annotations

import json as json_library
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import PostgresServer
from tests.scalar_cases import CASES, FOREIGN, UNBUILT
from tycostream.array_text import contains
from tycostream.rows import Cell
from tycostream.scalars import (
    CONFIG_TYPES,
    NAN,
    ORDERED,
    SCALARS,
    Scalar,
    config_scalar,
    enum_scalar,
    scalar_for,
    stringified,
)

OPERATORS = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
SETTINGS = (
    "SET datestyle = 'ISO'; SET intervalstyle = 'iso_8601'; SET timezone = 'UTC'; "
    "SET extra_float_digits = 3; SET bytea_output = 'hex'"
)
Ask = Callable[..., list[Any]]
Pairs = list[tuple[str, Cell]]


@pytest.fixture(scope="module")
def ask(postgres: PostgresServer) -> Iterator[Ask]:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(SETTINGS.encode())
        for case in CASES.values():
            if case.extension:
                connection.execute(f"CREATE EXTENSION IF NOT EXISTS {case.extension}".encode())
        yield lambda sql, *values: connection.execute(sql.encode(), values).fetchall()


def collation(name: str) -> str:
    return ' COLLATE "C"' if name.removesuffix("[]") in ("text", "varchar", "bpchar") else ""


def read(ask: Ask, scalar: Scalar, name: str, samples: Sequence[str]) -> Pairs:
    """The samples as the server prints them and as we read them, their text and JSON compared."""
    pairs = []
    for sample in samples:
        ((text, json),) = ask(
            f"SELECT format('%%s', v), to_json(v)::text FROM (SELECT %s::text::{name}) t(v)", sample
        )
        cell = scalar.parse(text)
        assert (scalar.text(cell), scalar.json(cell)) == (text, json)
        pairs.append((text, cell))
    return pairs


def check_comparisons(ask: Ask, name: str, pairs: Pairs) -> None:
    """Order, equality, hash and every operator, over all pairs."""
    texts = [text for text, _ in pairs]
    cells = dict(pairs)
    select = (
        f"FROM unnest(%s::text[]) WITH ORDINALITY u(x, n), LATERAL (SELECT x::{name}{collation(name)}) t(v)"
    )
    served = [row[0] for row in ask(f"SELECT x {select} ORDER BY v, n", texts)]
    assert served == [text for text, _ in sorted(pairs, key=lambda pair: pair[1])]
    ((distinct,),) = ask(f"SELECT count(DISTINCT v) {select}", texts)
    assert distinct == len({cell for _, cell in pairs})
    for sign, compare in OPERATORS.items():
        rows = ask(
            f"SELECT a, b, a::{name} {sign} b::{name}{collation(name)} FROM unnest(%s::text[]) a, unnest(%s::text[]) b",
            texts, texts,
        )  # fmt: skip
        assert [(a, b, compare(cells[a], cells[b])) for a, b, _ in rows] == rows


def test_every_type_of_the_table_has_a_case() -> None:
    assert set(CASES) | FOREIGN | UNBUILT == set(SCALARS)
    assert not set(CASES) & (FOREIGN | UNBUILT)
    for name, case in CASES.items():
        assert len(case.samples) >= 2
        assert (case.literals is not None) == ("_gt" in SCALARS[name].operators) or name in ("bool", "jsonb")


@pytest.mark.parametrize("name", CASES)
def test_a_type_is_the_servers(name: str, ask: Ask) -> None:
    scalar, case = SCALARS[name], CASES[name]
    cast = case.cast or name
    pairs = read(ask, scalar, cast, case.samples)
    if "_gt" in scalar.operators:
        assert scalar.operators >= ORDERED
        check_comparisons(ask, cast, pairs)
        for sample, (_, cell) in zip(case.samples, pairs, strict=True):
            if name not in ("bool", "interval", "jsonb"):  # a string is a JSON string
                assert scalar.text(scalar.literal(sample)) == scalar.text(cell)
    loose = any(a == b and s != t for s, a in pairs for t, b in pairs)
    assert loose == scalar.loose, "a case must show whether equal cells differ in text"


@pytest.mark.parametrize("name", CASES)
def test_arrays_of_a_type_are_the_servers(name: str, ask: Ask) -> None:
    case = CASES[name]
    cast = case.cast or name
    scalar = scalar_for(f"{name}[]")
    rows = ask(f"SELECT format('%%s', x::{cast}) FROM unnest(%s::text[]) x", case.samples)
    a, b, *_ = elements = [row[0] for row in rows]
    lists: list[Any] = [
        [], [a], [b], [a, b], [a, None], [None, a], [None], [None, None], elements, elements[::-1], [[a, b]],
        [[a], [b]], [[None, a], [b, None]], [[a, b], [b, a]], [[[a], [b]], [[b], [None]]], [a, b, b, a],
    ]  # fmt: skip
    samples = [row[0] for items in lists for row in ask(f"SELECT (%s::text[]::{cast}[])::text", items)]
    samples += [
        f"[0:0]={samples[1]}",
        f"[-1:0]={samples[3]}",
        f"[0:1][3:3]={samples[11]}",
        f" {samples[-1]} ",
    ]
    pairs = read(ask, scalar, f"{cast}[]", samples)
    assert scalar.element is SCALARS[name]
    assert ("_gt" in scalar.operators) == ("_gt" in SCALARS[name].operators)
    if "_gt" in scalar.operators:
        check_comparisons(ask, f"{cast}[]", pairs)
        contained = ask(
            f"SELECT a, b, a::{cast}[] @> b::{cast}[]{collation(name)} FROM unnest(%s::text[]) a, unnest(%s::text[]) b",
            samples, samples,
        )  # fmt: skip
        cells = dict(zip(samples, (cell for _, cell in pairs), strict=True))
        assert [(a, b, contains(cells[a], cells[b])) for a, b, _ in contained] == contained
        for sample, (text, _) in zip(samples, pairs, strict=True):
            if name not in ("bool", "interval", "jsonb"):  # whose literals are not, or not only, their text
                assert scalar.text(scalar.literal(sample)) == text


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.literals is not None])
def test_literals_are_the_servers(name: str, ask: Ask) -> None:
    """Whatever we take for a value, the server takes for the same; whatever it prints, we print."""
    scalar, case = SCALARS[name], CASES[name]
    assert case.literals is not None
    cast = case.cast or name
    taken = 0

    @given(st.lists(case.literals, min_size=30, max_size=50))
    @settings(max_examples=8)  # of some forty literals each: a pattern costs hypothesis milliseconds a text
    def check(texts: list[str]) -> None:
        nonlocal taken
        rows = ask(
            f"SELECT x, CASE WHEN pg_input_is_valid(x, '{cast}') THEN format('%%s', x::{cast}) END FROM unnest(%s::text[]) x",
            texts,
        )
        for literal, served in rows:
            try:
                cell = scalar.literal(literal)
            except ValueError:
                assert served is None or case.partial, literal
                continue
            taken += 1
            assert (literal, scalar.text(cell)) == (literal, served)
            assert scalar.parse(served) == cell
            assert scalar.text(scalar.parse(served)) == served

    check()
    assert taken >= 20


ITEMS = st.none() | st.sampled_from(
    ["", "a", "NULL", "null", 'q"', "\\", "{", "}", ",", " ", "x y", "é", "a,b", "\n"]
)
ARRAYS = st.lists(ITEMS, max_size=4) | st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(ITEMS, min_size=width, max_size=width), max_size=3)
)


def test_arrays_go_round(ask: Ask) -> None:
    scalar = scalar_for("text[]")

    @given(st.lists(ARRAYS, min_size=10, max_size=20))
    @settings(max_examples=10)
    def check(values: list[Any]) -> None:
        for value in values:
            ((text, json),) = ask("SELECT v::text, to_json(v)::text FROM (SELECT %s::text[]) t(v)", value)
            cell = scalar.literal(value)
            assert (scalar.text(cell), scalar.json(cell)) == (text, json)
            assert scalar.parse(text) == cell == scalar.literal(text)

    check()


@given(st.text('{}",\\ aNUL0[:]=1', max_size=14))
@settings(max_examples=300)
def test_an_array_literal_is_read_as_the_server_reads_it(ask: Ask, text: str) -> None:
    ((served,),) = ask(
        "SELECT CASE WHEN pg_input_is_valid(x, 'text[]') THEN x::text[]::text END FROM (SELECT %s::text) t(x)",
        text,
    )
    scalar = scalar_for("text[]")
    try:
        cell = scalar.literal(text)
    except ValueError:
        return
    assert scalar.text(cell) == served


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
        ("integer[]", "_int4", "[Int!]"), ("app.mood[]", "app.mood[]", "[mood!]"), ("_mood", "_mood", "_mood"), ("public.citext", "public.citext", "citext"),
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
    ("interval", "1 mon 1 day 00:00:00.000001", '"P1M1DT0.000001S"', "P1M1DT0.000001S"),
    ("interval", "-1 mons -1 days -00:00:00.000001", '"P-1M-1DT-0.000001S"', "P-1M-1DT-0.000001S"),
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
    ("_int4", "{1,2}", "[1,2]", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "json", "canonical"), MATERIALIZE)
def test_materialize_prints_what_we_read(name: str, text: str, json: str, canonical: str | None) -> None:
    scalar = scalar_for(name)
    cell = scalar.parse(text)
    assert scalar.json(cell) == json
    assert scalar.text(cell) == (canonical or text)
    assert scalar.parse(scalar.text(cell)) == cell
    json_library.loads(json, parse_constant=pytest.fail)  # NaN and its like are no JSON


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1 year 2 mons 3 days 04:05:06.789", "P1Y2M3DT4H5M6.789S"),
        ("-1 years -2 mons +3 days -04:05:06.000001", "P-1Y-2M3DT-4H-5M-6.000001S"),
        ("00:00:00", "PT0S"),
        ("infinity", "infinity"),
    ],
)
def test_intervals_in_the_style_of_risingwave_and_materialize(text: str, canonical: str) -> None:
    scalar = SCALARS["interval"]
    assert scalar.text(scalar.parse(text)) == canonical
    assert scalar.parse(canonical) == scalar.parse(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("interval", "P"), ("interval", "1 day 2"), ("inet", "10.0.0"), ("inet", "fe80::1%eth0"), ("inet", "10.0.0.1/33"),
        ("cidr", "10.0.0.1/8"), ("macaddr", "08:00:2b:01:02"), ("macaddr8", "08:00:2b:01:02:03"), ("bytea", "\\xf"),
        ("bytea", "abc"), ("bit", "012"), ("timetz", "25:00:00+00"), ("hstore", '"a"=>'), ("_int4", "{1,2"),
        ("_int4", "{1,{2}}"), ("_int4", "{{1},{2,3}}"), ("_int4", "[0:2]={1,2}"), ("_int4", "1,2"), ("_int4", "{1,2}x"),
        ("_int4", "{{{{{{{1}}}}}}}"), ("_text", '{"a}'), ("uuid", "x"),
    ],
)  # fmt: skip
def test_what_is_no_value_of_a_type_is_said_to_be_none(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        scalar_for(name).parse(text)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("interval", "1.5 hours", "invalid value for type 'interval': '1.5 hours': expected a form like 'P1Y2M3DT4H5M6.5S'"),
        ("interval", "200000000 years", "it is out of range"),
        ("cidr", "10.0.0.1/8", "it has bits to the right of its mask"),
        ("inet", "10.0.0.1/33", "the prefix length must be from 0 to 32"),
        ("inet", "x::y", "this is no IPv6 address"),
        ("macaddr", "08", "expected 6 octets such as '08:00:2b:01:02:03'"),
        ("bytea", "\\xf", "expected pairs of hexadecimal digits"),
        ("bit", "2", "expected the digits 0 and 1"),
        ("_int4", ["x"], "invalid value for type '\\[Int!\\]': expected an integer for type 'Int', but found a string"),
        ("_int4", [[1], [2, 3]], "not an array: its lists are of different lengths"),
        ("_int4", [1, [2]], "not an array: its lists are of different depths"),
        ("_int4", "{1", "not an array"),
        ("_int4", 5, "expected a list for type '\\[Int!\\]', but found a number"),
    ],
)  # fmt: skip
def test_a_wrong_value_of_the_other_types_says_so(name: str, value: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        scalar_for(name).literal(value)


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
    assert config_scalar("text[]") is scalar_for("_text")
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
