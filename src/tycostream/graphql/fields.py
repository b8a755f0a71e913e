"""The fields of an operation as they are to be answered: fragments, directives, variables and arguments resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLIncludeDirective,
    GraphQLSkipDirective,
    InlineFragmentNode,
    SelectionSetNode,
    Undefined,
    value_from_ast_untyped,
)
from graphql.execution.values import VariableValues, get_argument_values, get_directive_values

from tycostream.graphql.budget import Budget

Fields = dict[str, list[FieldNode]]  # by response key, in order; several nodes are merged


class Collector:
    """One operation's fields. ``given``: the variables as they came, before they were coerced.

    What arguments hold is counted here, field by field, so that nothing that reads them has to.
    """

    def __init__(
        self, document: DocumentNode, variables: VariableValues, given: Mapping[str, object], budget: Budget
    ) -> None:
        self.budget = budget
        self.variables = variables
        self.fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._given = given

    def collect(self, *selection_sets: SelectionSetNode | None) -> Fields:
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
                    fields, self.fragments[node.name.value].selection_set, seen | {node.name.value}
                )

    def _included(self, node: Any) -> bool:
        skip = get_directive_values(GraphQLSkipDirective, node, self.variables)
        if skip is not None and skip["if"] is True:
            return False
        include = get_directive_values(GraphQLIncludeDirective, node, self.variables)
        return not (include is not None and include["if"] is False)

    def inner(self, nodes: Sequence[FieldNode]) -> Fields:
        """What is selected on a field that several nodes ask for."""
        return self.collect(*(node.selection_set for node in nodes))

    def arguments(self, field: GraphQLField, node: FieldNode) -> dict[str, Any]:
        """The arguments of a field, coerced; what is absent and has no default is absent."""
        found = get_argument_values(field, node, self.variables)
        self.budget.arguments(found)
        return found

    @cached_property
    def _as_written(self) -> dict[str, Any]:
        """The variables before coercion: as they came, or as the document has their defaults."""
        values: dict[str, Any] = {}
        for name, source in self.variables.sources.items():
            default = source.signature.default
            if default is not None and default.literal is not None:
                values[name] = value_from_ast_untyped(default.literal)
        return values | dict(self._given)

    def in_document_order(self, node: FieldNode, name: str) -> list[dict[str, Any]]:
        """An argument as it was written: coercion sorts an object's fields as the type has them."""
        for argument in node.arguments or ():
            if argument.name.value == name:
                value = value_from_ast_untyped(argument.value, self._as_written)
                if value is None or value is Undefined:
                    return []
                items = value if isinstance(value, list) else [value]
                return [item for item in items if item is not None]
        return []
