"""docs/operators.md names every operator, with the types that have it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tycostream.scalars import SCALARS, scalar_for

TEXT = (Path(__file__).parents[2] / "docs" / "operators.md").read_text()
ROWS = re.findall(r"^\| (`_[^|]*`) \| ([^|]+) \|$", TEXT, re.MULTILINE)
OPERATORS = {name: types for names, types in ROWS for name in re.findall(r"_\w+", names)}


def test_every_operator_is_there() -> None:
    offered = {operator for scalar in SCALARS.values() for operator in scalar.operators}
    assert offered == set(OPERATORS)


@pytest.mark.parametrize(
    ("sql_type", "word"), [("text", "text"), ("varchar", "varchar"), ("bpchar", "bpchar"), ("jsonb", "jsonb"), ("text[]", "arrays")]
)  # fmt: skip
def test_a_type_has_what_the_page_says(sql_type: str, word: str) -> None:
    further = {name for name, types in OPERATORS.items() if word in types or types == "all"}
    compared = {name for name, types in OPERATORS.items() if types.startswith("numbers")}
    assert scalar_for(sql_type).operators == further | compared
