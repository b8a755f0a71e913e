"""jsonb against the real server: equality, order, constants and members; and what is deep, large or strange."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import PostgresServer
from tycostream.json_text import Constant, Document, document, meaning, member, sort_key

STRINGS = ["", "a", "b", "aa", "é", "\U0001f600", 'q"\\\n', "1", "-1", " 1", "ab"]
NUMBERS = ["0", "-0", "1", "1.0", "1.00", "-2.5", "100", "1e2", "0.1", "12345678901234567890.5"]
values = st.recursive(
    st.sampled_from(["null", "true", "false", *NUMBERS, *map(json.dumps, STRINGS)]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from(STRINGS), inner, max_size=3).map(
            lambda d: "{" + ",".join(f"{json.dumps(k)} :{v}" for k, v in d.items()) + "}"
        ),
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def server(postgres: PostgresServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        yield connection


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(some=st.lists(values, min_size=2, max_size=10))
def test_documents_compare_as_the_server_does(server: psycopg.Connection, some: list[str]) -> None:
    rows = server.execute(
        "SELECT a::jsonb::text, b, b::jsonb::text, a::jsonb = b::jsonb, a::jsonb < b::jsonb, a::jsonb <= b::jsonb,"
        " a::jsonb > b::jsonb, a::jsonb >= b::jsonb, a::jsonb <> b::jsonb"
        " FROM unnest(%s::text[]) a, unnest(%s::text[]) b",
        (some, some),
    ).fetchall()
    for printed, written, other, *expected in rows:
        a = Document(printed)
        for b in (Document(other), Constant(written)):  # as the server prints it, and as anybody may write it
            assert [a == b, a < b, a <= b, a > b, a >= b, a != b] == expected, (printed, written)
            assert (b == a) is expected[0]
            assert (hash(a) == hash(b)) or a != b


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(text=values)
def test_a_constant_is_the_servers_text(server: psycopg.Connection, text: str) -> None:
    value = json.loads(text, parse_float=Decimal)
    ((printed,),) = server.execute("SELECT %s::jsonb::text", (text,)).fetchall()
    assert str(document(value)) == printed
    assert document(value) == Document(text)


paths = st.lists(
    st.sampled_from([*STRINGS, "0", "2", "-2", "+1", "x", "99999999999"]), min_size=1, max_size=3
)


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(some=st.lists(values, min_size=1, max_size=6), path=paths)
def test_a_member_is_the_servers(server: psycopg.Connection, some: list[str], path: list[str]) -> None:
    # of a key that is there twice PostgreSQL counts an index from the end in the first value, and takes it in the last
    twice = not any(step.startswith("-") for step in path)
    members = [f'"{"a" if twice or not n else n}": {text}' for n, text in enumerate(some)]
    nested = [*some, f"[{', '.join(some)}]", "{" + ", ".join(members) + "}"]
    nested += [f'{{"a" : [ {", ".join(nested)} ] }}']
    rows = server.execute(
        "SELECT t, (t::json #> p)::text, t::jsonb::text, (t::jsonb #> p)::text FROM unnest(%s::text[]) t, (SELECT %s::text[]) q(p)",
        (nested, path),
    ).fetchall()
    for text, expected, printed, expected_b in rows:
        assert member(text, path) == expected
        assert member(printed, path) == expected_b


def test_documents_are_not_strings() -> None:
    assert Document("1.0") == Document("1.00")
    assert Document('"a"') != '"a"'
    assert Document('"a"') != '"a"'
    assert str(Document("1.0")) == "1.0"
    assert len({Document('{"a":1,"b":2.0}'), Document('{"b": 2, "a": 1}'), Document("1")}) == 2


def test_servers_write_the_same_in_two_ways() -> None:
    """Materialize writes no blanks, and has its own order of keys; each is equal to itself, and to the other."""
    pairs = [
        ('{"aa":1,"b":[1,2]}', '{"b": [1, 2], "aa": 1}'),
        ('["a, b","c"]', '["a, b", "c"]'),
        ('{"a: ":1}', '{"a: ": 1}'),
    ]
    for compact, spaced in pairs:
        assert Document(compact) == Document(spaced) == Constant(compact)
        assert Document(compact) != Document(spaced.replace("1", "3").replace("c", "d"))
    assert Document("[1, 2]") != Document("[1, 3]")
    assert Document("[1.0, 2]") == Document("[1, 2.00]")


def test_materialize_prints_numbers_that_json_does_not_have() -> None:
    assert Document("[NaN]") == Document("[NaN]")
    assert Document("NaN") > Document("Infinity") > Document("1") > Document("-Infinity")


DEEP = 20_000


def test_depth_is_no_danger() -> None:
    arrays = "[" * DEEP + "]" * DEEP
    objects = '{"a": ' * DEEP + "1" + "}" * DEEP
    before = time.process_time()
    assert Document(arrays) == Constant(arrays + " ")
    assert Document(objects) < Document('{"a": ' * DEEP + "2" + "}" * DEEP)
    assert hash(Document(arrays)) == hash(Document(" " + arrays))
    assert member(arrays, ["0"] * 3) == arrays[3:-3]
    assert sort_key(objects)[-1] == 1
    assert time.process_time() - before < 5


def test_a_deep_document_means_what_it_says() -> None:
    text = '{"b": [1, {"c": "x]"}], "a": ' + "[" * 2000 + 'null, {"k": -1.50}' + "]" * 2000 + ', "d": {}}'
    value: Any = meaning(text)
    assert value["b"] == [1, {"c": "x]"}]
    assert value["d"] == {}
    inner = value["a"]
    while type(inner[0]) is list:
        (inner,) = inner
    assert inner == [None, {"k": Decimal("-1.50")}]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"a": float("nan")}, "JSON has no NaN"),
        ([Decimal("1e131072")], "out of range for type 'numeric'"),
        ([Decimal("1e-16384")], "out of range for type 'numeric'"),
        (Decimal("0e999999"), "out of range for type 'numeric'"),
        (["\ud800"], "not valid Unicode"),
        ({"a\0": 1}, "null character"),
        ([0] * 10_001, "more than 10000 members"),
        ([object()], "expected a JSON value"),
        ({1: 2}, "expected a JSON value"),
    ],
)
def test_a_constant_that_is_refused(value: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        document(value)


def test_a_constant_is_not_deep() -> None:
    deep: object = 1
    for _ in range(102):
        deep = [deep]
    with pytest.raises(ValueError, match="nested deeper than 100 levels"):
        document(deep)
