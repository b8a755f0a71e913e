"""pydantic's errors in plain words: what is wrong, and what would be right."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from enum import StrEnum
from types import UnionType
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from tycostream.config.model import LOADERS, Config
from tycostream.config.tree import Path

_SECRET: Final = frozenset({"url", "cursor_key", "admin_secrets", "key", "key_file", "state"})
_LATER_TOP: Final = {
    "bus": "a bus between servers is not used by this version",
    "triggers": "triggers are not run by this version",
}
_LATER_LIMITS: Final = {
    "memory": "memory is not limited by this version",
    "batch_limit": "batches of operations are not read by this version",
}
_LATER_SOURCE: Final = {
    "triggers": "triggers are not run by this version",
}


def later(path: Path) -> str | None:
    """Why a key that a later version will know is refused, or None. Ignoring it would be a promise broken."""
    match path:
        case (str() as key,):
            why = _LATER_TOP.get(key)
        case ("sources", _, str() as key):
            why = _LATER_SOURCE.get(key)
        case ("limits", str() as key):
            why = _LATER_LIMITS.get(key)
        case _:
            return None
    if why is None:
        return None
    pronoun = "them" if " are " in why else "it"
    return refused(why, pronoun, f"does {pronoun}")


def refused(why: str, pronoun: str, what: str) -> str:
    """That a configuration with a key is not taken, and ``what`` a version does that will take it."""
    return (
        f"{why}, so a configuration that has {pronoun} is refused; "
        f"remove {pronoun}, or wait for the version that {what}"
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean side?``, or nothing."""
    names = list(known)
    close = difflib.get_close_matches(word, names, 1, 0.6)
    if not close:
        folded = {name.lower(): name for name in names}
        close = [folded[match] for match in difflib.get_close_matches(word.lower(), list(folded), 1, 0.6)]
    return f"; did you mean {close[0]}?" if close else ""


def unknown_key(path: Path) -> str:
    """An unknown key, with the keys that are known at its place."""
    key = str(path[-1])
    model = _model_at(path[:-1])
    of_source = path[0] == "sources" and len(path) == 3
    known = [name for name in model.model_fields if name not in LOADERS or not of_source]
    if of_source and key == "types":
        return "is not a setting of a source: write `types:` at the top of the file, for all sources"
    if of_source and key in ("name", "custom_name"):
        return (
            "is not a setting: a source's name is its key; rename the key, and write `table:` for the table"
        )
    return f"is not a setting{did_you_mean(key, known)} (allowed here: {', '.join(known)})"


def _model_at(path: Path) -> type[BaseModel]:
    here: Any = Config
    for part in path:
        if isinstance(here, type) and issubclass(here, BaseModel):
            here = here.model_fields[str(part)].annotation
        else:
            choices = get_args(here)  # dict[str, Model], or tuple[Model, ...]
            here = choices[0] if choices[-1] is Ellipsis else choices[-1]
        here = _without_none(here)
    assert isinstance(here, type)
    assert issubclass(here, BaseModel)
    return here


def _without_none(annotation: Any) -> Any:
    """``X`` of ``X | None``."""
    choices = [choice for choice in get_args(annotation) if choice is not type(None)]
    return choices[0] if isinstance(annotation, UnionType) and len(choices) == 1 else annotation


def plain(error: ErrorDetails) -> str:
    """One pydantic error, for a person."""
    path, value = error["loc"], error["input"]
    context = error.get("ctx", {})
    shown = "" if any(part in _SECRET for part in path) else f" ({_shown(value)})"
    match error["type"]:
        case "extra_forbidden":
            return unknown_key(path)
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"is {kind(value)}, but must be a mapping of `key: value` lines"
        case "tuple_type" | "list_type":
            return f"is {kind(value)}, but must be a list, such as [a, b]"
        case "string_type":
            quote = "; write it in quotes" if isinstance(value, (int, float, bool)) else ""
            return f"is {kind(value)}{shown if quote else ''}, but must be a text{quote}"
        case "int_parsing" | "int_type" | "int_from_float" | "int_parsing_size":
            return f"is {kind(value)}{shown}, but must be a whole number"
        case "greater_than_equal":
            return f"must be at least {context['ge']}, not {_shown(value)}"
        case "less_than_equal":
            return f"must be at most {context['le']}, not {_shown(value)}"
        case "enum":
            return _choice(value, _members(path))
        case "missing":
            return "is missing"
        case "string_pattern_mismatch":
            return _pattern(value, str(context["pattern"]))
        case "value_error":
            return f"{context['error']}{'' if path[-1] == 'columns' else shown and f'; not {_shown(value)}'}"
        case _:
            return error["msg"]


def _members(path: Path) -> list[str]:
    choices = _without_none(_model_at(path[:-1]).model_fields[str(path[-1])].annotation)
    assert isinstance(choices, type)
    assert issubclass(choices, StrEnum)
    return [choice.value for choice in choices]


def _choice(value: object, choices: list[str]) -> str:
    guess = did_you_mean(value, choices) if isinstance(value, str) else ""
    return f"must be one of {', '.join(choices)}, not {_shown(value)}{guess}"


def _pattern(value: object, pattern: str) -> str:
    if alternatives := re.fullmatch(r"\^\(([a-z|]+)\)\$", pattern):
        return _choice(value, alternatives[1].split("|"))
    return (
        "must be lower-case letters, digits and underscores, and start with a letter "
        f"(it names our objects in the databases), not {_shown(value)}"
    )


def kind(value: object) -> str:
    """What sort of YAML value it is."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, (list, tuple)) else "a mapping"


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple, dict)) or value is None:
        return kind(value)
    text = (
        str(value).lower()
        if isinstance(value, bool)
        else str(value)
        if isinstance(value, (int, float))
        else repr(value)
    )
    return text if len(text) <= 60 else f"{text[:57]}…"
