"""What a document may cost before anybody validates it: one pass over its tree."""

from __future__ import annotations

from graphql import DocumentNode, FieldNode, FragmentSpreadNode, SelectionSetNode
from graphql.language import FragmentDefinitionNode, OperationDefinitionNode

from tycostream.errors import RequestError

FIELDS_MAX = 5_000
DEPTH_MAX = 50
TOKENS_MAX = 15_000
SOURCE_CHARACTERS_MAX = 256 * 1024


def check_limits(document: DocumentNode) -> None:
    """Refuse too many fields (fragments counted where they are spread) and too deep a nesting.

    graphql-core validates 20,000 aliases without complaint, in 0.7 s; and fragments that spread fragments grow
    exponentially when they are collected.
    """
    weights: dict[str, int] = {}
    fragments = {
        node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
    }

    def weigh(selection_set: SelectionSetNode | None, depth: int, path: frozenset[str]) -> int:
        if selection_set is None:
            return 0
        if depth > DEPTH_MAX:
            raise _refusal(f"the document is nested deeper than {DEPTH_MAX} levels")
        total = 0
        for node in selection_set.selections:
            if isinstance(node, FragmentSpreadNode):
                total += fragment(node.name.value, depth, path)
            else:
                inner = weigh(node.selection_set, depth + 1, path)  # type: ignore[attr-defined]
                total += inner + isinstance(node, FieldNode)
            if total > FIELDS_MAX:
                raise _refusal(f"the document selects more than {FIELDS_MAX} fields")
        return total

    def fragment(name: str, depth: int, path: frozenset[str]) -> int:
        if name in path or name not in fragments:
            return 0  # validation names cycles and unknown fragments
        if name not in weights:
            weights[name] = weigh(fragments[name].selection_set, depth + 1, path | {name})
        return weights[name]

    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode | FragmentDefinitionNode):
            weigh(node.selection_set, 0, frozenset())


def _refusal(message: str) -> RequestError:
    return RequestError("validation-failed", message, hint="ask for less in one document")
