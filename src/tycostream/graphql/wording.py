"""graphql-core's errors in Hasura's words, each with the JSON path of its place in the document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from graphql import (
    BooleanValueNode,
    DocumentNode,
    FieldNode,
    FloatValueNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    Node,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
)

from tycostream.errors import RequestError
from tycostream.graphql.suggestions import Meant

_UNKNOWN_FIELD: Final = re.compile(r"Cannot query field '([^']*)' on type '([^']*)'\.")
_UNKNOWN_INPUT: Final = re.compile(
    r"Expected value of type '([^']*)' not to include unknown field '([^']*)'.*", re.DOTALL
)
_UNKNOWN_ARGUMENT: Final = re.compile(r"Unknown argument '([^']*)' on field '([^'.]*)\.([^']*)'\.")
_UNKNOWN_TYPE: Final = re.compile(r"Unknown type '([^']*)'\.")
_NO_VALUE: Final = re.compile(r"Value '([^']*)' does not exist in '([^']*)' enum\.")
_NOT_A_VALUE: Final = re.compile(r"Enum '([^']*)' cannot represent non-enum value: \"?([^\"]*)\"?\.")
_NULL: Final = re.compile(r"Expected value of non-null type '(.*)!' not to be None\.")
_COMPARING: Final = ("_comparison_exp", "_cast_exp")
_OPERATORS: Final = "docs/operators.md has the operators of each type, and why there are no others"
_MESSAGE_MAX: Final = 1000
_DIGITS_SHOWN_MAX: Final = 40


def translated(error: GraphQLError, meant: Meant, document: DocumentNode | None = None) -> RequestError:
    """The error for the client: code ``validation-failed``, a path, a suggestion as the hint."""
    message, hint = error.message, ""
    path = path_of(document, error.nodes[0]) if document is not None and error.nodes else "$"
    if match := _UNKNOWN_FIELD.fullmatch(message):
        message = f"field '{match[1]}' not found in type: '{match[2]}'"
        hint = meant.field(match[2], match[1])
    elif match := _UNKNOWN_INPUT.fullmatch(message):
        message = f"field '{match[2]}' not found in type: '{match[1]}'"
        hint = meant.field(match[1], match[2]) or (_OPERATORS if match[1].endswith(_COMPARING) else "")
        path = path if path.endswith(f".{match[2]}") else f"{path}.{match[2]}"
    elif match := _UNKNOWN_ARGUMENT.fullmatch(message):
        message = f"'{match[3]}' has no argument named '{match[1]}'"
        hint = meant.argument(match[2], match[3], match[1])
    elif match := _UNKNOWN_TYPE.fullmatch(message):
        hint = meant.type(match[1])
    elif match := _NO_VALUE.fullmatch(message):
        hint = meant.value(match[2], match[1])
    elif match := _NOT_A_VALUE.fullmatch(message):
        hint = meant.value(match[1], match[2])
    elif message.startswith("Int cannot represent") and error.nodes:
        non_negative = (
            "non-negative " if path.endswith((".args.limit", ".args.offset", ".args.batch_size")) else ""
        )
        message = f"expected a {non_negative}32-bit integer for type 'Int', but found {_kind(error.nodes[0])}"
    elif match := _NULL.fullmatch(message):
        message = f"unexpected null value for type '{match[1]}'"
    elif message == "Validation aborted.":
        message = "the document repeats fields or fragments too often to be validated"
        hint = "select each field once, and spread each fragment where it is needed only"
    elif len(message) > _MESSAGE_MAX:
        message = message[:_MESSAGE_MAX] + "…"  # graphql-core quotes a value of any length
    return RequestError("validation-failed", message, path=path, hint=hint)


def _kind(node: Node) -> str:
    match node:
        case StringValueNode():
            return "a string"
        case BooleanValueNode():
            return "a boolean"
        case FloatValueNode():
            return "a float"
        case ListValueNode():
            return "a list"
        case ObjectValueNode():
            return "an object"
        case IntValueNode() if len(node.value) <= _DIGITS_SHOWN_MAX:
            return node.value
        case IntValueNode():
            return "a very long number"
    return "another value"


def path_of(document: DocumentNode, target: Node) -> str:
    """Where ``target`` stands, as Hasura says it: ``$.selectionSet.trades.args.where.id``; ``$`` if nowhere.

    A node of a fragment has the path of the fragment's first use.
    """
    fragments = {
        node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
    }
    below = ""
    if target.loc is None:
        target, below = _original(target)
    used: set[str] = set()  # each fragment is walked once: spreads of spreads grow exponentially

    def selections(selection_set: SelectionSetNode | None, path: str) -> Iterator[tuple[Node, str]]:
        for node in selection_set.selections if selection_set is not None else ():
            if isinstance(node, FieldNode):
                here = f"{path}.selectionSet.{node.name.value}"
                yield node, here
                for argument in node.arguments or ():
                    inside = f"{here}.args.{argument.name.value}"
                    yield argument, inside
                    yield from values(argument.value, inside)
                yield from selections(node.selection_set, here)
            elif isinstance(node, InlineFragmentNode):
                yield from selections(node.selection_set, path)
            elif isinstance(node, FragmentSpreadNode):
                yield node, path
                name = node.name.value
                if name in fragments and name not in used:
                    used.add(name)
                    yield from selections(fragments[name].selection_set, path)

    def values(node: Node, path: str) -> Iterator[tuple[Node, str]]:
        yield node, path
        if isinstance(node, ObjectValueNode):
            for field in node.fields:
                here = f"{path}.{field.name.value}"
                yield field, here
                yield from values(field.value, here)
        elif isinstance(node, ListValueNode):
            for n, item in enumerate(node.values):
                yield from values(item, f"{path}[{n}]")

    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            for node, path in selections(definition.selection_set, "$"):
                if node is target:
                    return path.removesuffix(below)
    return "$"


def _original(node: Node) -> tuple[Node, str]:
    """graphql-core tells of a copy of a list or an object that a scalar cannot be; what is innermost is the document's.

    That node, and how its path goes on after that of ``node``.
    """
    below = ""
    while True:
        match node:
            case ListValueNode(values=(first, *_)):
                node, below = first, f"{below}[0]"
            case ObjectValueNode(fields=(first, *_)):
                node, below = first.value, f"{below}.{first.name.value}"
            case _:
                return node, below
