"""What was not carried, told: to a person as a table, to a reader of the file as comments, to a program as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from tycostream.metadata.ledger import Left


def comments(left: Sequence[Left]) -> Iterator[str]:
    """Lines of YAML that say what is not there."""
    for one in left:
        yield f"# - {_line(one.name)}: {_line(one.reason)}"


def as_json(left: Sequence[Left]) -> str:
    """A list of ``{path, name, reason}``."""
    listed = [{"path": one.pointer, "name": one.name, "reason": one.reason} for one in left]
    return json.dumps(listed, indent=2, ensure_ascii=False)


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
