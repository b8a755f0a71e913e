"""Selection sets, compiled: one generated function per shape writes JSON straight from a row.

The generated code holds column places and names of ours; response keys and type names go in as constants, already
JSON-escaped, so that no text of a user is ever code. graphql-core would spend 100 µs a row on the same work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tycostream.graphql.plan import Phase
from tycostream.rows import Cell, Row, RowType

TYPENAME = -1  # the place of ``__typename`` among columns


@dataclass(frozen=True, slots=True)
class Selection:
    """Fields selected on a row: (response key, column's place or TYPENAME), in order, merged."""

    type_name: str
    fields: tuple[tuple[str, int], ...]


def compile_row(selection: Selection, writers: Sequence[Callable[[Cell], str]]) -> Callable[[Row], str]:
    """A function from a row to its JSON object."""
    constants: dict[str, object] = {}
    parts: list[str] = []
    for n, (response_key, place) in enumerate(selection.fields):
        prefix = ("," if n else "{") + json.dumps(response_key) + ":"
        if place == TYPENAME:
            constants[f"k{n}"] = prefix + json.dumps(selection.type_name)
            parts.append(f"k{n}")
        else:
            constants[f"k{n}"] = prefix
            constants[f"w{n}"] = writers[place]
            parts.append(f"k{n} + ('null' if row[{place}] is None else w{n}(row[{place}]))")
    constants["end"] = "}" if selection.fields else "{}"
    source = f"lambda {', '.join(constants)}: lambda row: " + " + ".join([*parts, "end"])
    make = _factory(source)
    function: Callable[[Row], str] = make(*constants.values())
    return function


@lru_cache(maxsize=2048)
def _factory(source: str) -> Callable[..., Callable[[Row], str]]:
    factory: Callable[..., Callable[[Row], str]] = eval(  # noqa: S307 - places and names of ours only
        compile(source, "<selection>", "eval"), {"__builtins__": {}}
    )
    return factory


class Rows:
    """The RowEncoder of a list or of a row by key."""

    def __init__(
        self, selection: Selection, writers: Sequence[Callable[[Cell], str]], *, single: bool
    ) -> None:
        self.key: Hashable = ("rows", selection)
        self._row = compile_row(selection, writers)
        self._single = single

    def row(self, row: Row) -> bytes:
        """See RowEncoder."""
        return self._row(row).encode()

    def result(self, fragments: Sequence[bytes]) -> bytes:
        """See RowEncoder."""
        if self._single:
            return fragments[0] if fragments else b"null"
        return b"[" + b",".join(fragments) + b"]"


@dataclass(frozen=True, slots=True)
class ChangeSelection:
    """Fields selected on a change: (response key, field name); ``row`` and ``old`` by response key."""

    type_name: str
    fields: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, Selection], ...]


@dataclass(frozen=True, slots=True)
class SetSelection:
    """Fields selected on a change set: (response key, field name); ``changes`` by response key."""

    type_name: str
    fields: tuple[tuple[str, str], ...]
    changes: tuple[tuple[str, ChangeSelection], ...]


class Changes:
    """The ChangeEncoder of a change feed. ``changes`` may be selected once."""

    def __init__(
        self, selection: SetSelection, row_type: RowType, writers: Sequence[Callable[[Cell], str]]
    ) -> None:
        self.key: Hashable = ("changes", selection)
        self.wants_cursor = any(name == "cursor" for _, name in selection.fields)
        self._selection = selection
        self._row_type = row_type
        self._change = selection.changes[0][1] if selection.changes else None
        self._rows = {
            key: compile_row(rows, writers) for key, rows in (self._change.rows if self._change else ())
        }
        places = {
            place for _, rows in (self._change.rows if self._change else ()) for _, place in rows.fields
        }
        self._places = sorted(places - {TYPENAME}) or list(range(len(row_type.columns)))

    def differs(self, old: Row, new: Row) -> bool:
        """See ChangeEncoder."""
        return any(self._cell_differs(i, old, new) for i in self._places)

    def _cell_differs(self, i: int, old: Row, new: Row) -> bool:
        a, b = old[i], new[i]
        if a is b:
            return False
        if a != b:
            return True
        scalar = self._row_type.columns[i].scalar
        return scalar.loose and a is not None and scalar.text(a) != scalar.text(b)

    def change(self, old: Row | None, new: Row | None) -> bytes:
        """See ChangeEncoder."""
        assert self._change is not None or not self._rows
        if self._change is None:
            return b""
        parts = []
        for key, name in self._change.fields:
            if name == "row":
                value = "null" if new is None else self._rows[key](new)
            elif name == "old":
                value = "null" if old is None else self._rows[key](old)
            elif name == "operation":
                value = '"insert"' if old is None else '"delete"' if new is None else '"update"'
            elif name == "changed":
                value = self._changed(old, new)
            else:
                value = json.dumps(self._change.type_name)
            parts.append(f"{json.dumps(key)}:{value}")
        return ("{" + ",".join(parts) + "}").encode()

    def _changed(self, old: Row | None, new: Row | None) -> str:
        if old is None or new is None:
            return "[]"
        columns = self._row_type.columns
        names = [columns[i].field for i in range(len(columns)) if self._cell_differs(i, old, new)]
        return json.dumps(names, separators=(",", ":"))

    def result(
        self, phase: Phase, changes: Sequence[bytes], *, complete: bool, resync: bool, cursor: str | None
    ) -> bytes:
        """See ChangeEncoder."""
        values: dict[str, bytes] = {
            "phase": b'"' + phase.value.encode() + b'"',
            "complete": b"true" if complete else b"false",
            "resync": b"true" if resync else b"false",
            "cursor": b"null" if cursor is None else b'"' + cursor.encode() + b'"',
            "__typename": json.dumps(self._selection.type_name).encode(),
        }
        parts = []
        for key, name in self._selection.fields:
            value = b"[" + b",".join(changes) + b"]" if name == "changes" else values[name]
            parts.append(json.dumps(key).encode() + b":" + value)
        return b"{" + b",".join(parts) + b"}"
