"""The JSON Schema of tycostream.yaml as people write it: short forms and ``${ENV}`` strings included."""

from __future__ import annotations

from typing import Any

from tycostream.config.model import Config

_ENV = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"}


def json_schema() -> dict[str, Any]:
    """A draft 2020-12 schema for editors."""
    schema = Config.model_json_schema()
    definitions = schema["$defs"]
    for definition in definitions.values():
        for name, field in definition.get("properties", {}).items():
            if field.get("type") in ("integer", "boolean", "number"):
                kept = {key: field.pop(key) for key in ("type", "minimum", "maximum") if key in field}
                definition["properties"][name] = {**field, "anyOf": [kept, _ENV]}
    source = definitions["SourceConfig"]
    source["properties"].pop("name", None)
    source["required"] = [name for name in source.get("required", []) if name != "name"]
    key = source["properties"]["primary_key"]
    source["properties"]["primary_key"] = {
        "description": key.get("description", ""),
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    }
    columns = source["properties"]["columns"]
    columns["anyOf"].insert(0, {"type": "array", "items": {"type": "string"}})
    sources = schema["properties"]["sources"]
    sources["additionalProperties"] = {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/SourceConfig"}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "tycostream.yaml", **schema}
