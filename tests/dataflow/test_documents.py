"""jsonb's conditions against the real server, and their limits."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.conftest import PostgresServer
from tests.test_json_text import STRINGS, values
from tycostream.dataflow.as_text import AsText
from tycostream.dataflow.documents import DocumentContains, HasKeys
from tycostream.dataflow.like import Like
from tycostream.dataflow.predicate import Compare, Matches
from tycostream.json_text import Document


@pytest.fixture(scope="module")
def server(postgres: PostgresServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        yield connection


def parts(text: str) -> list[str]:
    """Documents that ``text`` may contain, and some that it may not."""
    return [
        f"[{text}]",
        f'{{"a": {text}}}',
        f"[{text}, {text}, []]",
        f'{{"a": {text}, "b": 1}}',
        f"[[{text}]]",
    ]


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(some=st.lists(values, min_size=2, max_size=5))
@example(some=["null", "[[[]], [[], []], [[], [], []]]"])
def test_containment_is_the_servers(server: psycopg.Connection, some: list[str]) -> None:
    many = [*some, *parts(some[0]), *parts(some[1])]
    rows = server.execute(
        "SELECT a::jsonb::text, b, a::jsonb @> b::jsonb, a::jsonb <@ b::jsonb FROM unnest(%s::text[]) a, unnest(%s::text[]) b",
        (many, many),
    ).fetchall()
    for cell, value, contains, contained in rows:
        try:
            within = DocumentContains(Document(value))
        except ValueError:  # it has more inside arrays than may be looked for: a test of its own
            continue
        assert within(Document(cell)) is contains, (cell, value)
        assert DocumentContains(Document(value), reverse=True)(Document(cell)) is contained, (cell, value)


def test_what_the_random_values_may_hold_too_much_of() -> None:
    nested = f"[{', '.join(['[]'] * 21)}]"
    with pytest.raises(ValueError, match="more than 20 arrays and objects inside arrays"):
        DocumentContains(Document(nested))
    assert DocumentContains(Document(nested.replace(", []", "", 1)))(Document(nested))


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(some=st.lists(values, min_size=1, max_size=8), keys=st.lists(st.sampled_from(STRINGS), max_size=3))
def test_keys_are_the_servers(server: psycopg.Connection, some: list[str], keys: list[str]) -> None:
    rows = server.execute(
        "SELECT t::jsonb::text, t::jsonb ?& k, t::jsonb ?| k FROM unnest(%s::text[]) t, (SELECT %s::text[]) q(k)",
        (some, keys),
    ).fetchall()
    for cell, every, some_key in rows:
        assert HasKeys(frozenset(keys))(Document(cell)) is every, (cell, keys)
        assert HasKeys(frozenset(keys), any_of=True)(Document(cell)) is some_key, (cell, keys)


def test_a_text_is_compared_as_text() -> None:
    assert AsText(Compare(0, "eq", "1.00"), str)(Document("1.00"))
    assert not AsText(Compare(0, "eq", "1.0"), str)(Document("1.00"))
    assert AsText(Matches(0, Like('%"b": 1%')), str)(Document('{"a": 2, "b": 1}'))


def test_equal_conditions_are_equal() -> None:
    assert DocumentContains(Document('{"a": 1.0}')) == DocumentContains(Document('{"a":1}'))
    assert (
        len(
            {
                DocumentContains(Document("1")),
                DocumentContains(Document("1"), True),
                DocumentContains(Document("[1]")),
            }
        )
        == 3
    )
    assert HasKeys(frozenset("ab")) == HasKeys(frozenset("ba"))
    assert AsText(Compare(0, "eq", "a"), str) == AsText(Compare(0, "eq", "a"), str)


def test_what_is_looked_for_is_small() -> None:
    with pytest.raises(ValueError, match="a JSON value of more than 1000 members cannot be looked for"):
        DocumentContains(Document(str([0] * 1000)))
    with pytest.raises(
        ValueError, match="more than 20 arrays and objects inside arrays cannot be looked for"
    ):
        DocumentContains(Document(str([[n] for n in range(21)])), reverse=True)
    with pytest.raises(ValueError, match="more than 20 arrays"):
        DocumentContains(Document(str([[[n] for n in range(19)], []]).replace("'", '"')))
    DocumentContains(Document(str([[n] for n in range(20)])))


def test_no_document_explodes() -> None:
    wanted = DocumentContains(Document("[" + ", ".join(["[[1], [2]]"] * 6) + ", [[3]]]"))
    cell = Document("[" + ", ".join(["[[1, 4], [2, 5], [6]]"] * 1000) + "]")
    deep = Document("[" * 20_000 + "]" * 20_000)
    before = time.process_time()
    assert not wanted(cell)
    assert not wanted(deep)
    assert DocumentContains(Document("[[[]]]"))(deep)
    assert not DocumentContains(Document("[[[]]]"), reverse=True)(deep)
    assert time.process_time() - before < 5
