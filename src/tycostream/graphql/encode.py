"""Selection sets, compiled: one generated function per shape writes JSON straight from a row.

The generated code is an f-string over column places. Response keys and type names are GraphQL names, which is checked
again here before they become part of it; values, and whatever else a user wrote, are never code. graphql-core would
spend 100 µs a row on the same work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import Any, Final

from tycostream.dataflow.predicate import Predicate, compile_predicate
from tycostream.dataflow.relation import Veil
from tycostream.dataflow.unkeyed import Same, alike
from tycostream.dataflow.veil import beyond_row
from tycostream.graphql.documents import Flaw, Flawed, ObjectSelection, beside, document_writer, gathered
from tycostream.graphql.plan import Condition, Nested, Phase
from tycostream.json_text import member_json
from tycostream.rows import Cell, Row, RowType, same_text
from tycostream.scalars import stringified

_RELATED: Final = "\0"  # in an f-string's text: where a relationship's value goes
TYPENAME: Final = -1  # the place of ``__typename`` among columns
_NAME: Final = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")


@dataclass(frozen=True, slots=True)
class Member:
    """The part of a JSON column that a path leads to."""

    column: int
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON column that is an object, or a list of objects, and what is selected on it."""

    column: int
    selection: ObjectSelection


@dataclass(frozen=True, slots=True)
class Selection:
    """Fields selected on a row: (response key, column's place, TYPENAME, Member, Document or Nested), in order, merged.

    ``veil``: of the columns among them.
    """

    type_name: str
    fields: tuple[tuple[str, int | Member | Document | Nested], ...]
    veil: Veil = ()

    @property
    def nested(self) -> tuple[tuple[str, Nested], ...]:
        """The relationships among them."""
        return tuple((key, place) for key, place in self.fields if isinstance(place, Nested))

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What of the veil a row alone does not decide, each once."""
        found = [Condition(seen) for place, seen in self.veil if beyond_row(((place, seen),))]
        return tuple(dict.fromkeys(found))

    @property
    def flawing(self) -> bool:
        """Whether something may have to be told of a row: it has documents."""
        return any(isinstance(place, Document) for _, place in self.fields)


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


class Cells:
    """How the cells of a source are written, column by column."""

    def __init__(self, row_type: RowType, *, stringify_numbers: bool) -> None:
        self._columns = row_type.columns
        self._stringify = stringify_numbers
        scalars = [column.scalar for column in row_type.columns]
        self.writers: list[Callable[[Cell], str]] = [
            (stringified(scalar) if stringify_numbers else scalar).json for scalar in scalars
        ]

    def document(self, document: Document, path: tuple[str, ...]) -> Callable[[Cell, list[Flaw]], str]:
        """The writer of a column that is an object, as far as it is selected, at ``path`` of its row."""
        column = self._columns[document.column]
        assert column.document is not None
        return document_writer(
            column.document, document.selection, column.scalar.text, path, stringify_numbers=self._stringify
        )


def _quoted(name: str) -> str:
    """A GraphQL name as JSON and as part of an f-string alike: it has nothing to escape in either."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no GraphQL name")
    return f'"{name}"'


def _object(members: Iterable[tuple[str, str]]) -> str:
    """The f-string text of a JSON object, from response keys and the f-string text of each value."""
    return "{{" + ",".join(f"{_quoted(key)}:{text}" for key, text in members) + "}}"


def _row_text(
    selection: Selection, cells: Cells, row: str, names: dict[str, Any], path: tuple[str, ...] = ()
) -> str:
    """The f-string text of a row's object at ``path``; ``names`` receives the writers it calls."""
    members = []
    writers = cells.writers
    hidden = _hidden(selection, row, names)
    for key, place in selection.fields:
        if isinstance(place, Member):
            name = f"m{len(names)}"
            names[name] = member_json(place.path, writers[place.column])
            text = f"{{'null' if {hidden(place.column)}False else {name}({row}[{place.column}])}}"
        elif isinstance(place, Document):
            name = f"d{len(names)}"
            names[name] = cells.document(place, (*path, key))
            null = f"{hidden(place.column)}(c := {row}[{place.column}]) is None"
            text = f"{{'null' if {null} else {name}(c, flaws)}}"
        elif isinstance(place, Nested):
            text = _RELATED
        elif place == TYPENAME:
            text = _quoted(selection.type_name)
        else:
            names[f"w{place}"] = writers[place]
            # an integer's writer is str itself, and formatting does that without a call
            written = "c" if writers[place] is str else f"w{place}(c)"
            text = f"{{'null' if {hidden(place)}(c := {row}[{place}]) is None else {written}}}"
        members.append((key, text))
    return _object(members)


def _hidden(selection: Selection, row: str, names: dict[str, Any]) -> Callable[[int], str]:
    """A function from a column's place to the beginning of an expression: whether its cell is hidden, or …

    Nothing if it never is. What the row alone does not decide comes as a parameter, ``k`` and its number.
    """
    parameters = {condition.predicate: f"k{n}" for n, condition in enumerate(selection.conditions)}
    tests: dict[Predicate, str] = {}
    for _, seen in selection.veil:
        if seen not in tests and (test := parameters.get(seen)) is None:
            name = f"s{len(names)}"
            names[name] = compile_predicate(seen)
            test = f"{name}({row})"
        tests.setdefault(seen, test or "")
    of_place = {place: f"not {tests[seen]} or " for place, seen in selection.veil}
    return lambda place: of_place.get(place, "")


def _function(
    parameters: str, text: str, names: dict[str, Any], *, flawing: bool = False
) -> Callable[..., bytes]:
    """The function whose result is the f-string ``text`` in UTF-8; ``flawing``: some of its writers tell flaws."""
    source = f"lambda {parameters}{', flaws' * flawing}: f'''{text}'''.encode()"
    function: Callable[..., bytes] = _bound(source, names)
    if not flawing:
        return function

    def telling(*images: Row | None) -> bytes:
        flaws: list[Flaw] = []
        written = function(*images, flaws)
        return Flawed(written, flaws) if flaws else written

    return telling


def _with_related(
    text: str, keys: Sequence[str], conditions: int, names: dict[str, Any], *, flawing: bool
) -> Callable[..., bytes]:
    """The function of a row and its relationships' values, which come in where ``text`` has ``_RELATED``.

    After those come the values of as many ``conditions``.
    """
    pieces = [f"f'''{piece}'''.encode()" for piece in text.split(_RELATED)]
    related = [f"r{n}" for n in range(len(keys))]
    joined = pieces[0] + "".join(
        f", {value}, {piece}" for value, piece in zip(related, pieces[1:], strict=True)
    )
    parameters = ["row", *related, *(f"k{n}" for n in range(conditions)), *(["flaws"] * flawing)]
    function: Callable[..., bytes] = _bound(f"lambda {', '.join(parameters)}: b''.join(({joined},))", names)

    def telling(row: Row, *values: bytes) -> bytes:
        if not flawing and Flawed not in map(type, values):
            return function(row, *values)
        flaws: list[Flaw] = []
        written = function(row, *values, flaws) if flawing else function(row, *values)
        return beside(written, flaws, keys, values[: len(keys)])

    return telling


def _bound(source: str, names: dict[str, Any]) -> Any:
    return eval(_code(source), {"__builtins__": {}, **names})  # noqa: S307 - places, and names checked by _quoted


@lru_cache(maxsize=2048)
def _code(source: str) -> CodeType:
    return compile(source, "<selection>", "eval")


class Rows:
    """The RowEncoder of a list or of a row by key."""

    # the generated function itself: a method around it would cost a call a row
    row: Callable[..., bytes]

    def __init__(self, selection: Selection, cells: Cells, *, single: bool) -> None:
        self.key: Hashable = ("rows", selection)
        keys, conditions = [key for key, _ in selection.nested], selection.conditions
        self.nested: tuple[Nested | Condition, ...] = (
            *(nested for _, nested in selection.nested),
            *conditions,
        )
        names: dict[str, Any] = {}
        self.flawing = selection.flawing or bool(keys)
        text = _row_text(selection, cells, "row", names)
        if self.nested:
            self.row = _with_related(text, keys, len(conditions), names, flawing=selection.flawing)
        else:
            self.row = _function("row", text, names, flawing=self.flawing)
        self._single = single

    def result(self, fragments: Sequence[bytes]) -> bytes:
        """See RowEncoder."""
        if self._single:
            return fragments[0] if fragments else b"null"
        value = b"[" + b",".join(fragments) + b"]"
        return gathered(value, fragments) if self.flawing else value


class Changes:
    """The ChangeEncoder of a change feed. ``changes`` may be selected once."""

    differs: Callable[[Row, Row], bool]
    same: Same

    def __init__(
        self, selection: SetSelection, row_type: RowType, cells: Cells, visible: tuple[int, ...] | None = None
    ) -> None:
        """``visible``: the places of the columns that may be told of; None: all."""
        if visible is None:
            visible = tuple(range(len(row_type.columns)))
        # a selection names what is written, and ``changed`` may tell of any column that can be seen
        self.key: Hashable = ("changes", selection, visible)
        self.wants_cursor = any(name == "cursor" for _, name in selection.fields)
        change = selection.changes[0][1] if selection.changes else ChangeSelection("", (), ())
        self._insert = _change_function("insert", change, row_type, cells, visible)
        self._delete = _change_function("delete", change, row_type, cells, visible)
        self._update = _change_function("update", change, row_type, cells, visible)
        self._changes_key = selection.changes[0][0] if selection.changes else ""
        self._flawing = any(rows.flawing for _, rows in change.rows)
        self.differs, self.same = _compared(change, row_type, visible)
        self._members = [
            (b"," * (n > 0) + f"{_quoted(key)}:".encode(), name)
            for n, (key, name) in enumerate(selection.fields)
        ]
        self._typename = _quoted(selection.type_name).encode()

    def change(self, old: Row | None, new: Row | None) -> bytes:
        """See ChangeEncoder."""
        if old is None:
            return self._insert(old, new)
        return self._delete(old, new) if new is None else self._update(old, new)

    def result(
        self, phase: Phase, changes: Sequence[bytes], *, complete: bool, resync: bool, cursor: str | None
    ) -> bytes:
        """See ChangeEncoder."""
        parts = [b"{"]
        for prefix, name in self._members:
            parts.append(prefix)
            if name == "changes":
                parts += (b"[", b",".join(changes), b"]")
            elif name == "phase":
                parts.append(b'"%b"' % phase.value.encode())
            elif name == "cursor":
                parts.append(b"null" if cursor is None else b'"%b"' % cursor.encode())
            elif name == "__typename":
                parts.append(self._typename)
            else:
                parts.append(b"true" if (complete if name == "complete" else resync) else b"false")
        parts.append(b"}")
        value = b"".join(parts)
        return gathered(value, changes, (self._changes_key,)) if self._flawing else value


def _change_function(
    operation: str, change: ChangeSelection, row_type: RowType, cells: Cells, visible: tuple[int, ...]
) -> Callable[[Row | None, Row | None], bytes]:
    """The function that writes inserts, deletes or updates: which of the images is null is known beforehand."""
    rows = dict(change.rows)
    names: dict[str, Any] = {}
    members = []
    for key, name in change.fields:
        if name == "operation":
            text = _quoted(operation)
        elif name == "changed":
            text = "[{changed(old, new)}]" if operation == "update" else "[]"
        elif name == "row":
            text = "null" if operation == "delete" else _row_text(rows[key], cells, "new", names, (key,))
        elif name == "old":
            text = "null" if operation == "insert" else _row_text(rows[key], cells, "old", names, (key,))
        else:
            text = _quoted(change.type_name)
        members.append((key, text))
    flawing = any(selected.flawing for selected in rows.values())
    names["changed"] = _changed(row_type, visible)
    return _function("old, new", _object(members), names, flawing=flawing)


def _texts(row_type: RowType) -> list[Callable[[Cell], str] | None]:
    """Per column: how to tell apart the texts of equal cells; None where equal cells have one text."""
    return [column.scalar.text if column.scalar.loose else None for column in row_type.columns]


def _changed(row_type: RowType, visible: tuple[int, ...]) -> Callable[[Row, Row], str]:
    """A function from two images to the names of all columns in sight whose text differs, as items of a JSON list."""
    texts = _texts(row_type)
    if len(visible) < len(row_type.columns):
        named = [(_quoted(row_type.columns[i].field), i, texts[i]) for i in visible]

        def changed_in_sight(old: Row, new: Row) -> str:
            return ",".join(
                [
                    name
                    for name, i, text in named
                    if (a := old[i]) is not (b := new[i])
                    and (a != b or (text is not None and not same_text(a, b, text)))
                ]
            )

        return changed_in_sight
    quoted = [_quoted(column.field) for column in row_type.columns]

    def changed(old: Row, new: Row) -> str:
        return ",".join(
            [
                name
                for name, a, b, text in zip(quoted, old, new, texts, strict=True)
                if a is not b and (a != b or (text is not None and not same_text(a, b, text)))
            ]
        )

    return changed


def _compared(
    change: ChangeSelection, row_type: RowType, visible: tuple[int, ...]
) -> tuple[Callable[[Row, Row], bool], Same]:
    """Whether two images differ in a selected column, or, if none is selected, in any that can be seen.

    And what is equal for those that do not, as far as a column is selected whole.
    """
    # a change has columns only
    chosen = {place for _, rows in change.rows for _, place in rows.fields if not isinstance(place, Nested)}
    chosen.discard(TYPENAME)
    selected = {place.column if isinstance(place, Document) else place for place in chosen}
    members = [place for place in selected if isinstance(place, Member)]
    columns = sorted(place for place in selected if not isinstance(place, Member))
    names: dict[str, Any] = {"same_text": same_text}
    tests = []
    texts = _texts(row_type)
    for i in columns if selected else visible:
        unequal = f"old[{i}] != new[{i}]"
        if texts[i] is not None:
            names[f"t{i}"] = texts[i]
            unequal = f"({unequal} or not same_text(old[{i}], new[{i}], t{i}))"
        tests.append(f"old[{i}] is not new[{i}] and {unequal}")
    for n, member in enumerate(members):
        names[f"m{n}"] = member_json(member.path, str)
        i = member.column
        tests.append(f"old[{i}] is not new[{i}] and m{n}(old[{i}]) != m{n}(new[{i}])")
    function: Callable[[Row, Row], bool] = _bound("lambda old, new: " + " or ".join(tests), names)
    read = sorted({*columns, *(member.column for member in members)}) if selected else visible
    return function, alike(row_type, read)
