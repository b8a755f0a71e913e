"""Whether a text is one query or one expression, told by its tokens."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.config.sql_text import one_expression, one_query


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1", "SELECT 1"),
        ("  select a from t ;  ", "select a from t"),
        ("SELECT 1;;\n; -- done", "SELECT 1"),
        ("VALUES (1), (2)", "VALUES (1), (2)"),
        ("TABLE t;", "TABLE t"),
        ("with x as (select 1) select * from x", "with x as (select 1) select * from x"),
        ("(SELECT 1) UNION ALL (SELECT 2)", "(SELECT 1) UNION ALL (SELECT 2)"),
        ("-- why; how\nSELECT 1 -- x;", "-- why; how\nSELECT 1 -- x;"),
        ("/* a; /* b; */ c; */ SELECT 1; /* tail; */", "/* a; /* b; */ c; */ SELECT 1"),
        ("SELECT ';', 'it''s; x'", "SELECT ';', 'it''s; x'"),
        (r"SELECT E'\';' || e'\\'", r"SELECT E'\';' || e'\\'"),
        (r"SELECT '\'; ", r"SELECT '\'"),  # no escape without an E
        ('SELECT "a;""b" FROM t', 'SELECT "a;""b" FROM t'),
        ("SELECT E'a'\n'\\';'", "SELECT E'a'\n'\\';'"),  # a string that continues keeps its escapes
        ("SELECT $1;", "SELECT $1"),
        ("SELECT $$;$$, $x$ ; $$ $x$;", "SELECT $$;$$, $x$ ; $$ $x$"),
        ("SELECT a$b$ FROM t;", "SELECT a$b$ FROM t"),  # a dollar inside of a name opens nothing
        ("SELECT LIST[1, 2][1]", "SELECT LIST[1, 2][1]"),
    ],
)
def test_one_query(text: str, expected: str) -> None:
    assert one_query(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty; write a SELECT"),
        (" ; ", "is empty; write a SELECT"),
        ("-- SELECT 1", "is empty; write a SELECT"),
        ("DROP TABLE t", "starts with 'DROP', but must be a query: SELECT, VALUES, WITH or TABLE"),
        ("SELECTED 1", "starts with 'SELECTED'"),
        ("'SELECT'", """starts with "'SELECT'","""),
        ("SELECT 1; SELECT 2", "holds a second statement after a semicolon; keep one query"),
        ("SELECT 1; -- x\n;DROP TABLE t", "holds a second statement"),
        (
            "SELECT E'\\'; DROP TABLE t",
            "opens a string with E' and does not close it",
        ),
        ("SELECT 'a", "opens a string with ' and does not close it"),
        ('SELECT "a', 'opens a quoted name with " and does not close it'),
        ("SELECT 1 /* a /* b */", "opens a comment with /* and does not close it"),
        ("SELECT (1", "opens a bracket with ( and does not close it"),
        ("SELECT 1)", "closes a bracket with ) that it did not open"),
        ("SELECT (1]", "closes a bracket with ] that it did not open"),
        ("SELECT (1; 2)", "holds a semicolon inside of brackets"),
        ("SELECT 1\0", "holds a null character"),
    ],
)
def test_not_one_query(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        one_query(text)


@pytest.mark.parametrize(
    "text",
    ["price * quantity", "coalesce(a, b)", "LIST[a, b]", "'a;b,c'", "(a, b) = (1, 2)", "a -- why, indeed;"],
)
def test_one_expression(text: str) -> None:
    one_expression(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" /* */ ", "is empty; write an expression"),
        ("a; b", "holds a semicolon"),
        ("a, b", "holds a comma outside of brackets"),
        ("a) , (b", "closes a bracket with ) that it did not open"),
        ("f(a", "opens a bracket with ("),
    ],
)
def test_not_one_expression(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        one_expression(text)


@given(st.text(alphabet="a1'\"$;,()[]/*-E\\ \n", max_size=30))
def test_what_is_taken_cannot_leave_its_brackets(inside: str) -> None:
    """Put in brackets, the text is still one statement: nothing of it closes them or hides them."""
    try:
        one_expression(inside)
    except ValueError:
        return
    statement = f"SELECT ({inside}\n) AS x"
    assert one_query(statement) == statement
    one_expression(f"f({inside}\n)")
