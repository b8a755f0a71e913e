"""The JSON Schema describes what people write, and names everything that the loader knows."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tycostream.config.json_schema import json_schema
from tycostream.config.model import LOADERS, Config, SourceConfig


def resolve(schema: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in entry:
        entry = schema["$defs"][entry["$ref"].removeprefix("#/$defs/")]
    return entry


def accepts(schema: dict[str, Any], entry: Any, value: object) -> bool:
    """As much of JSON Schema as ours uses."""
    if entry is True:
        return True
    entry = resolve(schema, entry)
    if "anyOf" in entry:
        return any(accepts(schema, choice, value) for choice in entry["anyOf"])
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": float,
        "boolean": bool,
        "null": type(None),
    }
    wanted = entry.get("type", [])
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if wanted and not any(type(value) is kinds[kind] for kind in wanted):
        return False
    if isinstance(value, str):
        fits = re.search(entry.get("pattern", ""), value) is not None
        return fits and value in entry.get("enum", [value])
    if isinstance(value, int):
        return bool(entry.get("minimum", value) <= value <= entry.get("maximum", value))
    if isinstance(value, list):
        return all(accepts(schema, entry["items"], item) for item in value)
    if isinstance(value, dict):
        known, rest = entry.get("properties", {}), entry.get("additionalProperties", True)
        if rest is False and set(value) - set(known):
            return False
        return all(accepts(schema, known.get(key, rest), inner) for key, inner in value.items())
    return True


SCHEMA = json_schema()
MAIN: dict[str, Any] = {"main": {"engine": "postgres", "url": "${DATABASE_URL}"}}


@pytest.mark.parametrize(
    "tree",
    [
        {"databases": MAIN, "sources": {"a": {}, "b": None}},
        {"sources": {"a": {"primary_key": "id", "columns": {"id": "Integer", "x": None}}}},
        {
            "sources": {
                "a": {"primary_key": ["id"], "columns": ["id"], "column_config": {"id": {"name": "i"}}}
            }
        },
        {
            "sources": {
                "a": {
                    "relationships": {
                        "b": {"object": "b", "on": {"b_id": "id"}, "required": "${ALWAYS}"},
                        "c": {"array": "b", "on": {"id": "a_id"}, "comment": "x"},
                    }
                }
            }
        },
        {"sources": {"a": {"custom_root_fields": {"select": "x", "select_by_pk": {"comment": ""}}}}},
        {"sources": {"a": {"live": {"log": {"keep": "5m", "bytes": "64MiB"}, "linger": "${LINGER:-1s}"}}}},
        {"server": {"port": "${PORT}", "graphiql": "${UI:-true}", "log_level": "debug", "cursor_key": "x"}},
        {
            "databases": {"main": {"engine": "${ENGINE}", "embedded": True, "port": "${PORT}"}},
            "enums": {"s": ["a"]},
        },
        {
            "databases": {
                "main": {
                    "engine": "materialize",
                    "consistency": "${CONSISTENCY}",
                    "cluster": "c",
                    "stall_after": "10s",
                    "options": {"a": "x", "b": 5, "c": True},
                }
            },
            "sources": {"a": {"query": "SELECT 1", "fields": {"f": {"sql": "1", "type": "Integer"}}}},
        },
    ],
)
def test_what_people_write_is_accepted(tree: dict[str, Any]) -> None:
    assert accepts(SCHEMA, SCHEMA, tree)


@pytest.mark.parametrize(
    "tree",
    [
        {"surces": {}},
        {"sources": {"a": {"name": "b"}}},
        {"server": {"port": "x"}},
        {"server": {"port": 70000}},
        {"server": {"log_level": "loud"}},
        {"databases": {"main": {"engine": "oracle"}}},
        {"sources": {"a": {"live": {"linger": "5"}}}},
        {"sources": {"a": {"columns": [1]}}},
        {"databases": {"main": {"consistency": "always"}}},
        {"databases": {"main": {"options": {"a": [1]}}}},
        {"sources": {"a": {"fields": {"f": "1"}}}},
        {"sources": {"a": {"relationships": {"b": {"object": "b", "on": ["id"]}}}}},
        {"sources": {"a": {"relationships": {"b": {"object": "b", "on": {"id": "id"}, "many": True}}}}},
    ],
)
def test_mistakes_are_not(tree: dict[str, Any]) -> None:
    assert not accepts(SCHEMA, SCHEMA, tree)


def test_it_is_json_and_says_what_everything_is() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(SCHEMA["properties"]) == set(Config.model_fields)
    source = SCHEMA["$defs"]["SourceConfig"]
    assert set(source["properties"]) == set(SourceConfig.model_fields) - LOADERS
    for model in (SCHEMA, *SCHEMA["$defs"].values()):
        for name, entry in model.get("properties", {}).items():
            assert "description" in entry, name


def test_defaults_are_written_as_the_file_writes_them() -> None:
    server = SCHEMA["$defs"]["ServerConfig"]["properties"]
    assert server["ping_interval"]["default"] == "20s"
    assert SCHEMA["$defs"]["DatabaseConfig"]["properties"]["stall_after"]["default"] == "10s"
    assert SCHEMA["$defs"]["LogConfig"]["properties"]["keep"]["default"] == "5m"
    assert SCHEMA["$defs"]["LiveConfig"]["properties"]["coalesce"]["default"] == "0s"
