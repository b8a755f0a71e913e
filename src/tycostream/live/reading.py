"""The sources that an operation reads: whether they are there, and are what it was planned for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tycostream.errors import RequestError
from tycostream.graphql.plan import RootPlan, Step, Way
from tycostream.live.live_source import (
    LiveSource,
    SourceState,
    changed,
    failed,
    related_otherwise,
    removed,
)
from tycostream.rows import RowType

Ways = Mapping[str, frozenset[Way]]  # where the rows of each source lead


def leads(ways: Ways, step: Step) -> bool:
    """Whether rows lead there still; of a source of which nothing is said they do."""
    there = ways.get(step.source)
    shapes = (True, False) if step.many is None else (step.many,)
    return there is None or any((step.join, many) in there for many in shapes)


def read_by(sources: Mapping[str, LiveSource], ways: Ways, roots: Sequence[RootPlan]) -> list[LiveSource]:
    """All sources that an operation reads: each root's own, in their order, then the others.

    RequestError if one is not what it was planned for, or cannot be read.
    """
    read = [_source(sources, root.source, root.row_type) for root in roots]
    read += [_source(sources, each.source, each) for root in roots for each in root.reads]
    for root in roots:
        for step in root.steps:
            if not leads(ways, step):
                raise related_otherwise(step.source)  # planned by the schema of a moment ago
    return list(dict.fromkeys(read))


def _source(sources: Mapping[str, LiveSource], name: str, row_type: RowType | None) -> LiveSource:
    source = sources.get(name)
    if source is None:
        raise removed(name)
    if row_type is not None and row_type.layout != source.row_type.layout:
        raise changed(name)  # planned by the schema of a moment ago
    if source.state is SourceState.FAILED:
        raise failed(source)
    return source


def expect_snapshot(source: LiveSource, root: RootPlan) -> None:
    """RequestError if the source has none yet."""
    if source.state is SourceState.STARTING:
        raise RequestError(
            "source-not-ready",
            f"the source {source.row_type.source!r} has no snapshot yet",
            path=f"$.selectionSet.{root.response_key}",
            hint="try again shortly; /readyz says what it waits for",
        )
