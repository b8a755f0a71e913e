"""What one request may cost, and how much each client may ask (``limits:``): refused before anything is computed.

``depth_limit`` and ``node_limit`` are those of Hasura's ``api_limits``; a role's own are under ``per_role``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import Field

from tycostream.config.rates import OptionalRate, Rate
from tycostream.config.values import Duration, Model, Size, Whole


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
    time_limit: Duration = Field(timedelta(minutes=1), description="The longest that a query may take.")
    first_result_limit: Duration | None = Field(
        None, description="The longest that a subscription may wait for its first result; absent: any time."
    )
    operations_per_user: OptionalRate = Field(
        None, description="How often a user may start an operation; absent: at any rate."
    )
    operations_per_ip: OptionalRate = Field(
        None, description="The same of an address, for each role of its own."
    )
    operations_per_role: OptionalRate = Field(None, description="The same of a role, of all its users.")
    queries_at_once_per_user: Whole | None = Field(
        None, ge=1, description="The most queries of one user that are answered at once."
    )
    connections_per_user: Whole | None = Field(
        None, ge=1, description="The most WebSockets that a user may have open."
    )


class OwnLimits(RoleLimits):
    """Limits of one role. Those of ``server`` that it may have of its own are here too."""

    operations_max: Whole | None = Field(None, ge=1, description="Instead of `server.operations_max`.")
    message_bytes_max: Size | None = Field(
        None, ge=1024, description="Instead of `server.message_bytes_max`."
    )
    outbox_bytes_max: Size | None = Field(None, ge=1024, description="Instead of `server.outbox_bytes_max`.")


class LimitsConfig(RoleLimits):
    """The limits of all roles."""

    token_limit: Whole = Field(15_000, ge=1, le=100_000, description="The most tokens of a document.")
    user: str = Field(
        "x-hasura-user-id",
        pattern="^x-hasura-[a-z0-9_-]+$",
        description="The session variable that says who the user is; who has none is counted by address.",
    )
    requests_per_ip: OptionalRate = Field(
        None,
        description="How often an address may send a request, or open a WebSocket; absent: at any rate.",
    )
    wrong_secrets_per_ip: OptionalRate = Field(
        Rate(10, 60, 10),
        json_schema_extra={"default": "10/m"},
        description="How often an address may show a wrong admin secret before none of its is looked at.",
    )
    connections: Whole | None = Field(
        None, ge=1, description="The most connections in all; absent: any number."
    )
    connections_per_ip: Whole | None = Field(None, ge=1, description="The most connections of one address.")
    queries_at_once: Whole = Field(
        1000, ge=1, description="The most queries that are answered at once, of all."
    )
    per_role: dict[str, OwnLimits] = Field(
        default_factory=dict, description="Limits of single roles by name; what is absent is as for all."
    )

    def of(self, role: str) -> OwnLimits:
        """The limits of a role."""
        common = {name: getattr(self, name) for name in RoleLimits.model_fields}
        return OwnLimits.model_construct(**common | self._own(role))

    def _own(self, role: str) -> dict[str, Any]:
        own = self.per_role.get(role)
        return {} if own is None else {name: getattr(own, name) for name in own.model_fields_set}
