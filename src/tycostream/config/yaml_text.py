"""Plain values as YAML for people: short ones on a line, long ones in blocks. What is written reads back as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from tycostream.config.render import scalar, yaml_key

_LINE_MAX: Final = 100
_SHORT_BELOW: Final = 4  # the indent from which a mapping may stand on one line


class Template(str):
    """A text in which ``${NAME}`` stands for a variable of the environment; every other text means what it says."""

    __slots__ = ()


def block(tree: Mapping[str, Any], indent: int = 0) -> Iterator[str]:
    """The lines of a mapping; each entry is indented by ``indent``."""
    for key, value in tree.items():
        yield from _entry(f"{' ' * indent}{_key(key)}:", value, indent)


def listing(items: Sequence[Any], indent: int = 0) -> Iterator[str]:
    """The lines of a list."""
    for item in items:
        yield from _item(item, indent)


def _entry(head: str, value: Any, indent: int) -> Iterator[str]:
    if isinstance(value, str) and not isinstance(value, Template) and _is_literal(value):
        yield f"{head} |{'' if value.endswith(chr(10)) else '-'}"
        for line in value.replace("${", "$${").removesuffix("\n").split("\n"):
            yield f"{' ' * (indent + 2)}{line}" if line else ""
    elif isinstance(value, Mapping) and value and not _is_short(value, head, indent):
        yield head
        yield from block(value, indent + 2)
    elif isinstance(value, (list, tuple)) and value and len(head) + len(flow(value)) >= _LINE_MAX:
        yield head
        yield from listing(value, indent + 2)
    else:
        yield f"{head} {flow(value)}"


def _is_short(value: Mapping[str, Any], head: str, indent: int) -> bool:
    if indent < _SHORT_BELOW or len(head) + len(flow(value)) >= _LINE_MAX:
        return False
    return indent > _SHORT_BELOW or not any(isinstance(inner, Mapping) for inner in value.values())


def _item(value: Any, indent: int) -> Iterator[str]:
    line = flow(value)
    if isinstance(value, Mapping) and value and indent + len(line) >= _LINE_MAX:
        first, *rest = block(value, indent + 2)
        yield f"{' ' * indent}- {first.lstrip()}"
        yield from rest
    else:
        yield f"{' ' * indent}- {line}"


def _is_literal(text: str) -> bool:
    """Whether a literal block shows a text of several lines as it is: nothing hides in it, and nothing needs an escape."""
    lines = text.removesuffix("\n").split("\n")
    return (
        len(lines) > 1
        and bool(lines[0])
        and not lines[0].startswith(" ")
        and bool(lines[-1])
        and all(line.isprintable() and line == line.rstrip() for line in lines)
    )


def flow(value: Any) -> str:
    """A value on one line."""
    match value:
        case Template():
            return json.dumps(str(value), ensure_ascii=False)
        case str():
            return scalar(value)
        case Mapping():
            inside = ", ".join(f"{_key(key)}: {flow(inner)}" for key, inner in value.items())
            return f"{{{inside}}}"
        case list() | tuple():
            return f"[{', '.join(map(flow, value))}]"
        case float():
            return _float(value)
        case _:
            return json.dumps(value)


def _key(text: str) -> str:
    # `on:` of a relationship is a word of ours, and every example has it bare
    return text if text == "on" else yaml_key(text)


def _float(value: float) -> str:
    # tree.py takes a number with an exponent for one only if it has a dot too, and one of many places for a text
    text = repr(value)
    if len(text.partition(".")[2]) > 18 and "e" not in text:
        text = f"{Decimal(text):e}"
    return re.sub(r"^(-?\d+)(?=e)", r"\1.0", text)
