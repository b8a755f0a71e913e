"""docs/graphql.md: its configuration is the tests' own, and each of its operations has a plan."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.graphql.related_tables import CONFIG, PLANNER
from tycostream.auth.session import Session
from tycostream.graphql.plan import RootPlan

TEXT = (Path(__file__).parents[2] / "docs" / "graphql.md").read_text()
OPERATIONS = re.findall(r"^```graphql\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_has_a_plan_that_follows_relationships(operation: str) -> None:
    for root in PLANNER.plan(operation, None, None, Session()).roots:
        assert isinstance(root, RootPlan)
        assert root.steps


def test_its_relationships_are_there() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    sources: dict[str, Any] = yaml.safe_load(text.replace(" on:", " 'on':").replace("{on:", "{'on':"))[
        "sources"
    ]
    for source, written in sources.items():
        for name, relationship in written["relationships"].items():
            found = CONFIG.sources[source].relationships[name].model_dump(exclude_defaults=True)
            found.pop("comment", None)
            assert found == relationship
    assert len(OPERATIONS) == 5
