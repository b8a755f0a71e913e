"""A path into JSON, of a json or jsonb field or of a token, as Hasura reads it: ``$.a.b[0]["any key"]``."""

from __future__ import annotations

import re
from typing import Final

from tycostream.number_text import shown

_STEPS_MAX: Final = 100
_BRACKETS: Final = re.compile(
    r"""\[(?:([0-9]+)|"((?>\\.|[^"])*+)"|'((?>\\.|[^'])*+)')\]""",
    re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


def json_path(text: str) -> tuple[str, ...]:
    """The steps of a path, none for ``$`` alone; ValueError in Hasura's words if it is none."""
    if text == "$":
        return ()
    steps: list[str] = []
    place = int(text.startswith("$"))
    while place < len(text) or not steps:
        step, place = _step(text, place)
        steps.append(step)
        if len(steps) > _STEPS_MAX:
            raise ValueError(f"parse json path error: a path of more than {_STEPS_MAX} steps")
    return tuple(steps)


def _step(text: str, start: int) -> tuple[str, int]:
    """The step that begins at ``start``, and the place after it."""
    place = start + text.startswith(".", start)
    if found := _BRACKETS.match(text, place):
        index, double, single = found.groups()
        if index is not None:
            return str(int(index)) if len(index) <= 19 else index, found.end()
        return _ESCAPE.sub(r"\1", single if double is None else double), found.end()
    end = place
    while end < len(text) and (
        text[end].isalpha() or text[end] == "_" or (end > place and text[end] in "0123456789-")
    ):
        end += 1
    if end == place:
        raise ValueError(
            f"parse json path error: {shown(text)}. Accept letters, digits, underscore (_) or hyphen (-) only. "
            'Use quotes enclosed in bracket (["..."]) if there is any special character'
        )
    return text[place:end], end
