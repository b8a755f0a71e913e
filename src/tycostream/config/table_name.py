"""The name of a table as ``table:`` writes it: parts between dots, and in double quotes what holds a dot itself.

A part stands as it is, in capitals or small letters: the file is no SQL, and a name without quotes is not folded.
"""

from __future__ import annotations

import re
from typing import Final

_PART: Final = re.compile(r'"((?:[^"]|"")+)"|([^".][^.]*)')


def parts(text: str) -> tuple[str, ...]:
    """The names of ``[[database.]schema.]table``, at most three; ValueError says what is wrong with it."""
    names: list[str] = []
    at = 0
    while True:
        match = _PART.match(text, at)
        if match is None or "\0" in match[0]:
            raise ValueError(
                'must be a table\'s name, or schema.table; a name with a dot in it is quoted: "a.b"'
            )
        names.append(match[1].replace('""', '"') if match[1] is not None else match[2])
        at = match.end()
        if at == len(text):
            break
        if text[at] != ".":
            raise ValueError(f"has {text[at]!r} after a quoted name; a dot, or nothing, may follow it")
        at += 1
    if len(names) > 3:
        raise ValueError(
            'has too many parts: [[database.]schema.]table; a name with a dot in it is quoted: "a.b"'
        )
    return tuple(names)


def written(*names: str) -> str:
    """The names as ``parts`` reads them."""
    return ".".join(
        '"' + name.replace('"', '""') + '"' if "." in name or name.startswith('"') else name for name in names
    )
