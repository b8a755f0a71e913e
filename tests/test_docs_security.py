"""docs/security.md names a test for every threat, and each of them is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "security.md").read_text()
ROWS = [
    line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith(("| threat", "| ---"))
]
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))


def test_each_threat_names_a_test() -> None:
    assert len(ROWS) > 40
    assert [row for row in ROWS if "::test_" not in row.split(" | ")[-1]] == []


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_the_tests_are_there(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in names
