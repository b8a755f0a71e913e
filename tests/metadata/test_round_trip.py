"""From metadata to a file and back, and from a file to metadata and back: what is carried is carried whole, the rest is listed."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metadata.strategies import metadata, planted
from tycostream.config.load import mistakes, written
from tycostream.config.yaml_text import block
from tycostream.errors import TycoError
from tycostream.metadata.directory import directory, read_directory, write_directory
from tycostream.metadata.document import read_json, write_json
from tycostream.metadata.exporting import exported
from tycostream.metadata.importing import imported
from tycostream.metadata.report import as_json, comments

FEW = settings(max_examples=25)  # one is a whole metadata: drawing it takes longest
ONLY_OURS = "Hasura knows no kind"  # of materialize and risingwave, which an export says


def text_of(tree: dict[str, Any]) -> str:
    return "\n".join([*block(tree), ""])


def read(text: str) -> dict[str, Any]:
    """What a file of this text says; it has no mistakes."""
    assert mistakes(text, "t.yaml") == ()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "t.yaml"
        file.write_text(text, encoding="utf-8")
        return written(file, {})


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=500)
@given(metadata())
def test_metadata_comes_back_as_it_was_many_times(value: dict[str, Any]) -> None:
    comes_back(value)


@FEW
@given(metadata())
def test_metadata_comes_back_as_it_was(value: dict[str, Any]) -> None:
    comes_back(value)


def comes_back(value: dict[str, Any]) -> None:
    found = imported(value)
    assert found.left == []
    back = exported(read(text_of(found.tree)))
    assert back.metadata == value
    assert [left for left in back.left if ONLY_OURS not in left.reason] == []


@FEW
@given(metadata())
def test_a_configuration_comes_back_as_it_was(value: dict[str, Any]) -> None:
    config = read(text_of(imported(value).tree))
    again = imported(exported(config).metadata)
    assert again.left == []
    assert read(text_of(again.tree)) == config
    assert again.tree == imported(value).tree


@FEW
@given(metadata(), st.randoms(use_true_random=False), st.sampled_from([0.05, 0.5, 1]))
def test_whatever_is_not_carried_is_listed_with_its_place(
    value: dict[str, Any], chance: Any, often: float
) -> None:
    more = copy.deepcopy(value)
    paths = planted(more, lambda _: chance.random() < often)
    found = imported(more)
    assert sorted(left.path for left in found.left) == sorted(paths)
    assert found.tree == imported(value).tree


@FEW
@given(metadata())
def test_json_and_directory_hold_all_of_it(value: dict[str, Any]) -> None:
    assert read_json(write_json(value), "m.json") == value
    with tempfile.TemporaryDirectory() as folder:
        write_directory(value, Path(folder))
        assert read_directory(Path(folder)) == value


@FEW
@given(metadata())
def test_without_permissions_nothing_is_said_of_roles(value: dict[str, Any]) -> None:
    found = imported(value, permissions=False)
    text = text_of(found.tree)
    assert "permissions" not in text
    assert set(found.tree) - {"limits"} == {"databases", "sources"}
    roles = {left.path[-1] for left in found.left}
    assert roles <= {"select_permissions", "inherited_roles", "query_collections", "allowlist", "graphql_schema_introspection"}  # fmt: skip
    assert ("select_permissions" in roles) == ("select_permissions" in json.dumps(value))


@pytest.mark.parametrize("name", ["con/../x", "", "é", "A", "a"])
def test_a_table_of_any_name_has_a_file_of_its_own(name: str) -> None:
    tables = [{"table": {"schema": "public", "name": one}} for one in (name, "A", "a", "tables")]
    files = directory({"version": 3, "sources": [{"name": name, "tables": tables}]})
    assert len({file.casefold() for file in files}) == len(files) == 3 + 4
    assert all(".." not in file and not file.startswith("/") for file in files)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in a document but the whole."""
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [place for key, inner in entries for place in ((*path, key), *places(inner, (*path, key)))]


JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 10**30, 1.5, "", "x", [], [1], [[]], [{}], {}, {"x": 1}, {"": {}}, ["*"]]
)


@settings(max_examples=100)
@given(metadata(), st.data())
def test_metadata_that_is_broken_anywhere_is_said_and_nothing_worse(value: dict[str, Any], data: Any) -> None:
    """Whoever is handed a file by somebody else gets a sentence, or a configuration that reads back."""
    for _ in range(data.draw(st.integers(1, 3))):
        *above, last = data.draw(st.sampled_from(places(value)))
        here: Any = value
        for part in above:
            here = here[part]
        here[last] = data.draw(JUNK)
        if not places(value):
            break
    try:
        found = imported(read_json(json.dumps(value), "m.json"))
    except TycoError:
        return
    mistakes(text_of(found.tree), "t.yaml")
    json.loads(as_json(found.left))
    assert "\n" not in "".join(comments(found.left))
