"""Introspection: what is selected on ``__schema`` and ``__type``, written as JSON piece by piece.

graphql-core's own execution takes half a minute for the standard query over a thousand sources, fifty megabytes, in one
step. Here a selection is compiled once. What a field says is asked of graphql-core's own resolvers, so that there is no
second opinion; an object that was written once under a selection is not written again, for a thousand sources share
most of their fields. And there is a place to pause after each type, and after each of the root fields.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, Final

import msgspec
from graphql import (
    FieldNode,
    GraphQLEnumType,
    GraphQLField,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    SchemaMetaFieldDef,
    TypeMetaFieldDef,
    get_named_type,
)

from tycostream.errors import RequestError
from tycostream.graphql.fields import Collector
from tycostream.graphql.lazy_schema import LazySchema

_PIECES_PER_STEP: Final = 60  # 3 ms where all types have yet to be made
_PIECE_BYTES_MAX: Final = 2**20  # of a type other than the roots: selections within selections multiply
_BYTES_MAX: Final = 256 * 2**20
_KEPT_MAX: Final = 64  # answers; tools ask for few, and a variable makes any number of small ones
_KEPT_BYTES_MAX: Final = 64 * 2**20  # of those; the newest is kept whatever its size
_META: Final = {"__schema": SchemaMetaFieldDef, "__type": TypeMetaFieldDef}


_Write = Callable[[Any], bytes]


@dataclass(frozen=True, slots=True)
class _Field:
    key: bytes  # the response key as JSON, and a colon
    name: str
    arguments: tuple[tuple[str, Any], ...]
    selected: _Selected | None  # on an object, or the objects in a list


@dataclass(frozen=True, slots=True)
class _Selected:
    """A selection set on a type of introspection, with fragments and variables resolved."""

    type_name: str
    fields: tuple[_Field, ...]


def _selection(collector: Collector, on: GraphQLObjectType, nodes: Sequence[FieldNode]) -> _Selected:
    fields = [
        _field(collector, key, None if name == "__typename" else on.fields[name], inner)
        for key, inner in collector.inner(nodes).items()
        for name in (inner[0].name.value,)
    ]
    return _Selected(on.name, tuple(fields))


def _field(collector: Collector, key: str, field: GraphQLField | None, nodes: Sequence[FieldNode]) -> _Field:
    start, name = msgspec.json.encode(key) + b":", nodes[0].name.value
    if field is None:
        return _Field(start, name, (), None)
    arguments = tuple(sorted(collector.arguments(field, nodes[0]).items()))
    of = get_named_type(field.type)
    selected = _selection(collector, of, nodes) if isinstance(of, GraphQLObjectType) else None
    return _Field(start, name, arguments, selected)


class Introspection:
    """Answers about one schema. Those of late are kept, and what is asked twice at a time is written once."""

    def __init__(self, schema: LazySchema) -> None:
        self._schema = schema
        self._answers: OrderedDict[Hashable, Answer] = OrderedDict()

    def answer(self, collector: Collector, nodes: Sequence[FieldNode]) -> Answer:
        """What a field of the query's root, ``__schema`` or ``__type``, is answered; it may not be written yet."""
        asked = _field(collector, "", _META[nodes[0].name.value], nodes)
        answer = self._answers.get(asked)
        if answer is None:
            answer = self._answers[asked] = Answer(self._schema, asked)
        self._answers.move_to_end(asked)
        if len(self._answers) > _KEPT_MAX:
            self._answers.popitem(last=False)
        kept = 0
        for key in reversed(list(self._answers)):
            kept += self._answers[key].size
            if kept > _KEPT_BYTES_MAX and key != asked:
                del self._answers[key]
        return answer


class Answer:
    """The answer to one selection, in the making. See Text."""

    def __init__(self, schema: LazySchema, asked: _Field) -> None:
        self.size = 0  # bytes, so far
        self.pieces: list[bytes] = []
        self._rest: Iterator[bytes] | None = _Writing(schema).root(asked)
        self._refusal: RequestError | None = None

    @property
    def key(self) -> Hashable:
        """See Text: it is this one."""
        return self

    def step(self) -> bool:
        """See Text."""
        if self._refusal is not None:
            raise self._refusal
        if self._rest is None:
            return True
        try:
            written = list(islice(self._rest, _PIECES_PER_STEP))
            self.pieces.append(b"".join(written))
            self.size += len(self.pieces[-1])
            if self.size > _BYTES_MAX:
                raise too_much_introspection()
        except RequestError as refusal:
            self._refusal, self._rest = refusal, None
            self.pieces, self.size = [], 0
            raise
        if len(written) == _PIECES_PER_STEP:
            return False
        self._rest = None
        return True


def too_much_introspection() -> RequestError:
    """The refusal of an introspection that would be too large."""
    return RequestError(
        "validation-failed",
        "the document asks for too much introspection",
        path="$.query",
        hint="ask for less in one document",
    )


@dataclass(frozen=True, slots=True)
class _Info:
    """What graphql-core's resolvers of introspection read of its GraphQLResolveInfo."""

    schema: LazySchema


class _Writing:
    """Writes selections on the objects of one schema."""

    def __init__(self, schema: LazySchema) -> None:
        self._info = _Info(schema)
        # the types with thousands of fields; the others are written each in one go
        self._wide = tuple(each for each in (schema.query_type, schema.subscription_type) if each is not None)
        self._writers: dict[int, _Write] = {}  # of selections

    def root(self, asked: _Field) -> Iterator[bytes]:
        """The value of ``__schema`` or ``__type``, in pieces."""
        for _ in self._info.schema.gathered():
            yield b""
        meta = _META[asked.name]
        yield from self._pieces(meta.type, self._getter(meta, asked)(None), asked.selected)

    def _pieces(self, kind: Any, value: Any, selected: _Selected | None) -> Iterator[bytes]:
        """What ``_writer`` writes, in pieces where there can be thousands."""
        if isinstance(kind, GraphQLNonNull):
            kind = kind.of_type
        if value is None or selected is None:
            yield self._writer(kind, selected)(value)
        elif isinstance(kind, GraphQLList):
            before = b"["
            for item in value:
                yield before
                yield from self._pieces(kind.of_type, item, selected)
                before = b","
            yield b"]" if before == b"," else b"[]"
        elif selected.type_name != "__Schema" and value not in self._wide:
            yield self._object_writer(kind, selected)(value)
        else:
            before = b"{"
            for each in selected.fields:
                yield before + each.key
                before = b","
                if each.name == "__typename":
                    yield msgspec.json.encode(selected.type_name)
                else:
                    field = kind.fields[each.name]
                    yield from self._pieces(field.type, self._getter(field, each)(value), each.selected)
            yield b"}"

    def _getter(self, field: GraphQLField, asked: _Field) -> Callable[[Any], Any]:
        """What gives a field's value, of the object that has it."""
        resolve, info, arguments = field.resolve, self._info, dict(asked.arguments)
        assert resolve is not None
        if not arguments:
            return lambda value: resolve(value, info)
        return lambda value: resolve(value, info, **arguments)

    def _writer(self, kind: Any, selected: _Selected | None) -> _Write:
        """What writes a value of a type of introspection as JSON."""
        if isinstance(kind, GraphQLNonNull):
            kind = kind.of_type
        if isinstance(kind, GraphQLList):
            return _list_writer(self._writer(kind.of_type, selected))
        if selected is not None:
            return _remembering(self._object_writer(kind, selected))
        if isinstance(kind, GraphQLEnumType):
            return cache(lambda value: msgspec.json.encode(value and kind.coerce_output_value(value)))
        return msgspec.json.encode

    def _object_writer(self, kind: GraphQLObjectType, selected: _Selected) -> _Write:
        if id(selected) not in self._writers:
            self._writers[id(selected)] = self._members_writer(kind, selected)
        return self._writers[id(selected)]

    def _members_writer(self, kind: GraphQLObjectType, selected: _Selected) -> _Write:
        members: list[tuple[bytes, Callable[[Any], Any], _Write]] = []
        for each in selected.fields:
            if each.name == "__typename":
                text = msgspec.json.encode(selected.type_name)
                members.append((each.key, lambda value, text=text: text, bytes))  # type: ignore[misc]
            else:
                field = kind.fields[each.name]
                members.append((each.key, self._getter(field, each), self._writer(field.type, each.selected)))

        def write(value: Any) -> bytes:
            text = b"{%b}" % b",".join([key + member(get(value)) for key, get, member in members])
            _expect_small(len(text))
            return text

        return write


def _remembering(write: _Write) -> _Write:
    """Writes each object once, and null. For what many types have in common, not for the types themselves."""
    known: dict[Hashable, bytes] = {}

    def remembered(value: Any) -> bytes:
        if value is None:
            return b"null"
        # a field or a value comes with its name, in a pair made anew; the schema keeps what is in it alive
        place: Hashable = (value[0], id(value[1])) if type(value) is tuple else id(value)
        text = known.get(place)
        if text is None:
            text = known[place] = write(value)
        return text

    return remembered


def _list_writer(item: _Write) -> _Write:
    def write(values: Any) -> bytes:
        if values is None:
            return b"null"
        parts, size = [], 0
        for value in values:
            part = item(value)
            parts.append(part)
            size += len(part)
            _expect_small(size)
        return b"[%b]" % b",".join(parts)

    return write


def _expect_small(size: int) -> None:
    if size > _PIECE_BYTES_MAX:
        raise too_much_introspection()
