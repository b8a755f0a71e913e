from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.config.table_name import parts, written


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("trades", ("trades",)),
        ("Sales.Trades of today", ("Sales", "Trades of today")),
        ('public."odd.name"', ("public", "odd.name")),
        ('"a.b"."c""d"', ("a.b", 'c"d')),
        ("db.s.t", ("db", "s", "t")),
        ("é.🦀", ("é", "🦀")),
    ],
)
def test_a_name_is_read(text: str, names: tuple[str, ...]) -> None:
    assert parts(text) == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be a table's name"),
        ("public.", "must be a table's name"),
        (".t", "must be a table's name"),
        ('"a', "must be a table's name"),
        ('""', "must be a table's name"),
        ("a\0", "must be a table's name"),
        ('"a"b', "has 'b' after a quoted name"),
        ("a.b.c.d", "has too many parts"),
    ],
)
def test_what_is_no_name_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parts(text)


@given(st.lists(st.text(st.characters(exclude_characters="\0"), min_size=1), min_size=1, max_size=3))
def test_what_is_written_is_read(names: list[str]) -> None:
    assert parts(written(*names)) == tuple(names)
