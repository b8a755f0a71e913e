"""From a validated document to a bound plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec
from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
)
from graphql.execution.values import VariableValues, get_directive_values

from tycostream.auth.session import ADMIN, Session
from tycostream.config.limits import RoleLimits
from tycostream.dataflow.predicate import conjunction
from tycostream.errors import RequestError
from tycostream.graphql import inputs
from tycostream.graphql.budget import Budget
from tycostream.graphql.fields import Collector, Fields
from tycostream.graphql.introspection import Introspection
from tycostream.graphql.lazy_schema import NO_QUERIES
from tycostream.graphql.naming import root_of
from tycostream.graphql.plan import (
    AggregateEncoder,
    Coalesce,
    Mode,
    Plan,
    RootPlan,
    RowEncoder,
    StaticRoot,
    Strategy,
    Written,
)
from tycostream.graphql.reading import of_veil, steps_of
from tycostream.graphql.rights import Rights
from tycostream.graphql.selections import Selections
from tycostream.graphql.source import Source
from tycostream.graphql.stream_cursor import placed, stream_cursor
from tycostream.graphql.stream_types import NOW

_COALESCE_MS_MAX = 3_600_000
_ALONE: Final = {Mode.CHANGES: "change feed", Mode.STREAM: "stream"}


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
        rights: Rights,
        limits: RoleLimits,
        introspection: Introspection,
    ) -> None:
        self._schema = schema
        self._introspection = introspection
        self._sources = sources
        self._operation = operation
        self._session = session
        self._rights = rights
        self._collector = Collector(document, variables, given, Budget(limits))
        self._selections = Selections(schema, self._collector, rights)
        live = operation.operation is OperationType.SUBSCRIPTION
        self._rows_max = limits.live_rows_limit if live else limits.rows_limit

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
        fields = self._collector.collect(self._operation.selection_set)
        if subscription:
            allowed = multi_root or any(
                d.name.value == "_multiple_top_level_fields" for d in self._operation.directives or ()
            )
            if not fields or (len(fields) > 1 and not allowed):
                raise RequestError("validation-failed", "subscriptions must select one top level field")
        roots = tuple(self._with_steps(self._root(key, nodes, root_type)) for key, nodes in fields.items())
        modes = [root.mode for root in roots if isinstance(root, RootPlan)]
        if subscription and not modes:
            # nothing would ever happen to it; GraphQL forbids introspection here for the same reason
            raise RequestError("validation-failed", "subscriptions must select a field of a source")
        for mode, what in _ALONE.items():
            if len(roots) > 1 and mode in modes:
                raise RequestError(
                    "validation-failed",
                    f"a {what} stands alone",
                    hint=f"give each _{mode.value} field a subscription of its own; one socket carries many",
                )
        parts = tuple((root.response_key, root.key) for root in roots)
        return Plan(
            subscription,
            roots,
            (subscription, parts),
            self._coalesce(fields),
            for_admin=self._session.role == ADMIN,
            role=self._session.role,
            variables=self._rights.variables,
        )

    # roots

    def _root(self, key: str, nodes: list[FieldNode], root_type: GraphQLObjectType) -> RootPlan | StaticRoot:
        name = nodes[0].name.value
        if name == "__typename":
            return StaticRoot(key, Written(msgspec.json.encode(root_type.name)))
        if name.startswith("__"):
            return StaticRoot(key, self._introspection.answer(self._collector, nodes))
        field = root_type.fields[name]
        if name == NO_QUERIES and not field.extensions:  # else a source is called so
            told = msgspec.json.encode("there is no source that this role may query")
            return StaticRoot(key, Written(told))
        owner, mode = root_of(field)
        source = self._sources[owner]
        path = f"$.selectionSet.{name}"  # Hasura's paths name fields, not aliases
        row_type = source.row_type
        if mode is Mode.CHANGES:
            return self._feed_root(key, source, nodes, self._collector.arguments(field, nodes[0]), path)
        if mode is Mode.STREAM:
            return self._stream_root(key, source, nodes, self._collector.arguments(field, nodes[0]), path)
        if mode is Mode.BY_PK:
            encoder = source.rows(self._selections.row(source, nodes, row_type.source, path), True)
            key_is = inputs.by_pk(row_type, self._collector.arguments(field, nodes[0]), f"{path}.args")
            predicate = self._rights.rows(source, key_is)
            return RootPlan(
                key,
                row_type.source,
                mode,
                predicate,
                encoder,
                key=(row_type.source, mode, predicate, encoder.key, self._session.role),
                row_type=row_type,
                rows_max=self._rows_max,
            )
        return self._list_root(key, source, mode, nodes, field)

    def _list_root(
        self, key: str, source: Source, mode: Mode, nodes: list[FieldNode], field: GraphQLField
    ) -> RootPlan:
        """A root over a window of rows: these, or aggregates over them."""
        row_type = source.row_type
        path = f"$.selectionSet.{nodes[0].name.value}"
        encoder: RowEncoder | AggregateEncoder
        if mode is Mode.AGGREGATE:
            encoder, asked = self._selections.aggregates(source, field, nodes, path)
        else:
            encoder = source.rows(self._selections.row(source, nodes, row_type.source, path), False)
            asked = self._selections.listed(source, field, nodes[0], path)
        return RootPlan(
            key,
            row_type.source,
            mode,
            asked.predicate,
            encoder,
            asked.order,
            asked.limit,
            asked.offset,
            key=(row_type.source, mode, asked, encoder.key, self._session.role),
            row_type=row_type,
            distinct_on=asked.distinct_on,
            rows_max=self._rows_max,
        )

    def _feed_root(
        self, key: str, source: Source, nodes: list[FieldNode], arguments: Mapping[str, Any], path: str
    ) -> RootPlan:
        row_type = source.row_type
        encoder = source.changes(self._selections.change_set(source, nodes))
        predicate = self._selections.where(source, arguments, f"{path}.args")
        snapshot = arguments.get("snapshot")
        veil = self._rights.veil(source, source.visible)
        return RootPlan(
            key,
            row_type.source,
            Mode.CHANGES,
            predicate,
            encoder,
            after=arguments.get("after"),
            snapshot=True if snapshot is None else snapshot,
            key=(row_type.source, Mode.CHANGES, predicate, veil, encoder.key, self._session.role),
            row_type=row_type,
            veil=veil,
            alike=self._rights.alike(source),
        )

    def _stream_root(
        self, key: str, source: Source, nodes: list[FieldNode], arguments: Mapping[str, Any], path: str
    ) -> RootPlan:
        row_type = source.row_type
        order, stream = stream_cursor(row_type, arguments, f"{path}.args")
        if any(get_directive_values(NOW, node, self._collector.variables) is not None for node in nodes):
            stream = replace(stream, now=True)
        encoder = source.rows(self._selections.row(source, nodes, row_type.source, path), False)
        asked = self._selections.where(source, arguments, f"{path}.args")
        predicate = conjunction([asked, placed(source, order, self._rights)])
        # where it begins is not part of the key: from there on all have the same
        shared = (row_type.source, Mode.STREAM, predicate, order, stream.batch_size)
        return RootPlan(
            key,
            row_type.source,
            Mode.STREAM,
            predicate,
            encoder,
            (order,),
            stream=stream,
            key=(*shared, encoder.key, self._session.role),
            row_type=row_type,
            rows_max=self._rows_max,
            veil=self._rights.veil(source, source.visible),
            alike=self._rights.alike(source),
        )

    def _with_steps(self, root: RootPlan | StaticRoot) -> RootPlan | StaticRoot:
        """The root, saying which relationships it follows and which other sources it reads."""
        if isinstance(root, StaticRoot):
            return root
        steps = frozenset(
            (
                *steps_of(root.source, root.predicate, root.order, root.encoder),
                *of_veil(root.source, root.veil),
            )
        )
        names = {step.join.source for step in steps} - {root.source}
        reads = tuple(self._rights.row_type(name) for name in sorted(names))
        return replace(root, steps=steps, reads=reads) if steps else root

    # policy

    def _coalesce(self, fields: Fields) -> Coalesce | None:
        directive = self._schema.get_directive("coalesce")
        assert directive is not None
        nodes: list[Any] = [self._operation, *(node for group in fields.values() for node in group)]
        for node in nodes:
            values = get_directive_values(directive, node, self._collector.variables)
            if values is not None:
                if not 0 <= values["ms"] <= _COALESCE_MS_MAX:
                    raise RequestError(
                        "validation-failed",
                        f"@coalesce(ms:) must be from 0 to {_COALESCE_MS_MAX}, but is {values['ms']}",
                    )
                return Coalesce(values["ms"], Strategy(values["strategy"] or "throttle"))
        return None
