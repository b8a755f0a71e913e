"""Sources of which a role sees a part, and planners of that role."""

from __future__ import annotations

from typing import Any

import pytest

from tycostream.auth.session import Session
from tycostream.config.model import SourceConfig
from tycostream.graphql.execute import InvalidRequest, Planner
from tycostream.graphql.plan import RootPlan
from tycostream.rows import Column, RowType
from tycostream.scalars import scalar_for


def _row_type(source: str, **columns: str) -> RowType:
    made = [
        Column(
            name,
            scalar_for(kind),
            nullable=name not in ("id", "desk"),
            field=f"{name}Seen" if name == "flag" else "",
        )
        for name, kind in columns.items()
    ]
    return RowType(source, tuple(made), (0,))


DESKS = _row_type("desks", id="int4", owner="int4", name="text", secret="text")
TRADES = _row_type(
    "trades", id="int4", hidden="text", desk="int4", qty="int4", flag="bool", doc="jsonb", tags="text[]"
)
AUDITS = _row_type("audits", id="int4", trade="int4", verdict="text")
LINKS: dict[str, dict[str, Any]] = {
    "desks": {"trades": {"array": "trades", "on": {"id": "desk"}}},
    "trades": {
        "of": {"object": "desks", "on": {"desk": "id"}, "required": True},
        "audits": {"array": "audits", "on": {"id": "trade"}},
    },
    "audits": {},
}
TYPES = (DESKS, TRADES, AUDITS)


def planner(role: str = "user", **permissions: dict[str, Any]) -> Planner:
    """The planner of a role with these permissions, by source."""
    sources = {
        name: SourceConfig.model_validate(
            {"name": name, "relationships": links}
            | ({"permissions": {role: permissions[name]}} if name in permissions else {})
        )
        for name, links in LINKS.items()
    }
    return Planner(TYPES, sources=sources, role=role)


def root(made: Planner, query: str, **variables: str) -> RootPlan:
    """The only root of what a session of the role ``user`` with these variables asks."""
    given = {name.replace("_", "-"): text for name, text in variables.items()}
    (found,) = made.plan(query, None, None, Session("user", given)).roots
    assert isinstance(found, RootPlan)
    return found


def refusal(made: Planner, query: str, **variables: str) -> dict[str, Any]:
    """The first error of what is refused."""
    given = {name.replace("_", "-"): text for name, text in variables.items()}
    with pytest.raises(InvalidRequest) as caught:
        made.plan(query, None, None, Session("user", given))
    entry: Any = caught.value.errors[0].to_graphql()
    return {"message": entry["message"], **entry["extensions"]}
