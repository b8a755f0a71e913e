"""The SQL that the fakes read: tokens, statements, arguments, intervals, select lists."""

from __future__ import annotations

import pytest

from tycostream.testing.pgwire_messages import WireError
from tycostream.testing.sql_text import (
    GROUPED,
    Reader,
    SelectItem,
    interval_seconds,
    normal,
    parameter_count,
    parse_select,
    quote,
    repeated,
    split,
    tokens,
    with_arguments,
)


def test_statements_end_at_semicolons_that_are_not_in_strings_or_names():
    found = split("SELECT ';' ; /* ; */ SELECT \";\" -- ;\n;;")
    assert found == ["SELECT ';'", '/* ; */ SELECT ";" -- ;']
    assert split(" -- nothing\n") == []


def test_words_are_in_lower_case_and_quoted_names_are_not():
    found = [(token.kind, token.text) for token in tokens("Select \"A\"\"b\", E'it''s' >= 1.5e3::INT")]
    assert found == [
        ("word", "select"), ("quoted", 'A"b'), ("op", ","), ("string", "it's"), ("op", ">="), ("number", "1.5e3"),
        ("op", "::"), ("word", "int"),
    ]  # fmt: skip


def test_the_normal_form():
    assert normal("SELECT  a\nFROM t; -- end") == normal("select a from T")
    assert normal('select "A"') != normal("select a")
    assert normal("select 'A'") != normal("select 'a'")


def test_arguments_become_constants():
    sql = "SELECT $1, '$2', $2"
    assert parameter_count(sql) == 2
    assert with_arguments(sql, ["it's", None]) == "SELECT 'it''s', '$2', NULL"
    assert with_arguments(sql, None) == "SELECT NULL, '$2', NULL"
    assert quote("it's") == "'it''s'"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1), ("500ms", 0.5), ("2", 2), ("1 minute", 60), ("1D", 86_400), ("2 days", 172_800), ("1 week", 604_800),
        ("01:00:01.5", 3601.5), ("-3 s", -3), ("3 hours", 10_800),
    ],
)  # fmt: skip
def test_intervals(text: str, seconds: float):
    assert interval_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1 fortnight", "1:2", "--"])
def test_what_is_no_interval(text: str):
    with pytest.raises(WireError, match=f"invalid input syntax for type interval: {text}") as error:
        interval_seconds(text)
    assert error.value.code == "22007"


def test_select_lists():
    select = parse_select("SELECT *, s.a, (b + f(c, d)) AS \"B\", 'x,y' FROM p.t AS s LIMIT 3")
    assert select.items == (
        SelectItem("*"),
        SelectItem("s.a"),
        SelectItem("(b + f(c, d))", "B"),
        SelectItem("'x,y'"),
    )
    assert (select.path, select.query, select.limit) == (("p", "t"), None, 3)
    inner = parse_select('SELECT "a" FROM (SELECT 1 AS a FROM (x)) AS "source"')
    assert (inner.path, inner.query) == (None, "SELECT 1 AS a FROM (x)")


@pytest.mark.parametrize(
    "sql", ["SELECT", "SELECT a", "SELECT FROM t", "SELECT a FROM t WHERE b", "DELETE FROM t"]
)
def test_what_is_not_read(sql: str):
    with pytest.raises(WireError, match="the fake cannot read this SQL near") as error:
        parse_select(sql)
    assert error.value.code == "42601"


def test_reading_word_by_word():
    reader = Reader('CREATE "It" . x (a (b)) ;')
    assert reader.words("create")
    assert not reader.words("view")
    assert reader.path() == ("It", "x")
    assert reader.inside() == "a (b)"
    reader.end()
    with pytest.raises(WireError, match="near 'the end'"):
        reader.next()


def test_rows_that_come_more_than_once():
    assert GROUPED.fullmatch(
        'SELECT "a", count(*) FROM t AS "source" GROUP BY "a" HAVING count(*) > 1 LIMIT 1'
    )
    assert repeated([("a",), ("b",), ("a",), ("b",), ("c",)], 1) == [("a", "2")]
