from __future__ import annotations

import psycopg
import pytest

from tycostream.engines.names import literal, quoted, shown


def test_names_and_texts_are_quoted_whatever_they_are() -> None:
    assert quoted("a", 'b"c', "d.e") == '"a"."b""c"."d.e"'
    assert literal("it's \\ me") == "'it''s \\ me'"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("trades_2", "trades_2"),
        ("Trades", '"Trades"'),
        ("a.b", '"a.b"'),
        ("é", '"é"'),
        ("user", '"user"'),
        ("2a", '"2a"'),
        ('"', '""""'),
    ],
)
def test_a_name_is_shown_with_quotes_where_it_needs_them(name: str, text: str) -> None:
    assert shown("public", name) == f"public.{text}"


def test_every_word_that_the_server_reserves_is_quoted(database: str) -> None:
    with psycopg.connect(database) as db:
        rows = db.execute("SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')").fetchall()
    assert len(rows) > 90
    assert [word for (word,) in rows if shown(word) == word] == []
