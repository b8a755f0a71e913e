"""What an engine promises: one stream of whole transactions for all sources of a database.

The contract suite is ``tests/engines/stream_contract.py``; every engine and every fake passes it.

1. ``describe`` names the missing thing, the names that exist, and a remedy, or gives the row type.
2. ``open`` connects; it raises UpstreamError and leaves nothing behind if it cannot.
3. ``add`` may be called at any time, concurrently for different sources. A source's first events are the parts of its
   snapshot, and the last part has ``position`` set. From then on every change of the source after that position
   arrives in a Batch, once, and none before it. Added with ``after``, a source that the engine can resume there sends
   no snapshot: it starts with a Batch or a Progress of its own; an engine that cannot sends a snapshot all the same.
   Of an engine whose sources ``share_positions``, sources added before the first ``read`` share one.
   ``add`` of a source that is there removes it first. ``add`` and ``remove`` of one source never overlap.
4. A Batch is yielded only when it is *known* complete, never half a transaction; the positions of one source never
   go back. Changes of sources that were not added, or were removed, are left out; a batch left with no change is
   not yielded.
5. Progress says that every batch up to its position has been yielded, for one source or for all; it is yielded only on
   a sign of life of the upstream, and at least every few seconds while that lives, so that its absence is a stall.
6. A source that fails yields SourceFailed, once, and nothing after it until it is added again; the others go on.
   RETRY and RESYNC: add it again soon (RETRY: with ``after``). FAIL: a person must mend something first.
7. ``read`` returns what is ready, at least one event; the stream ends only with its connection, by UpstreamError.
8. ``close`` may be called at any time, twice, and from another task than the reader's; the pending ``read`` then
   raises UpstreamError. Nothing of ours stays in the database (temporary slots, cursors), nor any task.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tycostream.config.model import SourceConfig
from tycostream.errors import UpstreamError
from tycostream.rows import Batch, Position, Row, RowType


@dataclass(frozen=True, slots=True)
class SnapshotPart:
    """Some rows of a source's snapshot; the last part has the position at which all parts together are true."""

    source: str
    rows: Sequence[Row]
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Every batch of ``source`` (None: of all sources) up to and including ``position`` has been yielded."""

    position: Position
    source: str | None = None


@dataclass(frozen=True, slots=True)
class SourceFailed:
    """The source yields nothing more until it is added again; ``error.action`` says whether that can help."""

    source: str
    error: UpstreamError


@dataclass(frozen=True, slots=True)
class Finished:
    """The source is complete and will never change (a view of constants): its silence is no stall."""

    source: str


Event = SnapshotPart | Batch | Progress | SourceFailed | Finished


def without(events: Iterable[Event], source: str) -> deque[Event]:
    """``events`` less those of one source: what a stream may still yield when that source was removed."""
    left: deque[Event] = deque()
    for event in events:
        if isinstance(event, Batch):
            if source not in event.changes:
                left.append(event)
            elif others := {name: some for name, some in event.changes.items() if name != source}:
                left.append(Batch(event.position, others, event.resync))
        elif event.source != source:
            left.append(event)
    return left


class Stream(Protocol):
    """One upstream connection's events, for the sources that were added."""

    async def add(self, row_type: RowType, source: SourceConfig, after: Position | None = None) -> None:
        """Start a source. ``after`` asks to resume there without a snapshot; an engine that cannot sends one."""

    async def remove(self, source: str) -> None:
        """Stop a source. From the call on nothing of it is yielded until it is added again, not even what was read."""

    async def read(self) -> Sequence[Event]:
        """The events that are ready, at least one, in order. Not to be called concurrently."""

    async def close(self) -> None:
        """End the stream and free what it holds, here and in the database."""


class Engine(Protocol):
    """A database product's driver for one configured database.

    ``share_positions``: a position names one moment of all sources, and a Batch may hold several of them.
    ``level_first``: a source that starts in the past catches up at once, and is not shown before it has.
    ``enums``: the configuration's, label by label; another configuration sets them before it describes sources anew.
    """

    share_positions: bool
    level_first: bool
    enums: Mapping[str, tuple[str, ...]]

    async def probe(self) -> None:
        """Ask the database for a sign of life over a connection of its own; UpstreamError if it gives none in time."""

    async def describe(self, source: SourceConfig) -> RowType:
        """The columns, types and key of a source, the configuration's choices applied."""

    async def open(self) -> Stream:
        """Connect and start a stream without sources."""

    async def check(self, sources: Sequence[SourceConfig]) -> Sequence[Finding]:
        """What an operator should know: rights, settings, versions, keys, collations."""

    async def catalogue(self) -> Sequence[CatalogueTable]:
        """What ``init`` may offer: the tables that the user can read."""

    async def leftovers(self) -> Sequence[Leftover]:
        """What objects of this configuration the database holds."""

    async def remove(self, leftovers: Sequence[Leftover]) -> Sequence[Leftover]:
        """Remove those that no running tycostream uses; gives what was removed."""

    def catching_up(self, source: str, position: Position) -> bool:
        """Whether ``position`` lies before the moment at which the source was last asked for: it is true, and old."""

    def remark(self, source: str) -> str:
        """What an operator should know of a source that is live all the same; or nothing."""

    def forget(self, source: str) -> None:
        """What was found out about a source is of no use any more: it is described anew, or has gone."""

    def renew(self, url: str) -> None:
        """Connect to ``url`` from now on: the configuration's credentials may have been rotated."""

    async def close(self) -> None:
        """Free what the engine holds (an embedded server stops here)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of ``tycostream check``: ok, or a problem with the command that mends it."""

    subject: str  # "database main", "source trades", …
    ok: bool
    message: str
    hint: str = ""
    fatal: bool = True  # False: a warning


@dataclass(frozen=True, slots=True)
class Leftover:
    """An object of ours in a database, the SQL that removes it, and whether a running tycostream uses it."""

    kind: str  # publication, slot
    name: str
    sql: str
    in_use: bool


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """``columns`` of a table name a row of another by its ``referenced`` columns; ``always``: each row of it does."""

    columns: tuple[str, ...]
    schema: str
    table: str
    referenced: tuple[str, ...]
    always: bool = False


@dataclass(frozen=True, slots=True)
class CatalogueTable:
    """A table as the catalogue knows it, less the columns that cannot be followed.

    ``enums`` maps a column to its enum type's labels, in order. ``remedy``: what must be done before it can be followed.
    ``view``: it is computed, so no key of it is known.
    """

    schema: str
    name: str
    columns: tuple[tuple[str, str], ...]  # (name, SQL type)
    primary_key: tuple[str, ...]
    enums: dict[str, tuple[str, tuple[str, ...]]]  # column → (enum's name, labels)
    comment: str | None = None
    comments: Mapping[str, str] = field(default_factory=dict)  # column → what is said of it
    foreign_keys: tuple[ForeignKey, ...] = ()
    remedy: str = ""
    view: bool = False
