"""What a document may cost before anybody validates it: one pass over its tree, and one over its introspection."""

from __future__ import annotations

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

from tycostream.errors import RequestError

FIELDS_MAX: Final = 5_000
DEPTH_MAX: Final = 50
TOKENS_MAX: Final = 15_000
SOURCE_CHARACTERS_MAX: Final = 256 * 1024
INTROSPECTION_LISTS_MAX: Final = 40  # the standard introspection query has nine
_TYPE_LISTS: Final = {"fields", "inputFields", "interfaces", "possibleTypes"}
_LISTS: Final = _TYPE_LISTS | {"types", "directives", "args", "enumValues"}


def check_limits(document: DocumentNode) -> None:
    """Refuse too many fields (fragments counted where they are spread), too deep a nesting, too much introspection.

    graphql-core validates 20,000 aliases without complaint, in 0.7 s; and fragments that spread fragments grow
    exponentially when they are collected.
    """
    fragments = {
        node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
    }
    weights: dict[str, int] = {}

    def weigh(selection_set: SelectionSetNode | None, depth: int, path: frozenset[str]) -> int:
        if selection_set is None:
            return 0
        if depth > DEPTH_MAX:
            raise _refusal(f"the document is nested deeper than {DEPTH_MAX} levels")
        total = 0
        for node in selection_set.selections:
            if isinstance(node, FragmentSpreadNode):
                total += fragment(node.name.value, depth, path)
            elif isinstance(node, FieldNode | InlineFragmentNode):
                total += weigh(node.selection_set, depth + 1, path) + isinstance(node, FieldNode)
            if total > FIELDS_MAX:
                raise _refusal(f"the document selects more than {FIELDS_MAX} fields")
        return total

    def fragment(name: str, depth: int, path: frozenset[str]) -> int:
        if name in path or name not in fragments:
            return 0  # validation names cycles and unknown fragments
        if name not in weights:
            weights[name] = weigh(fragments[name].selection_set, depth + 1, path | {name})
        return weights[name]

    total = 0
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode | FragmentDefinitionNode):
            weight = weigh(node.selection_set, 0, frozenset())
            total += weight if isinstance(node, OperationDefinitionNode) else 0
    if total > FIELDS_MAX:  # each operation alone may be small
        raise _refusal(f"the document selects more than {FIELDS_MAX} fields")
    _check_introspection(document, fragments)


def _check_introspection(document: DocumentNode, fragments: dict[str, FragmentDefinitionNode]) -> None:
    """Bound what introspection multiplies: a list of all types costs 0.1 s, under a hundred aliases 10 s."""
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
                    inside or name in ("__schema", "__type"),
                    all_types or (inside and name == "types"),
                    deeper,
                )
                if deeper > 1:
                    total = INTROSPECTION_LISTS_MAX + 1
            if total > INTROSPECTION_LISTS_MAX:
                raise _refusal("the document asks for too much introspection")
        return total

    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            lists(definition.selection_set, False, False, 0)


def _refusal(message: str) -> RequestError:
    return RequestError("validation-failed", message, path="$.query", hint="ask for less in one document")
