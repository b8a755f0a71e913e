"""Types whose fields have names that somebody has looked at already.

graphql-core looks at the name of every field and value of every type, letter by letter, which is a third of the time
that all types of a thousand sources take; and forty of a source's fifty types repeat the names of its columns or have
the same few of ours. What these names are in the type of the row and in the enum of the columns is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from graphql import (
    GraphQLEnumType,
    GraphQLEnumValue,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLObjectType,
)


class ObjectType(GraphQLObjectType):
    """``given`` gives the fields by name, when they are asked for."""

    def __init__(
        self, name: str, given: Callable[[], dict[str, GraphQLField]], description: str | None = None
    ) -> None:
        super().__init__(name, given, description=description)
        self._given = given

    @cached_property
    def fields(self) -> dict[str, GraphQLField]:
        """The fields by name."""
        return self._given()


class InputType(GraphQLInputObjectType):
    """``given`` gives the fields by name, when they are asked for."""

    def __init__(
        self, name: str, given: Callable[[], dict[str, GraphQLInputField]], description: str | None = None
    ) -> None:
        super().__init__(name, given, description=description)
        self._given = given

    @cached_property
    def fields(self) -> dict[str, GraphQLInputField]:
        """The fields by name."""
        return self._given()


class EnumType(GraphQLEnumType):
    """``given`` gives the values by name, when they are asked for."""

    def __init__(
        self, name: str, given: Callable[[], dict[str, GraphQLEnumValue]], description: str | None = None
    ) -> None:
        super().__init__(name, given, description=description)
        self._given = given

    @cached_property
    def values(self) -> dict[str, GraphQLEnumValue]:
        """The values by name."""
        return self._given()
