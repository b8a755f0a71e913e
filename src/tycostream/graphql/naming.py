"""What a source's table and root fields are called in the schema, and whose a root field is.

A root field can have any name (``custom_root_fields``), so a name does not tell whose it is: the field itself does.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from graphql import GraphQLField

from tycostream.config.model import RootFieldConfig, SourceConfig
from tycostream.config.table_name import parts
from tycostream.graphql.plan import Mode

# The keys of `custom_root_fields`; a mode that is not here has no root field.
_KEYS: Final = {
    Mode.LIST: "select",
    Mode.BY_PK: "select_by_pk",
    Mode.AGGREGATE: "select_aggregate",
    Mode.STREAM: "select_stream",
    Mode.CHANGES: "select_changes",
}
SUBSCRIPTIONS_ONLY: Final = frozenset({Mode.STREAM, Mode.CHANGES})
_ROOT: Final = "tycostream.root"  # among a field's extensions


class Root(NamedTuple):
    """What a root field asks for."""

    source: str
    mode: Mode


def root_of(field: GraphQLField) -> Root:
    """Whose the field is; KeyError of one that is no source's."""
    root: Root = field.extensions[_ROOT]
    return root


def root_key(mode: Mode) -> str:
    """What the configuration calls a root field of this mode."""
    return _KEYS[mode]


def branded(source: SourceConfig, mode: Mode, field: GraphQLField) -> GraphQLField:
    """A root field that knows whose it is, with what the configuration says of it."""
    custom: RootFieldConfig = getattr(source.custom_root_fields, _KEYS[mode])
    if custom.comment is not None:  # Hasura too takes an empty comment for none
        field.description = custom.comment or None
    field.extensions = {_ROOT: Root(source.name, mode)}
    return field


def table_of(source: SourceConfig) -> str:
    """The table as Hasura's descriptions name it: with its schema, if that is not public. A query has its source's name."""
    if source.query is not None or not source.table:
        return source.name
    *schema, name = parts(source.table)
    return name if schema == ["public"] else ".".join((*schema, name))
