"""What single values of the configuration look like: durations, sizes, names, types. ``model.py`` says where they stand."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|KiB|MB|MiB|GB|GiB)")
_BYTES = {"B": 1, "KB": 10**3, "KiB": 2**10, "MB": 10**6, "MiB": 2**20, "GB": 10**9, "GiB": 2**30}

# Bounds keep arithmetic on the values (deadlines, sums) far from overflow; nobody needs more.
_LONGEST = timedelta(days=3650)
_LARGEST = 2**50


def _duration(value: Any) -> Any:
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        seconds = float(match[1]) * _SECONDS[match[2]]
        if seconds > _LONGEST.total_seconds():
            raise ValueError(f"is too long: the longest duration is {_LONGEST.days}d")
        return timedelta(seconds=seconds)
    if isinstance(value, timedelta):
        return value
    raise ValueError("a duration is a number and a unit, such as 500ms, 30s, 5m, 1h or 1d")


def _size(value: Any) -> Any:
    size: float | None = None
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        size = float(match[1]) * _BYTES[match[2]]
    elif isinstance(value, str) and value.isascii() and value.isdigit():  # a number from the environment
        size = float(value)
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        size = value
    if size is None:
        raise ValueError("a size is a number and a unit, such as 64KiB, 64MiB or 2GiB")
    if size > _LARGEST:
        raise ValueError(f"is too large: the largest size is {_LARGEST // 2**30}GiB")
    return int(size)


def _flag(value: Any) -> Any:
    # Only these: with YAML 1.2 a `yes` is a text, and guessing at it would hide a mistake.
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError("must be true or false")


def _whole(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic would take true for 1
        raise ValueError("must be a whole number")
    return value


def _names(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _settings(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        name: str(setting).lower()
        if isinstance(setting, bool)
        else str(setting)
        if isinstance(setting, (int, float))
        else setting
        for name, setting in value.items()
    }


def _listed(value: Any) -> Any:
    """``[String]`` is a list to YAML, and the name of a type here."""
    if isinstance(value, (list, tuple)) and len(value) == 1:
        return f"[{_listed(value[0])}]"
    return value


def _columns(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _listed(type_name) for name, type_name in value.items()}
    if not isinstance(value, (list, tuple)):
        return value
    for name in value:
        if not isinstance(name, str):
            raise ValueError(
                "must be a list of column names, or names with types: {id: Integer, note: String}"
            )
    if twice := sorted({name for name in value if list(value).count(name) > 1}):
        raise ValueError(f"names {', '.join(twice)} twice; name every column once")
    return dict.fromkeys(value)


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema(
        {"type": "string", "pattern": f"^{_DURATION.pattern}$", "examples": ["500ms", "30s", "5m"]}
    ),
]
Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": f"^{_SIZE.pattern}$"}],
            "examples": ["64KiB", "64MiB", "2GiB"],
        }
    ),
]
Flag = Annotated[bool, BeforeValidator(_flag)]
Whole = Annotated[int, BeforeValidator(_whole)]
_LIST = {"type": "array", "items": {"type": "string"}}
Names = Annotated[
    tuple[str, ...], BeforeValidator(_names), WithJsonSchema({"anyOf": [{"type": "string"}, _LIST]})
]
Settings = Annotated[
    dict[str, str],
    BeforeValidator(_settings),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": "^[a-z_]+$"},
            "additionalProperties": {"type": ["string", "integer", "number", "boolean"]},
            "examples": [{"transaction_isolation": "serializable"}],
        }
    ),
]
_TYPE_NAME: dict[str, Any] = {
    "anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "maxItems": 1}],
    "examples": ["String", ["String"]],
}
TypeName = Annotated[str, BeforeValidator(_listed), WithJsonSchema(_TYPE_NAME)]
Columns = Annotated[
    dict[str, str | None],
    BeforeValidator(_columns),
    WithJsonSchema(
        {
            "anyOf": [
                {**_LIST, "minItems": 1, "uniqueItems": True},
                {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": {"anyOf": [*_TYPE_NAME["anyOf"], {"type": "null"}]},
                },
            ],
            "examples": [["id", "price"], {"id": "Integer", "price": "Numeric"}],
        }
    ),
]
Pairs = Annotated[
    dict[str, str],
    WithJsonSchema(
        {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": "string"},
            "examples": [{"instrument_id": "id"}],
        }
    ),
]


class Model(BaseModel):
    """Frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_enum_values=False)


_AnyModel = TypeVar("_AnyModel", bound=Model)


def merged(base: _AnyModel, over: _AnyModel) -> _AnyModel:
    """``base`` with what was explicitly set in ``over``, at every depth."""
    update: dict[str, Any] = {}
    for name in over.model_fields_set:
        mine, its = getattr(base, name), getattr(over, name)
        update[name] = merged(mine, its) if isinstance(its, Model) else its
    return base.model_copy(update=update)
