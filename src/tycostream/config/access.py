"""Who may see what, as the configuration says it: values only. ``access_rules.py`` looks at their shape, and
``unenforced.py`` keeps them from being served before anything obeys them.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from tycostream.config.values import Flag, Model, Names, Whole

ALL_COLUMNS: Final = "*"
QUERY_ROOTS: Final = ("select", "select_by_pk", "select_aggregate")
SUBSCRIPTION_ROOTS: Final = (*QUERY_ROOTS, "select_stream", "select_changes")


class PermissionConfig(Model):
    """What one role sees of a source. Columns and relationships go by their names here, not by those in GraphQL."""

    columns: Names = Field(description="The columns it sees: a list of names, or `*` for all.")
    where: dict[str, Any] = Field(
        default_factory=dict,
        description="Which rows it sees; a text X-Hasura-… stands for that variable of the session; absent: all.",
    )
    limit: Whole | None = Field(None, ge=0, description="The most rows of a list; absent: no limit.")
    aggregate: Flag = Field(False, description="It may ask for aggregates.")
    query_root_fields: Names | None = Field(
        None, description="Of select, select_by_pk, select_aggregate; absent: all, []: none."
    )
    subscription_root_fields: Names | None = Field(
        None, description="The same and select_stream, select_changes; absent: all, []: none."
    )
    comment: str | None = Field(None, description="A note for people.")


class AllowConfig(Model):
    """For whom a collection's operations are allowed."""

    roles: Names | None = Field(None, description="The roles that may run them; absent: all.")


class IntrospectionConfig(Model):
    """Who may ask the schema about itself."""

    disabled_for_roles: Names = Field((), description="Roles that may not.")
