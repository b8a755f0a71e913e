"""How a server is: its databases, its sources, who is answered together, and how much goes through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

from tycostream.admin.answers import (
    CohortAnswer,
    DatabaseAnswer,
    RatesAnswer,
    SourceAnswer,
)
from tycostream.config.model import DatabaseConfig
from tycostream.graphql.plan import kind_of
from tycostream.live.feed import Feed
from tycostream.live.hub import Hub
from tycostream.live.live_source import LiveSource
from tycostream.live.meter import Rates, Totals

COHORTS: Final = 100
_MEASURED: Final = 200  # rows, for what all of a source take


def databases(configs: Mapping[str, DatabaseConfig], feeds: Mapping[str, Feed]) -> list[DatabaseAnswer]:
    """Each, in the order of the configuration; one of which nothing is read is ``unused``."""
    return [
        DatabaseAnswer(
            name,
            config.engine.value,
            feed.state.value if (feed := feeds.get(name)) is not None else "unused",
            feed.reason if feed is not None else "",
            feed.breaker.state.value if feed is not None else "",
            len(feed.sources) if feed is not None else 0,
        )
        for name, config in configs.items()
    ]


def sources(ready: Iterable[Mapping[str, object]], hub: Hub) -> list[SourceAnswer]:
    """Each, with what readiness says of it."""
    return [_source(entry, hub) for entry in ready]


def _source(entry: Mapping[str, object], hub: Hub) -> SourceAnswer:
    name = str(entry["source"])
    live = hub.sources.get(name)
    rows, size = (0, 0) if live is None else _measured(live)
    return SourceAnswer(
        name,
        str(entry["database"]),
        str(entry["state"]),
        str(entry.get("reason", "")),
        str(entry.get("remark", "")),
        rows,
        size,
        0 if live is None else live.log.bytes,
        0 if live is None else live.fragments.bytes,
        0 if live is None else len(hub.cohorts.reading(live)),
    )


def _measured(source: LiveSource) -> tuple[int, int]:
    rows = source.store.rows
    some = list(islice(rows.values(), _MEASURED))
    size = sum(map(source.log.row_bytes, some))
    return len(rows), size * len(rows) // len(some) if some else 0


def cohorts(hub: Hub, most: int = COHORTS) -> Sequence[CohortAnswer]:
    """Those with the most members."""
    known = sorted(hub.cohorts.known.values(), key=lambda cohort: len(cohort.members), reverse=True)
    return [
        CohortAnswer(
            kind_of(cohort.plan),
            [source.row_type.source for source in hub.cohorts.sources[cohort]],
            cohort.plan.role,
            len(cohort.members),
            cohort.stale,
        )
        for cohort in known[:most]
    ]


def amounts(given: Rates | Totals) -> RatesAnswer:
    """Of what goes through."""
    return RatesAnswer(round(given.changes, 3), round(given.messages, 3), round(given.bytes, 3))
