"""From a request's text to a plan: parse, limit, validate, coerce, compile; each document only once."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    SingleFieldSubscriptionsRule,
    parse,
    specified_rules,
    validate,
)
from graphql.execution.values import VariableValues, get_variable_values

from tycostream.auth.session import Session
from tycostream.errors import RequestError
from tycostream.graphql.compile import Compiler, Source
from tycostream.graphql.limits import SOURCE_CHARACTERS_MAX, TOKENS_MAX, check_limits
from tycostream.graphql.plan import Plan
from tycostream.graphql.schema import build_schema
from tycostream.rows import RowType

_UNKNOWN_FIELD = re.compile(r"Cannot query field '([^']*)' on type '([^']*)'\.(.*)", re.DOTALL)
_ERRORS_MAX = 20
# one root field a subscription is our rule too, in Hasura's words and with its exception: see Compiler.plan
_RULES = [rule for rule in specified_rules if rule is not SingleFieldSubscriptionsRule]


class InvalidRequest(Exception):
    """A request that cannot be planned; ``errors`` says why, all of it."""

    def __init__(self, errors: Sequence[RequestError]) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = tuple(errors)


class Planner:
    """Plans for one schema. Documents are parsed and validated once; the cache is the only state."""

    def __init__(
        self,
        row_types: Sequence[RowType],
        *,
        stringify_numbers: bool = False,
        multi_root_subscriptions: bool = False,
        cache_size: int = 1000,
    ) -> None:
        self.schema = build_schema(row_types, stringify_numbers=stringify_numbers)
        self._sources = {
            row_type.source: Source(row_type, stringify_numbers=stringify_numbers) for row_type in row_types
        }
        self._multi_root = multi_root_subscriptions
        self._cache_size = cache_size
        self._documents: OrderedDict[str, DocumentNode] = OrderedDict()

    def plan(
        self,
        query: str,
        operation_name: str | None,
        variables: Mapping[str, object] | None,
        session: Session,
    ) -> Plan:
        """The bound plan of an operation; InvalidRequest if it has none."""
        try:
            document = self._document(query)
            operation = self._operation(document, operation_name)
            values = self._variables(operation, variables or {})
            compiler = Compiler(
                self.schema, self._sources, document, operation, values, variables or {}, session
            )
            return compiler.plan(multi_root=self._multi_root)
        except RequestError as error:
            raise InvalidRequest([error]) from None
        except GraphQLError as error:
            raise InvalidRequest([_translated(error)]) from None
        except RecursionError:
            raise InvalidRequest(
                [RequestError("validation-failed", "the document or its variables are nested too deeply")]
            ) from None

    def _document(self, query: str) -> DocumentNode:
        document = self._documents.get(query)
        if document is not None:
            self._documents.move_to_end(query)
            return document
        if len(query) > SOURCE_CHARACTERS_MAX:
            raise RequestError(
                "validation-failed",
                f"the document has more than {SOURCE_CHARACTERS_MAX} characters",
                path="$.query",
            )
        try:
            document = parse(query, max_tokens=TOKENS_MAX, allow_empty_selection_sets=False)
        except GraphQLSyntaxError as error:
            raise RequestError(
                "validation-failed", "not a valid graphql query", path="$.query", detail=error.message
            ) from None
        check_limits(document)
        errors = validate(self.schema, document, _RULES, max_errors=_ERRORS_MAX)
        if errors:
            raise InvalidRequest([_translated(error) for error in errors])
        self._documents[query] = document
        if len(self._documents) > self._cache_size:
            self._documents.popitem(last=False)
        return document

    def _operation(self, document: DocumentNode, name: str | None) -> OperationDefinitionNode:
        operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        if not operations:
            raise RequestError("validation-failed", "the document holds no operation", path="$.query")
        if not name:
            if len(operations) > 1:
                raise RequestError(
                    "validation-failed",
                    "exactly one operation has to be present in the document when operationName is not specified",
                    path="$.operationName",
                )
            return operations[0]
        for operation in operations:
            if operation.name is not None and operation.name.value == name:
                return operation
        raise RequestError(
            "validation-failed", f"no such operation found in the document: {name!r}", path="$.operationName"
        )

    def _variables(self, operation: OperationDefinitionNode, given: Mapping[str, object]) -> VariableValues:
        result = get_variable_values(
            self.schema, operation.variable_definitions or (), dict(given), max_errors=_ERRORS_MAX
        )
        if isinstance(result, list):
            raise InvalidRequest(
                [RequestError("validation-failed", error.message, path="$.variables") for error in result]
            )
        return result


def _translated(error: GraphQLError) -> RequestError:
    """graphql-core's error in Hasura's words, with the JSON path of the field."""
    match = _UNKNOWN_FIELD.fullmatch(error.message)
    if match:
        field, type_name, suggestion = match.groups()
        return RequestError(
            "validation-failed",
            f"field '{field}' not found in type: '{type_name}'",
            path=f"$.selectionSet.{field}"
            if type_name.endswith("_root")
            else f"$.selectionSet.{type_name}.selectionSet.{field}",
            hint=suggestion.strip(),
        )
    return RequestError("validation-failed", error.message)
