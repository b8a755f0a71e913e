"""docs/hasura.md names everything that an import gives a reason for, and every command and option in it exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from tycostream.cli import cli
from tycostream.metadata import databases, importing, limits, tables

TEXT = (Path(__file__).parents[2] / "docs" / "hasura.md").read_text()
REASONS = (
    *importing._WHY,
    *databases._WHY,
    *databases._WHY_CONFIGURATION,
    *databases._WHY_SOURCE,
    *tables._WHY,
    *limits._WHY,
)


@pytest.mark.parametrize("key", REASONS)
def test_what_is_not_carried_is_documented(key: str) -> None:
    assert f"`{key}`" in TEXT[TEXT.index("## What is not") :]


def test_commands_and_options_exist() -> None:
    root = get_command(cli)
    metadata = root.commands["metadata"].commands  # type: ignore[attr-defined]
    known = {
        option
        for command in metadata.values()
        for one in command.params
        for option in (*one.opts, *one.secondary_opts)
    }
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", TEXT))
    assert {"--strict", "--report", "--database-url", "--no-permissions", "--directory"} <= named <= known
    assert set(re.findall(r"tycostream metadata (\w+)", TEXT)) == set(metadata)
