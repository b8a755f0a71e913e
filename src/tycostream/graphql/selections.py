"""What is asked of a source's rows: which of them, in which order, and what is selected on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphql import FieldNode, GraphQLField, GraphQLSchema

from tycostream.dataflow.order import Term
from tycostream.dataflow.predicate import TRUE, Predicate
from tycostream.errors import RequestError
from tycostream.graphql import encode, inputs
from tycostream.graphql.aggregate_encode import Aggregates
from tycostream.graphql.aggregate_selections import aggregate_selection
from tycostream.graphql.comparisons import null
from tycostream.graphql.documents import ObjectSelection
from tycostream.graphql.fields import Collector
from tycostream.graphql.plan import Mode, Nested
from tycostream.graphql.rights import Rights
from tycostream.graphql.source import Source
from tycostream.json_path import json_path
from tycostream.json_shape import ListShape, ObjectShape, Shape


@dataclass(frozen=True, slots=True)
class Asked:
    """The arguments of a list of rows, bound."""

    predicate: Predicate = TRUE
    order: tuple[Term, ...] = ()
    distinct_on: tuple[int, ...] = ()
    limit: int | None = None
    offset: int = 0

    def without_rows(self) -> Asked:
        """Where only aggregates are asked for: without an order, unless a window depends on it."""
        return self if self.windowed else replace(self, order=())

    @property
    def windowed(self) -> bool:
        """Whether the order decides which rows are asked for."""
        return self.limit is not None or bool(self.offset or self.distinct_on)


class Selections:
    """Compiles selection sets and arguments of one operation. ``path``s are Hasura's: they name fields, not aliases."""

    def __init__(self, schema: GraphQLSchema, collector: Collector, rights: Rights) -> None:
        self._schema = schema
        self._collector = collector
        self._rights = rights

    def asked(self, source: Source, field: GraphQLField, node: FieldNode, path: str) -> Asked:
        """Which rows a list's arguments ask for; ``path`` is that of the field."""
        arguments = self._collector.arguments(field, node)
        path = f"{path}.args"
        predicate = self.where(source, arguments, path)
        written = self._collector.in_document_order(node, "order_by")
        order = inputs.order_by(source, written, f"{path}.order_by", self._rights)
        distinct, order = inputs.distinct_on(source, arguments.get("distinct_on"), order, path, self._rights)
        return Asked(
            predicate,
            self._rights.settled(source, order),
            distinct,
            inputs.window_bound(arguments.get("limit"), f"{path}.limit"),
            inputs.window_bound(arguments.get("offset"), f"{path}.offset") or 0,
        )

    def listed(self, source: Source, field: GraphQLField, node: FieldNode, path: str) -> Asked:
        """As ``asked``, of a list that is shown: no longer than the role may see."""
        asked = self.asked(source, field, node, path)
        return replace(asked, limit=self._rights.at_most(source, asked.limit))

    def where(self, source: Source, arguments: Mapping[str, Any], path: str) -> Predicate:
        """What is in sight, and satisfies the condition among a field's arguments; ``path`` is that of the arguments."""
        value, budget = arguments.get("where"), self._collector.budget
        asked = TRUE if value is None else inputs.where(source, value, f"{path}.where", budget, self._rights)
        return self._rights.rows(source, asked)

    def row(self, source: Source, nodes: Sequence[FieldNode], type_name: str, path: str) -> encode.Selection:
        """What is selected on a row; ``path`` is that of the field that holds it."""
        fields: list[tuple[str, int | encode.Member | encode.Document | Nested]] = []
        for key, inner in self._collector.inner(nodes).items():
            name = inner[0].name.value
            here = f"{path}.selectionSet.{name}"
            if name == "__typename":
                fields.append((key, encode.TYPENAME))
            elif name in source.related:
                fields.append((key, self._nested(source, type_name, inner, here)))
            elif name in source.totals:
                fields.append((key, self._nested_totals(source, type_name, inner, here)))
            else:
                fields.append((key, self._column(source, type_name, inner, here)))
        places = [
            place if isinstance(place, int) else place.column
            for _, place in fields
            if not isinstance(place, Nested)
        ]
        return encode.Selection(type_name, tuple(fields), self._rights.veil(source, places))

    def _nested(self, source: Source, type_name: str, nodes: Sequence[FieldNode], path: str) -> Nested:
        """A relationship selected on a row of ``source``."""
        relationship, target = source.related[nodes[0].name.value]
        selection = self.row(target, nodes, target.row_type.source, path)
        encoder = target.rows(selection, not relationship.many)
        join = relationship.join
        if not relationship.many:
            seen = self._rights.rows(target, TRUE)
            return Nested(join, Mode.BY_PK, seen, encoder, key=(join, Mode.BY_PK, seen, encoder.key))
        asked = self.listed(target, self._field(type_name, nodes[0]), nodes[0], path)
        return Nested(
            join,
            Mode.LIST,
            asked.predicate,
            encoder,
            asked.order,
            asked.limit,
            asked.offset,
            asked.distinct_on,
            key=(join, Mode.LIST, asked, encoder.key),
        )

    def _nested_totals(self, source: Source, type_name: str, nodes: Sequence[FieldNode], path: str) -> Nested:
        """Aggregates over the rows that a relationship leads to, selected on a row of ``source``."""
        relationship, target = source.totals[nodes[0].name.value]
        encoder, asked = self.aggregates(target, self._field(type_name, nodes[0]), nodes, path)
        return Nested(
            relationship.join,
            Mode.AGGREGATE,
            asked.predicate,
            encoder,
            asked.order,
            asked.limit,
            asked.offset,
            asked.distinct_on,
            key=(relationship.join, Mode.AGGREGATE, asked, encoder.key),
        )

    def aggregates(
        self, source: Source, field: GraphQLField, nodes: Sequence[FieldNode], path: str
    ) -> tuple[Aggregates, Asked]:
        """What is selected on ``T_aggregate``, and over which rows; ``path`` is that of the field that holds it."""
        selection = aggregate_selection(
            self._schema, self._collector, source, nodes, path, self.row, self._rights
        )
        if (
            selection.nodes
        ):  # what is computed is over all rows, whatever the role's limit for rows that are shown
            selection = replace(selection, nodes_max=self._rights.at_most(source, None))
        encoder = source.aggregates(selection)
        asked = self.asked(source, field, nodes[0], path)
        if encoder.nodes is None:
            asked = asked.without_rows()
        if encoder.nodes is not None or asked.windowed:  # else nobody arranges them
            asked = replace(asked, order=self._rights.noticed(source, asked.order, encoder.aggregates))
        return encoder, asked

    def _column(
        self, source: Source, type_name: str, nodes: Sequence[FieldNode], path: str
    ) -> int | encode.Member | encode.Document:
        place = source.place_of[nodes[0].name.value]
        if (shape := source.row_type.columns[place].document) is not None:
            return encode.Document(place, self._object(shape, nodes))
        steps = self._steps(nodes[0], type_name, f"{path}.args")
        return encode.Member(place, steps) if steps else place

    def _field(self, type_name: str, node: FieldNode) -> GraphQLField:
        row: Any = self._schema.type_map[type_name]
        field: GraphQLField = row.fields[node.name.value]
        return field

    def _object(self, shape: Shape, nodes: Sequence[FieldNode]) -> ObjectSelection:
        """What is selected on an object, or on those in a list."""
        while isinstance(shape, ListShape):
            shape = shape.item
        assert isinstance(shape, ObjectShape)
        fields: list[tuple[str, str, ObjectSelection | None]] = []
        for key, inner in self._collector.inner(nodes).items():
            name = inner[0].name.value
            selected = any(node.selection_set is not None for node in inner)
            fields.append((key, name, self._object(shape.fields[name], inner) if selected else None))
        return ObjectSelection(shape.name, tuple(fields))

    def _steps(self, node: FieldNode, type_name: str, path: str) -> tuple[str, ...]:
        """The ``path:`` of a JSON column, if it has one."""
        if not node.arguments:
            return ()
        given = self._collector.arguments(self._field(type_name, node), node)
        if "path" not in given:
            return ()
        if given["path"] is None:
            raise null("String", f"{path}.path")
        try:
            return json_path(given["path"])
        except ValueError as error:  # Hasura says it of the arguments together
            raise RequestError("validation-failed", str(error), path=path) from None

    def change_set(self, source: Source, nodes: Sequence[FieldNode]) -> encode.SetSelection:
        """What is selected on the sets of a change feed."""
        fields, changes = [], []
        for key, inner in self._collector.inner(nodes).items():
            field = inner[0].name.value
            fields.append((key, field))
            if field == "changes":
                path = f"$.selectionSet.{nodes[0].name.value}.selectionSet.changes"
                changes.append((key, self._change(source, inner, path)))
        if len(changes) > 1:
            raise RequestError(
                "validation-failed",
                "`changes` may be selected once",
                path=f"$.selectionSet.{nodes[0].name.value}.selectionSet.{changes[1][0]}",
            )
        return encode.SetSelection(f"{source.row_type.source}_change_set", tuple(fields), tuple(changes))

    def _change(self, source: Source, nodes: Sequence[FieldNode], path: str) -> encode.ChangeSelection:
        name = source.row_type.source
        fields, rows = [], []
        for key, inner in self._collector.inner(nodes).items():
            field = inner[0].name.value
            fields.append((key, field))
            if field in ("row", "old"):
                here = f"{path}.selectionSet.{field}"
                selection = self.row(source, inner, name if field == "row" else f"{name}_old", here)
                selection = replace(selection, veil=())  # a feed looks at its rows before they are written
                self._refuse_nested(source, inner, selection, here)
                rows.append((key, selection))
        return encode.ChangeSelection(f"{name}_change", tuple(fields), tuple(rows))

    def _refuse_nested(
        self, source: Source, nodes: Sequence[FieldNode], selection: encode.Selection, path: str
    ) -> None:
        """A change is of one source: what a row leads to may change when it does not."""
        if not selection.nested:
            return
        selected = self._collector.inner(nodes)
        key, nested = selection.nested[0]
        name = selected[key][0].name.value
        raise RequestError(
            "validation-failed",
            f"a row of a change feed has columns only, and {name!r} is a relationship",
            path=f"{path}.selectionSet.{name}",
            hint=f"subscribe to the rows of {source.row_type.source} for it, "
            f"or to the changes of {nested.join.source} besides",
        )
