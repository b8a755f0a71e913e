"""The JSON Schema of tycostream.yaml as people write it: short forms and ``${ENV}`` included. For editors."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from pydantic import TypeAdapter

from tycostream.config.model import LOADERS, Config

_REFERENCE: Final = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"}
_ABOUT: Final = frozenset({"description", "title", "default", "examples"})


def json_schema() -> dict[str, Any]:
    """A draft 2020-12 schema."""
    schema = Config.model_json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    source = definitions["SourceConfig"]
    for name in LOADERS:
        del source["properties"][name]
    source.pop("required", None)
    for model in (schema, *definitions.values()):
        properties = model.get("properties", {})
        for name, entry in properties.items():
            properties[name] = _with_reference(_described(entry, definitions))
            properties[name].pop("title", None)  # pydantic's titles only repeat the names
            _spell_default(properties[name])
    for key, entry in definitions["CustomRootFieldsConfig"]["properties"].items():
        definitions["CustomRootFieldsConfig"]["properties"][key] = _or_text(entry)
    server = definitions["ServerConfig"]["properties"]
    server["cors"] = _or_names(server["cors"])
    columns = source["properties"]["column_config"]
    columns["additionalProperties"] = _or_null(columns["additionalProperties"])
    sections = schema["properties"]
    sections["sources"]["additionalProperties"] = _or_null(sections["sources"]["additionalProperties"])
    for name in ("live", "limits", "server"):
        reference = sections[name].pop("$ref")
        sections[name]["anyOf"] = [{"$ref": reference}, {"type": "null"}]
    sections["databases"]["description"] = "The databases by name; absent: one from DATABASE_* variables."
    sections["sources"]["description"] = "The tables that the API exposes, by their names in GraphQL."
    about = {"title": "tycostream.yaml", "description": "The configuration of a tycostream server."}
    return {**schema, "$schema": "https://json-schema.org/draft/2020-12/schema", **about}


def _spell_default(entry: dict[str, Any]) -> None:
    """A duration as this file writes it, not in pydantic's ISO form."""
    default = entry.get("default")
    if isinstance(default, str) and default.startswith("P") and "500ms" in entry.get("examples", ()):
        milliseconds = TypeAdapter(timedelta).validate_python(default) // timedelta(milliseconds=1)
        unit, text = (1000, "s") if milliseconds % 1000 == 0 else (1, "ms")
        unit, text = (60_000, "m") if milliseconds and milliseconds % 60_000 == 0 else (unit, text)
        entry["default"] = f"{milliseconds // unit}{text}"


def _or_text(entry: dict[str, Any]) -> dict[str, Any]:
    """A name alone stands for the mapping that holds nothing else."""
    rest = {key: value for key, value in entry.items() if key != "$ref"}
    return {"anyOf": [{"type": "string"}, {"$ref": entry["$ref"]}], **rest}


def _or_names(entry: dict[str, Any]) -> dict[str, Any]:
    """A list alone, or one entry of it, stands for the mapping that holds nothing else."""
    texts = {"type": "array", "items": {"type": "string"}}
    named = _or_text(entry)
    return {**named, "anyOf": [*named["anyOf"], texts]}


def _or_null(entry: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [entry, {"type": "null"}]}


def _described(entry: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """An enum in place of the reference to it, so that ``${ENV}`` can stand beside it."""
    name = entry.get("$ref", "").removeprefix("#/$defs/")
    if "enum" not in definitions.get(name, {}):
        return entry
    rest = {key: value for key, value in entry.items() if key != "$ref"}
    return {"type": "string", "enum": definitions[name]["enum"], **rest}


def _with_reference(entry: dict[str, Any]) -> dict[str, Any]:
    """``entry``, or a string with ``${ENV}`` in it where the value is a scalar that is not any string already."""
    scalar = entry.get("type") in ("integer", "boolean", "number") or (
        entry.get("type") == "string" and ("pattern" in entry or "enum" in entry)
    )
    if scalar:
        about = {key: value for key, value in entry.items() if key in _ABOUT}
        choice = {key: value for key, value in entry.items() if key not in _ABOUT}
        return {**about, "anyOf": [choice, _REFERENCE]}
    if any(choice.get("type") in ("integer", "boolean") for choice in entry.get("anyOf", ())):
        return {**entry, "anyOf": [*entry["anyOf"], _REFERENCE]}
    return entry
