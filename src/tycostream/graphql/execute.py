"""From a request's text to a plan: parse, limit, validate, coerce, compile; each document only once."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    SingleFieldSubscriptionsRule,
    parse,
    specified_rules,
    validate,
)
from graphql.execution.values import VariableValues, get_variable_values

from tycostream.auth.session import ADMIN, Session
from tycostream.config.limits import LimitsConfig, RoleLimits
from tycostream.config.model import SourceConfig
from tycostream.errors import RequestError
from tycostream.graphql.compile import Compiler
from tycostream.graphql.exact import exact_floats
from tycostream.graphql.introspection import Introspection
from tycostream.graphql.limits import (
    SOURCE_CHARACTERS_MAX,
    Weight,
    check_introspection,
    check_variables,
    check_weight,
    introspection_refused,
    weigh,
)
from tycostream.graphql.plan import Plan
from tycostream.graphql.relationships import Relationships, resolved
from tycostream.graphql.rights import Permits, Rights
from tycostream.graphql.roles import PermissionMisfit, permissions_of, permitted
from tycostream.graphql.schema import NO_SOURCES, build_schema
from tycostream.graphql.source import compiled_sources
from tycostream.graphql.suggestions import Meant
from tycostream.graphql.trusted import ANY_DOCUMENT, DocumentId, TrustedDocuments
from tycostream.graphql.wording import translated
from tycostream.rows import RowType

_LIMITS = LimitsConfig()
NO_ROLES: Final[Mapping[str, Sequence[str]]] = MappingProxyType({})
_ERRORS_MAX = 10  # each quotes its value, however large
_CACHED_CHARACTERS_MAX = 4 * 2**20  # of all cached documents: a tree takes about a hundred times its text
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
        sources: Mapping[str, SourceConfig] = NO_SOURCES,
        limits: LimitsConfig = _LIMITS,
        stringify_numbers: bool = False,
        multi_root_subscriptions: bool = False,
        cache_size: int = 1000,
        role: str = ADMIN,
        trusted: TrustedDocuments = ANY_DOCUMENT,
        introspection: bool = True,
        inherited: Mapping[str, Sequence[str]] = NO_ROLES,
    ) -> None:
        """``inherited``: which roles see what others see together. ``role``: for whom it plans. Of any other than admin only what a permission shows is there.

        ``trusted``: the documents that it may send; ``introspection``: whether it may ask for the schema.

        ``misfits``: the role's permissions that show nothing, for they do not fit the sources.
        """
        relationships: Relationships
        relationships, _ = resolved(sources, {row_type.source: row_type for row_type in row_types})
        made = functools.partial(compiled_sources, stringify_numbers=stringify_numbers)
        self._role = role
        self._sources = made(row_types, relationships)
        self.misfits: Sequence[PermissionMisfit] = ()
        permissions, whole = None, self._sources
        if role != ADMIN:
            permissions, self.misfits = permissions_of(role, sources, whole, inherited)
            shown = [row_type for row_type in row_types if row_type.source in permissions]
            self._sources = made(shown, permitted(relationships, permissions), permissions=permissions)
        self._permits = Permits(permissions, whole)
        self.schema = build_schema(
            row_types,
            sources=sources,
            stringify_numbers=stringify_numbers,
            permissions=permissions,
            relationships=relationships,
        )
        self._answers = Introspection(self.schema)
        self._limits = limits
        self._limits_of_roles = {role: limits.of(role) for role in limits.per_role}
        self._multi_root = multi_root_subscriptions
        self._trusted = trusted
        self._introspection = introspection
        self._cache_size = cache_size
        self._documents: OrderedDict[str, tuple[DocumentNode, Weight]] = OrderedDict()
        self._cached_characters = 0

    def plan(
        self,
        query: str | DocumentId,
        operation_name: str | None,
        variables: Mapping[str, object] | None,
        session: Session,
    ) -> Plan:
        """The bound plan of an operation; InvalidRequest if it has none. ``session`` is of the planner's role."""
        if session.role != self._role:
            raise ValueError(f"a planner of {self._role!r} was asked by {session.role!r}")
        limits = self._limits_of_roles.get(session.role, self._limits)
        try:
            if isinstance(query, DocumentId):
                query = self._trusted.text(query)
            check_variables(variables or {}, limits)
            given = exact_floats(variables or {})
            return self._compile(query, operation_name, given, session, limits)
        except RequestError as error:
            raise InvalidRequest([error]) from None
        except GraphQLError as error:
            raise InvalidRequest([translated(error, Meant(self.schema))]) from None
        except RecursionError:
            raise InvalidRequest(
                [RequestError("validation-failed", "the document or its variables are nested too deeply")]
            ) from None

    def _compile(
        self,
        query: str,
        operation_name: str | None,
        given: dict[str, object],
        session: Session,
        limits: RoleLimits,
    ) -> Plan:
        document = self._document(query, limits)
        operation = self._operation(document, operation_name)
        values = self._variables(operation, given)
        rights = Rights(self._permits, session)
        compiler = Compiler(
            self.schema,
            self._sources,
            document,
            operation,
            values,
            given,
            session,
            rights,
            limits,
            self._answers,
        )
        return compiler.plan(multi_root=self._multi_root)

    def _document(self, query: str, limits: RoleLimits) -> DocumentNode:
        """The document of a text, parsed and validated; RequestError if it is none, or heavier than allowed."""
        known = self._documents.get(query)
        if known is not None:
            self._documents.move_to_end(query)
            check_weight(known[1], limits)
            return known[0]
        document = self._parse(query)
        self._trusted.check(document)
        weight = weigh(document)
        check_weight(weight, limits)
        if weight.introspected and not self._introspection:
            raise introspection_refused(self._role)
        check_introspection(document)
        errors = validate(self.schema, document, _RULES, max_errors=_ERRORS_MAX, hide_suggestions=True)
        if errors:
            meant = Meant(self.schema)
            raise InvalidRequest([translated(error, meant, document) for error in errors])
        self._documents[query] = document, weight
        self._cached_characters += len(query)
        while len(self._documents) > self._cache_size or self._cached_characters > _CACHED_CHARACTERS_MAX:
            dropped, _ = self._documents.popitem(last=False)
            self._cached_characters -= len(dropped)
        return document

    def _parse(self, query: str) -> DocumentNode:
        if len(query) > SOURCE_CHARACTERS_MAX:
            raise RequestError(
                "validation-failed",
                f"the document has more than {SOURCE_CHARACTERS_MAX} characters",
                path="$.query",
            )
        most = self._limits.token_limit
        try:
            document = parse(query, max_tokens=most, allow_empty_selection_sets=False)
        except GraphQLSyntaxError as error:
            if "nested too deeply" in error.message:
                raise RecursionError from None
            if "tokens. Parsing aborted" in error.message:
                raise RequestError(
                    "validation-failed",
                    f"the document has more than {most} tokens",
                    path="$.query",
                    hint="limits.token_limit is the limit",
                    limit="token_limit",
                ) from None
            raise RequestError(
                "validation-failed", "not a valid graphql query", path="$.query", detail=error.message
            ) from None
        operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        if any(node.operation is OperationType.MUTATION for node in operations):
            raise RequestError(
                "validation-failed", "no mutations exist", hint="this API reads; write to the database itself"
            )
        if not operations:
            raise RequestError("validation-failed", "the document holds no operation", path="$.query")
        return document

    def _operation(self, document: DocumentNode, name: str | None) -> OperationDefinitionNode:
        operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
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
            self.schema,
            operation.variable_definitions or (),
            dict(given),
            max_errors=_ERRORS_MAX,
            hide_suggestions=True,
        )
        if isinstance(result, list):
            raise InvalidRequest(
                [RequestError("validation-failed", error.message, path="$.variables") for error in result]
            )
        return result
