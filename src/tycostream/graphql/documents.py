"""JSON columns as GraphQL objects: selections on them, compiled, and the values that do not fit their types.

A value that does not fit is null where it stands, and told in the result's ``errors``. What is told travels with the
bytes (``Flawed``), so that a row is encoded once and its errors find their place wherever its bytes do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from tycostream.json_shape import ListShape, ObjectShape, Shape, decoded, leaf_json
from tycostream.number_text import wrong
from tycostream.scalars import Scalar, stringified

Path = tuple[str | int, ...]
Flaw = tuple[Path, str]  # where, by response keys and places in lists; and what is wrong
Write = Callable[[Any, Path, list[Flaw]], str]
MISFIT: Final = "data-exception"  # the code of what is told, from Hasura's list
FLAWS_MAX: Final = 20  # told one by one; the others are counted


@dataclass(frozen=True, slots=True)
class ObjectSelection:
    """Fields selected on an object: (response key, field, what is selected on that if it is an object), merged."""

    type_name: str
    fields: tuple[tuple[str, str, ObjectSelection | None], ...]


class Flawed(bytes):
    """JSON in which ``total`` values are null because they do not fit; ``flaws`` tells the first of them."""

    flaws: tuple[Flaw, ...]
    total: int

    def __new__(cls, text: bytes, flaws: Sequence[Flaw], total: int | None = None) -> Flawed:
        """``total`` may be more than the flaws that are told."""
        self = super().__new__(cls, text)
        self.flaws = tuple(flaws[:FLAWS_MAX])
        self.total = len(flaws) if total is None else total
        return self


def gathered(text: bytes, parts: Sequence[bytes], path: Path = (), first: int = 0) -> bytes:
    """``text``, a list's JSON, with what is told of its ``parts``: their paths are ``path`` and a place from ``first`` on."""
    if Flawed not in map(type, parts):
        return text
    flaws: list[Flaw] = []
    total = 0
    for place, part in enumerate(parts, first):
        if type(part) is Flawed:
            total += part.total
            if len(flaws) < FLAWS_MAX:
                flaws += [((*path, place, *inner), message) for inner, message in part.flaws]
    return Flawed(text, flaws, total)


def beside(text: bytes, flaws: Sequence[Flaw], keys: Sequence[str], values: Sequence[bytes]) -> bytes:
    """``text``, an object's JSON, with its own ``flaws`` and what is told of the ``values`` that stand in it under ``keys``."""
    told, total = list(flaws), len(flaws)
    for key, value in zip(keys, values, strict=True):
        if isinstance(value, Flawed):
            total += value.total
            told += [((key, *inner), message) for inner, message in value.flaws]
    return Flawed(text, told, total) if told else text


def errors_of(pieces: Iterable[tuple[str, Flawed]]) -> bytes:
    """The ``errors`` of a result as JSON, from what is flawed of it and the response key of each."""
    told: list[dict[str, object]] = []
    total = 0
    for key, piece in pieces:
        total += piece.total
        for path, message in piece.flaws[: FLAWS_MAX - len(told)]:
            extensions = {"path": "$", "code": MISFIT}
            told.append({"message": message, "path": [key, *path], "extensions": extensions})
    if left := total - len(told):
        message = f"{left} more {'value does' if left == 1 else 'values do'} not fit"
        told.append({"message": message, "extensions": {"path": "$", "code": MISFIT}})
    return msgspec.json.encode(told)


def document_writer(
    shape: Shape,
    selection: ObjectSelection,
    text: Callable[[Any], str],
    path: Path,
    *,
    stringify_numbers: bool,
) -> Callable[[Any, list[Flaw]], str]:
    """A function from a cell of a JSON column, whose text ``text`` gives, to JSON; it adds what does not fit to a list."""
    write = _writer(shape, selection, stringify_numbers)

    def document(cell: Any, flaws: list[Flaw]) -> str:
        try:
            value = decoded(text(cell))
        except ValueError as error:
            flaws.append((path, str(error)))
            return "null"
        return write(value, path, flaws)

    return document


def _writer(shape: Shape, selection: ObjectSelection | None, stringify: bool) -> Write:
    """What writes a value of a shape. null is null, of any shape; so is a field that is not there."""
    if isinstance(shape, ListShape):
        return _or_null(_list_writer(_writer(shape.item, selection, stringify), shape.name))
    if isinstance(shape, ObjectShape):
        assert selection is not None, "a field of an object type has a selection"
        return _or_null(_object_writer(shape, selection, stringify))
    return _or_null(_leaf_writer(stringified(shape) if stringify else shape))


def _or_null(write: Write) -> Write:
    def either(value: Any, path: Path, flaws: list[Flaw]) -> str:
        if value is None:
            return "null"
        try:
            return write(value, path, flaws)
        except ValueError as error:
            flaws.append((path, str(error)))
            return "null"

    return either


def _leaf_writer(scalar: Scalar) -> Write:
    return lambda value, path, flaws: leaf_json(scalar, value)


def _list_writer(item: Write, name: str) -> Write:
    def write(value: Any, path: Path, flaws: list[Flaw]) -> str:
        if not isinstance(value, list):
            raise wrong("a list", name, value)
        return f"[{','.join([item(each, (*path, place), flaws) for place, each in enumerate(value)])}]"

    return write


def _object_writer(shape: ObjectShape, selection: ObjectSelection, stringify: bool) -> Write:
    members: list[tuple[str, str, Write]] = []
    for key, name, inner in selection.fields:
        if name == "__typename":
            members.append((key, "", lambda value, path, flaws: f'"{shape.name}"'))
        else:
            members.append((key, name, _writer(shape.fields[name], inner, stringify)))

    def write(value: Any, path: Path, flaws: list[Flaw]) -> str:
        if not isinstance(value, dict):
            raise wrong("an object", shape.name, value)
        parts = [f'"{key}":{member(value.get(name), (*path, key), flaws)}' for key, name, member in members]
        return "{" + ",".join(parts) + "}"

    return write
