"""From a validated document to a bound plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLIncludeDirective,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLSkipDirective,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    Undefined,
    execute,
    value_from_ast_untyped,
)
from graphql.execution.values import VariableValues, get_argument_values, get_directive_values

from tycostream.auth.session import Session
from tycostream.dataflow.predicate import TRUE, Predicate
from tycostream.errors import RequestError
from tycostream.graphql import encode, inputs
from tycostream.graphql.comparisons import null
from tycostream.graphql.documents import ObjectSelection
from tycostream.graphql.json_path import json_path
from tycostream.graphql.plan import Coalesce, Mode, Plan, RootPlan, StaticRoot, Strategy
from tycostream.json_shape import ListShape, ObjectShape, Shape
from tycostream.rows import RowType

_COALESCE_MS_MAX = 3_600_000
_ENCODERS_MAX = 256  # per source and kind
Fields = dict[str, list[FieldNode]]
_Encoder = TypeVar("_Encoder", encode.Rows, encode.Changes)


class Source:
    """A source as the compiler sees it: its row type and how its cells are written."""

    def __init__(self, row_type: RowType, *, stringify_numbers: bool) -> None:
        self.row_type = row_type
        self._stringify = stringify_numbers
        self._cells = encode.Cells(row_type, stringify_numbers=stringify_numbers)
        documents = tuple(column.document and column.document.made_of for column in row_type.columns)
        self._documents = documents if any(documents) else None
        # Generating code costs 200 µs, a cached encoder 1 µs; selections are equal far more often than arguments.
        self.rows = lru_cache(_ENCODERS_MAX)(self._rows)
        self.changes = lru_cache(_ENCODERS_MAX)(self._changes)
        self.place_of = {column.field: i for i, column in enumerate(row_type.columns)}

    def _rows(self, selection: encode.Selection, single: bool) -> encode.Rows:
        return self._keyed(encode.Rows(selection, self._cells, single=single))

    def _changes(self, selection: encode.SetSelection) -> encode.Changes:
        return self._keyed(encode.Changes(selection, self.row_type, self._cells))

    def _keyed(self, encoder: _Encoder) -> _Encoder:
        """Other bytes, another key: a reload may change how numbers and documents are written while cohorts live."""
        if self._documents:
            encoder.key = (self._documents, encoder.key)
        if self._stringify:
            encoder.key = ("stringified", encoder.key)
        return encoder


class Compiler:
    """One operation's compilation: the document, its variables and who asks."""

    def __init__(
        self,
        schema: GraphQLSchema,
        sources: Mapping[str, Source],
        document: DocumentNode,
        operation: OperationDefinitionNode,
        variables: VariableValues,
        given: Mapping[str, object],
        session: Session,
    ) -> None:
        self._schema = schema
        self._sources = sources
        self._document = document
        self._operation = operation
        self._variables = variables
        self._given = given
        self._session = session
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }

    def plan(self, *, multi_root: bool) -> Plan:
        """The bound plan; RequestError if a value or a combination is not allowed."""
        subscription = self._operation.operation is OperationType.SUBSCRIPTION
        root_type = self._schema.get_root_type(self._operation.operation)
        if root_type is None:
            raise RequestError(
                "validation-failed",
                f"no {self._operation.operation.value}s exist",
                hint="no source is configured",
            )
        fields = self._collect(self._operation.selection_set)
        if subscription:
            allowed = multi_root or any(
                d.name.value == "_multiple_top_level_fields" for d in self._operation.directives or ()
            )
            if not fields or (len(fields) > 1 and not allowed):
                raise RequestError("validation-failed", "subscriptions must select one top level field")
        roots = tuple(self._root(key, nodes, root_type) for key, nodes in fields.items())
        modes = [root.mode for root in roots if isinstance(root, RootPlan)]
        if subscription and not modes:
            # nothing would ever happen to it; GraphQL forbids introspection here for the same reason
            raise RequestError("validation-failed", "subscriptions must select a field of a source")
        if len(roots) > 1 and Mode.CHANGES in modes:
            raise RequestError(
                "validation-failed",
                "a change feed stands alone",
                hint="give each _changes field a subscription of its own; one socket carries many",
            )
        # a static root's value is part of the key: what is shared must be the same bytes
        parts = tuple(
            (root.response_key, root.value if isinstance(root, StaticRoot) else root.key) for root in roots
        )
        return Plan(subscription, roots, (subscription, parts), self._coalesce(fields))

    # selections

    def _collect(self, *selection_sets: SelectionSetNode | None) -> Fields:
        """The fields of selection sets by response key, fragments and @include/@skip resolved, merged."""
        fields: Fields = {}
        for selection_set in selection_sets:
            if selection_set is not None:
                self._collect_into(fields, selection_set, set())
        return fields

    def _collect_into(self, fields: Fields, selection_set: SelectionSetNode, seen: set[str]) -> None:
        for node in selection_set.selections:
            if not self._included(node):
                continue
            if isinstance(node, FieldNode):
                key = node.alias.value if node.alias else node.name.value
                fields.setdefault(key, []).append(node)
            elif isinstance(node, InlineFragmentNode):
                self._collect_into(fields, node.selection_set, seen)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
                # every type here is an object type: a fragment that validated applies
                self._collect_into(
                    fields, self._fragments[node.name.value].selection_set, seen | {node.name.value}
                )

    def _included(self, node: Any) -> bool:
        skip = get_directive_values(GraphQLSkipDirective, node, self._variables)
        if skip is not None and skip["if"] is True:
            return False
        include = get_directive_values(GraphQLIncludeDirective, node, self._variables)
        return not (include is not None and include["if"] is False)

    def _inner(self, nodes: Sequence[FieldNode]) -> Fields:
        return self._collect(*(node.selection_set for node in nodes))

    def _selection(
        self, source: Source, nodes: Sequence[FieldNode], type_name: str, path: str
    ) -> encode.Selection:
        """What is selected on a row; ``path`` is that of the field that holds it."""
        fields: list[tuple[str, int | encode.Member | encode.Document]] = []
        for key, inner in self._inner(nodes).items():
            name = inner[0].name.value
            if name == "__typename":
                fields.append((key, encode.TYPENAME))
                continue
            place = source.place_of[name]
            if (shape := source.row_type.columns[place].document) is not None:
                fields.append((key, encode.Document(place, self._selected_object(shape, inner))))
                continue
            steps = self._steps(inner[0], type_name, f"{path}.selectionSet.{name}.args")
            fields.append((key, encode.Member(place, steps) if steps else place))
        return encode.Selection(type_name, tuple(fields))

    def _selected_object(self, shape: Shape, nodes: Sequence[FieldNode]) -> ObjectSelection:
        """What is selected on an object, or on those in a list."""
        while isinstance(shape, ListShape):
            shape = shape.item
        assert isinstance(shape, ObjectShape)
        fields: list[tuple[str, str, ObjectSelection | None]] = []
        for key, inner in self._inner(nodes).items():
            name = inner[0].name.value
            selected = any(node.selection_set is not None for node in inner)
            fields.append((key, name, self._selected_object(shape.fields[name], inner) if selected else None))
        return ObjectSelection(shape.name, tuple(fields))

    def _steps(self, node: FieldNode, type_name: str, path: str) -> tuple[str, ...]:
        """The ``path:`` of a JSON column, if it has one."""
        if not node.arguments:
            return ()
        row: Any = self._schema.type_map[type_name]
        given = get_argument_values(row.fields[node.name.value], node, self._variables)
        if "path" not in given:
            return ()
        if given["path"] is None:
            raise null("String", f"{path}.path")
        try:
            return json_path(given["path"])
        except ValueError as error:  # Hasura says it of the arguments together
            raise RequestError("validation-failed", str(error), path=path) from None

    def _change_selection(
        self, source: Source, nodes: Sequence[FieldNode], path: str
    ) -> encode.ChangeSelection:
        name = source.row_type.source
        fields, rows = [], []
        for key, inner in self._inner(nodes).items():
            field = inner[0].name.value
            fields.append((key, field))
            if field in ("row", "old"):
                type_name = name if field == "row" else f"{name}_old"
                rows.append((key, self._selection(source, inner, type_name, f"{path}.selectionSet.{field}")))
        return encode.ChangeSelection(f"{name}_change", tuple(fields), tuple(rows))

    def _set_selection(self, source: Source, nodes: Sequence[FieldNode]) -> encode.SetSelection:
        fields, changes = [], []
        for key, inner in self._inner(nodes).items():
            field = inner[0].name.value
            fields.append((key, field))
            if field == "changes":
                path = f"$.selectionSet.{nodes[0].name.value}.selectionSet.changes"
                changes.append((key, self._change_selection(source, inner, path)))
        if len(changes) > 1:
            raise RequestError(
                "validation-failed",
                "`changes` may be selected once",
                path=f"$.selectionSet.{nodes[0].name.value}.selectionSet.{changes[1][0]}",
            )
        return encode.SetSelection(f"{source.row_type.source}_change_set", tuple(fields), tuple(changes))

    # roots

    def _root(self, key: str, nodes: list[FieldNode], root_type: GraphQLObjectType) -> RootPlan | StaticRoot:
        name = nodes[0].name.value
        if name == "__typename":
            return StaticRoot(key, msgspec.json.encode(root_type.name))
        if name.startswith("__"):
            return StaticRoot(key, self._introspect(nodes))
        source, mode = self._source_of(name)
        arguments = get_argument_values(root_type.fields[name], nodes[0], self._variables)
        path = f"$.selectionSet.{name}.args"  # Hasura's paths name fields, not aliases
        row_type = source.row_type
        if mode is Mode.CHANGES:
            return self._feed_root(key, source, nodes, arguments, path)
        selection = self._selection(source, nodes, row_type.source, f"$.selectionSet.{name}")
        encoder = source.rows(selection, mode is Mode.BY_PK)
        if mode is Mode.BY_PK:
            predicate = inputs.by_pk(row_type, arguments, path)
            return RootPlan(
                key,
                row_type.source,
                mode,
                predicate,
                encoder,
                key=(row_type.source, mode, predicate, encoder.key, self._session.role),
                row_type=row_type,
            )
        predicate = self._where(row_type, arguments, path)
        order = inputs.order_by(row_type, self._in_document_order(nodes[0], "order_by"))
        distinct, order = inputs.distinct_on(row_type, arguments.get("distinct_on"), order, path)
        limit = inputs.window_bound(arguments.get("limit"), f"{path}.limit")
        offset = inputs.window_bound(arguments.get("offset"), f"{path}.offset") or 0
        window = (order, distinct, limit, offset)
        plan_key = (row_type.source, mode, predicate, window, encoder.key, self._session.role)
        return RootPlan(
            key,
            row_type.source,
            mode,
            predicate,
            encoder,
            order,
            limit,
            offset,
            key=plan_key,
            row_type=row_type,
            distinct_on=distinct,
        )

    def _feed_root(
        self, key: str, source: Source, nodes: list[FieldNode], arguments: Mapping[str, Any], path: str
    ) -> RootPlan:
        row_type = source.row_type
        encoder = source.changes(self._set_selection(source, nodes))
        predicate = self._where(row_type, arguments, path)
        snapshot = arguments.get("snapshot")
        return RootPlan(
            key,
            row_type.source,
            Mode.CHANGES,
            predicate,
            encoder,
            after=arguments.get("after"),
            snapshot=True if snapshot is None else snapshot,
            key=(row_type.source, Mode.CHANGES, predicate, encoder.key, self._session.role),
            row_type=row_type,
        )

    def _where(self, row_type: RowType, arguments: Mapping[str, Any], path: str) -> Predicate:
        value = arguments.get("where")
        return TRUE if value is None else inputs.where(row_type, value, f"{path}.where")

    def _source_of(self, field: str) -> tuple[Source, Mode]:
        if field in self._sources:
            return self._sources[field], Mode.LIST
        if field.endswith("_by_pk"):
            return self._sources[field.removesuffix("_by_pk")], Mode.BY_PK
        return self._sources[field.removesuffix("_changes")], Mode.CHANGES

    def _in_document_order(self, node: FieldNode, name: str) -> list[dict[str, Any]]:
        """An argument as it was written: coercion sorts an object's fields as the type has them."""
        for argument in node.arguments or ():
            if argument.name.value == name:
                value = value_from_ast_untyped(argument.value, {**self._variables.coerced, **self._given})
                if value is None or value is Undefined:
                    return []
                items = value if isinstance(value, list) else [value]
                return [item for item in items if item is not None]
        return []

    def _introspect(self, nodes: list[FieldNode]) -> bytes:
        """Ask graphql-core, with a document that holds this field only."""
        query = OperationDefinitionNode(
            operation=OperationType.QUERY,
            variable_definitions=self._operation.variable_definitions,
            directives=(),
            selection_set=SelectionSetNode(selections=tuple(nodes)),
        )
        document = DocumentNode(definitions=(query, *self._fragments.values()))
        result: Any = execute(self._schema, document, variable_values=self._variables.coerced)
        if result.errors:
            raise RequestError("validation-failed", result.errors[0].message)
        return msgspec.json.encode(next(iter(result.data.values())))

    # policy

    def _coalesce(self, fields: Fields) -> Coalesce | None:
        directive = self._schema.get_directive("coalesce")
        assert directive is not None
        nodes: list[Any] = [self._operation, *(node for group in fields.values() for node in group)]
        for node in nodes:
            values = get_directive_values(directive, node, self._variables)
            if values is not None:
                if not 0 <= values["ms"] <= _COALESCE_MS_MAX:
                    raise RequestError(
                        "validation-failed",
                        f"@coalesce(ms:) must be from 0 to {_COALESCE_MS_MAX}, but is {values['ms']}",
                    )
                return Coalesce(values["ms"], Strategy(values["strategy"] or "throttle"))
        return None
