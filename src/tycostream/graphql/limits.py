"""What a request may cost before anybody validates it: its document weighed in one pass, its variables in another.

graphql-core validates 20,000 aliases without complaint, in 0.7 s; fragments that spread fragments grow exponentially
when they are collected; and it coerces what variables hold before anybody has looked at them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from tycostream.config.limits import RoleLimits
from tycostream.errors import RequestError
from tycostream.graphql.budget import values_in

SOURCE_CHARACTERS_MAX: Final = 256 * 1024
INTROSPECTION_LISTS_MAX: Final = 40  # the standard introspection query has nine
INTROSPECTION_FIELDS_MAX: Final = 2000
_TYPE_LISTS: Final = {"fields", "inputFields", "interfaces", "possibleTypes"}
_LISTS: Final = _TYPE_LISTS | {"types", "directives", "args", "enumValues"}
_INTROSPECTION: Final = ("__schema", "__type")


@dataclass(frozen=True, slots=True)
class Weight:
    """What is selected, with fragments wherever they are spread. Introspection has bounds of its own."""

    depth: int = 0  # of fields in fields
    nodes: int = 0  # fields with a selection
    fields: int = 0
    aliases: int = 0
    introspected: int = 0  # fields in __schema and __type

    def beside(self, other: Weight) -> Weight:
        """Both in one selection set, or in one document."""
        return Weight(
            max(self.depth, other.depth),
            self.nodes + other.nodes,
            self.fields + other.fields,
            self.aliases + other.aliases,
            self.introspected + other.introspected,
        )


def weigh(document: DocumentNode) -> Weight:
    """What a document selects: of all its operations together, for all are validated. In time linear in its text."""
    return _Scale(document).total()


class _Scale:
    """Weighs each fragment once, however often it is spread."""

    def __init__(self, document: DocumentNode) -> None:
        self._document = document
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._weights: dict[str, Weight] = {}

    def total(self) -> Weight:
        """The sum of the operations."""
        total = Weight()
        for node in self._document.definitions:
            if isinstance(node, OperationDefinitionNode):
                total = total.beside(self._selected(node.selection_set))
            elif isinstance(node, FragmentDefinitionNode):
                self._fragment(node.name.value)  # one that nothing spreads is validated too
        return total

    def _selected(self, selection_set: SelectionSetNode | None) -> Weight:
        depth = nodes = fields = aliases = introspected = 0
        for node in selection_set.selections if selection_set is not None else ():
            if isinstance(node, FieldNode):
                inner = self._field(node)
            elif isinstance(node, InlineFragmentNode):
                inner = self._selected(node.selection_set)
            elif isinstance(node, FragmentSpreadNode):
                inner = self._fragment(node.name.value)
            depth = max(depth, inner.depth)
            nodes += inner.nodes
            fields += inner.fields
            aliases += inner.aliases
            introspected += inner.introspected
        return Weight(depth, nodes, fields, aliases, introspected)

    def _field(self, node: FieldNode) -> Weight:
        inner = self._selected(node.selection_set)
        if node.name.value in _INTROSPECTION:  # tools ask for much there, and it multiplies no rows
            return Weight(introspected=1 + inner.fields + inner.introspected)
        return Weight(
            inner.depth + 1,
            inner.nodes + (node.selection_set is not None),
            inner.fields + 1,
            inner.aliases + (node.alias is not None),
            inner.introspected,
        )

    def _fragment(self, name: str) -> Weight:
        if name not in self._weights:
            self._weights[name] = (
                Weight()
            )  # a cycle ends here; validation names it, and fragments that are not there
            if name in self._fragments:
                self._weights[name] = self._selected(self._fragments[name].selection_set)
        return self._weights[name]


def check_weight(weight: Weight, limits: RoleLimits) -> None:
    """Refuse what is heavier than a role may ask for."""
    for name, found, most, said in (
        ("depth_limit", weight.depth, limits.depth_limit, "nests fields more than {} levels deep"),
        (
            "node_limit",
            weight.nodes,
            limits.node_limit,
            "selects more than {} nodes, fields that have fields",
        ),
        ("field_limit", weight.fields, limits.field_limit, "selects more than {} fields"),
        ("alias_limit", weight.aliases, limits.alias_limit, "gives more than {} aliases"),
    ):
        if found > most:
            raise RequestError(
                "validation-failed",
                f"the document {said.format(most)}",
                path="$.query",
                hint=f"ask for less in one document; limits.{name} is the limit",
                limit=name,
            )
    if weight.introspected > INTROSPECTION_FIELDS_MAX:
        raise _introspects()


def check_introspection(document: DocumentNode) -> None:
    """Bound what introspection multiplies: a list of all types costs 0.1 s, under a hundred aliases 10 s."""
    fragments = {
        node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
    }
    counted: dict[tuple[object, ...], int] = {}

    def lists(selection_set: SelectionSetNode | None, inside: bool, all_types: bool, nested: int) -> int:
        """How many lists are asked for; ``nested``: how many lists of types' parts, below the list of all types."""
        total = 0
        for node in selection_set.selections if selection_set is not None else ():
            if isinstance(node, InlineFragmentNode):
                total += lists(node.selection_set, inside, all_types, nested)
            elif isinstance(node, FragmentSpreadNode):
                use = (node.name.value, inside, all_types, nested)
                if use not in counted and node.name.value in fragments:
                    counted[use] = 0  # a cycle ends here; validation names it
                    counted[use] = lists(fragments[node.name.value].selection_set, inside, all_types, nested)
                total += counted.get(use, 0)
            elif isinstance(node, FieldNode):
                name = node.name.value
                deeper = nested + (all_types and name in _TYPE_LISTS)
                total += inside and name in _LISTS
                total += lists(
                    node.selection_set,
                    inside or name in _INTROSPECTION,
                    all_types or (inside and name == "types"),
                    deeper,
                )
                if deeper > 1:
                    total = INTROSPECTION_LISTS_MAX + 1
            if total > INTROSPECTION_LISTS_MAX:
                raise _introspects()
        return total

    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            lists(definition.selection_set, False, False, 0)


def introspection_refused(role: str) -> RequestError:
    """The error of a role that may not ask for the schema; ``__typename`` it may. In Hasura's words."""
    return RequestError(
        "not-supported",
        f'introspection is disabled for role: "{role}"',
        hint="introspection.disabled_for_roles says for whom",
        limit="introspection",
    )


def _introspects() -> RequestError:
    return RequestError(
        "validation-failed",
        "the document asks for too much introspection",
        path="$.query",
        hint="ask for less in one document",
    )


def check_variables(variables: Mapping[str, object], limits: RoleLimits) -> None:
    """Refuse more values than ``value_limit``, at any depth: each is coerced, at twenty times what counting it costs."""
    if values_in(variables, limits.value_limit) > limits.value_limit:
        raise RequestError(
            "validation-failed",
            f"the variables hold more than {limits.value_limit} values",
            path="$.variables",
            hint="ask for less in one request; limits.value_limit is the limit",
            limit="value_limit",
        )


def too_many_rows(most: int, path: str, *, live: bool) -> RequestError:
    """The error of an operation whose result has more rows than a plan's ``rows_max``; ``path`` is the root's."""
    limit = "live_rows_limit" if live else "rows_limit"
    return RequestError(
        "result-too-large",
        f"the result has more than {most} rows, with those nested in it",
        path=path,
        hint=f"ask for fewer with where: or limit:; limits.{limit} is the limit",
        limit=limit,
    )
