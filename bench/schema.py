"""CPU of the schema of many sources: until it serves, until all of it is asked for, and for a role. JSON, never a test.

    python bench/schema.py [--sources 1000] [--roles 3]

Sources of seven columns, each with an array relationship to another, so with aggregates in conditions and orders too.
``planner_ms``: from row types to a planner, which is what a reload costs. ``first_document_ms``: the first query of one
source with what it leads to. ``describe_ms``: looking at one source when its database describes it. ``introspection_s``:
the standard query of graphql-js, the first time, with all types made, and ``longest_step_ms`` of the slices that it
is written in; ``again_s``: with other descriptions asked for, all types there. ``role_planner_ms``: of a role that sees all but
one column of each source.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from graphql import get_introspection_query

from tycostream.auth.session import Session
from tycostream.config.model import SourceConfig
from tycostream.graphql.execute import Planner
from tycostream.graphql.plan import StaticRoot
from tycostream.graphql.schema import presentable, print_sdl
from tycostream.live.collector import walk_seldom
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS

KINDS = {
    "id": "int8", "a": "int4", "b": "text", "c": "numeric", "d": "timestamptz", "e": "bool", "f": "float8",
}  # fmt: skip


def world(count: int, roles: int) -> tuple[list[RowType], dict[str, SourceConfig]]:
    """The sources and what the configuration says of them."""
    columns = tuple(Column(name, SCALARS[kind], nullable=name != "id") for name, kind in KINDS.items())
    names = [f"s{n}" for n in range(count)]
    permission = {"columns": [name for name in KINDS if name != "c"], "aggregate": True}
    sources = {
        name: SourceConfig.model_validate(
            {
                "name": name,
                "relationships": {"next": {"array": names[n - 1], "on": {"a": "a"}}},
                "permissions": {f"role{n}": permission for n in range(roles)},
            }
        )
        for n, name in enumerate(names)
    }
    return [RowType(name, columns, (0,)) for name in names], sources


def spent(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and its CPU in seconds."""
    gc.collect()
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


def introspected(planner: Planner, query: str) -> tuple[float, float, int]:
    """Seconds in all, the longest step, bytes."""
    gc.collect()
    started = time.process_time()
    (root,) = planner.plan(query, None, None, Session()).roots
    assert isinstance(root, StaticRoot)
    longest, done = 0.0, False
    while not done:
        before = time.process_time()
        done = root.text.step()
        longest = max(longest, time.process_time() - before)
    return time.process_time() - started, longest, sum(map(len, root.text.pieces))


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=int, default=1000)
    parser.add_argument("--roles", type=int, default=3)
    given = parser.parse_args()
    walk_seldom()
    row_types, sources = world(given.sources, given.roles)
    _, describing = spent(lambda: [presentable(each) for each in row_types[:100]])
    planner, building = spent(lambda: Planner(row_types, sources=sources))
    document = (
        "query { s1(where: {next: {a: {_gt: 1}}}) { id next { id } next_aggregate { aggregate { count } } } }"
    )
    _, first = spent(lambda: planner.plan(document, None, None, Session()))
    in_all, longest, size = introspected(planner, get_introspection_query())
    again, _, _ = introspected(planner, get_introspection_query(descriptions=False))
    (sdl, printing) = spent(lambda: print_sdl(planner.schema))
    roles = [
        spent(lambda n=n: Planner(row_types, sources=sources, role=f"role{n}"))[1]  # type: ignore[misc]
        for n in range(given.roles)
    ]
    result = {
        "sources": given.sources,
        "types": len(planner.schema.type_map),
        "describe_ms": round(10 * describing, 2),
        "planner_ms": round(1000 * building, 1),
        "first_document_ms": round(1000 * first, 1),
        "introspection_s": round(in_all, 2),
        "longest_step_ms": round(1000 * longest, 1),
        "introspection_mb": round(size / 1e6, 1),
        "again_s": round(again, 2),
        "sdl_s": round(printing, 2),
        "sdl_mb": round(len(sdl) / 1e6, 1),
        "role_planner_ms": [round(1000 * each, 1) for each in roles],
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
