"""What one request may cost (``limits:``): counted and refused before anything is computed.

``depth_limit`` and ``node_limit`` are those of Hasura's ``api_limits``; a role's own are under ``per_role``.
"""

from __future__ import annotations

from pydantic import Field

from tycostream.config.values import Model, Whole, merged


class RoleLimits(Model):
    """Limits that a role may have of its own. Fragments count wherever they are spread."""

    depth_limit: Whole = Field(50, ge=1, le=100, description="How deep fields may be nested.")
    node_limit: Whole = Field(
        1000, ge=1, le=20_000, description="The most fields with a selection of their own."
    )
    field_limit: Whole = Field(5000, ge=1, le=20_000, description="The most fields.")
    alias_limit: Whole = Field(500, ge=0, le=20_000, description="The most fields that have an alias.")
    condition_limit: Whole = Field(
        2000, ge=0, le=10_000, description="The most comparisons in the conditions of an operation."
    )
    list_limit: Whole = Field(20_000, ge=0, le=1_000_000, description="The most values of one _in or _nin.")
    value_limit: Whole = Field(
        50_000,
        ge=1,
        le=2_000_000,
        description="The most values in variables, and in all arguments of an operation.",
    )
    rows_limit: Whole = Field(
        1_000_000, ge=1, description="The most rows of a query's result, with those nested in it."
    )
    live_rows_limit: Whole = Field(
        100_000, ge=1, description="The most rows of a live query's result, with those nested in it."
    )


class LimitsConfig(RoleLimits):
    """The limits of all roles."""

    token_limit: Whole = Field(15_000, ge=1, le=100_000, description="The most tokens of a document.")
    per_role: dict[str, RoleLimits] = Field(
        default_factory=dict, description="Limits of single roles by name; what is absent is as for all."
    )

    def of(self, role: str) -> RoleLimits:
        """The limits of a role."""
        own = self.per_role.get(role)
        return self if own is None else merged(self, own)
