"""What a change feed sees whose permission or condition reads other sources: which rows are in sight, as far as they
are seen, and a log of how that changes.

A row may come into sight, or leave it, although it is the same: so the rows in sight are remembered, and compared with
those that are in sight now whenever one of them, or something that it leads to, has changed. The log is this sight's
own: its cursors are good as long as it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Final

from tycostream.clock import Clock
from tycostream.dataflow.log import Entry, Log
from tycostream.dataflow.predicate import Predicate, compile_predicate, row_local
from tycostream.dataflow.related import Related, reaches
from tycostream.dataflow.relation import Veil
from tycostream.dataflow.veil import look
from tycostream.live.backlinks import Backlink, Linked
from tycostream.live.live_source import LiveSource
from tycostream.live.slices import Discard, Slices
from tycostream.live.standing import Images, Snapshots
from tycostream.rows import Change, Key, Position, Row

_ROWS_PER_STEP: Final = 2000


class Sight:
    """The rows of ``source`` for which ``predicate`` holds, and the log of their changes.

    Whatever happens in a batch is kept until ``settle``, which makes one entry of it and tells ``push``. ``begin``
    looks at all rows, in slices; until it is ``ready`` it shows nothing. ``incarnation`` names it: no two alike.
    """

    def __init__(
        self,
        source: LiveSource,
        sources: Mapping[str, Linked],
        related: Related,
        predicate: Predicate,
        veil: Veil,
        slices: Slices,
        clock: Clock,
        *,
        incarnation: str,
        push: Callable[[Sequence[Change], Entry], None],
        unsettled: Callable[[Sight], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """``veil``: which cells are seen of those rows.

        ``unsettled`` is told that there is something to settle, ``failed`` what raised.
        """
        self.source = source
        self._predicate = predicate
        self._match = compile_predicate(predicate, related.bind)
        self._look = look(veil, related.bind)
        self._slices = slices
        self._clock = clock
        self._push = push
        self._unsettled = unsettled
        self._failed = failed
        self._seen: dict[Key, Row] = {}
        self._snapshots = Snapshots()
        self._pending: dict[Key, Row | None] = {}  # what was in sight before the batch in progress
        self._begun = self._looking = self.ready_now = self.closed = False
        self._waiting: list[Callable[[], None]] = []
        keep = source.config.log
        self.log = Log(
            source.row_type,
            Position(incarnation, 0, 0),
            bytes_max=keep.bytes,
            keep_s=keep.keep.total_seconds(),
        )
        source.router.add(row_local(predicate), self.changed)
        self._backlinks = [
            Backlink(source, reach, sources, self.review, failed) for reach in reaches(predicate, veil=veil)
        ]

    # see Changes

    @property
    def indexes(self) -> Sight:
        """What finds the rows in sight: this."""
        return self

    @property
    def definition(self) -> Hashable:
        """See LiveSource."""
        return self.source.definition

    def ready(self, _: Predicate) -> bool:
        """See Indexes."""
        return self.ready_now

    def rows(self, _: Predicate) -> list[Row]:
        """See Indexes: the rows in sight."""
        return list(self._seen.values())

    def images(self) -> Images:
        """See Logged."""
        return self._snapshots.at(self.log.head, self._seen)

    def given(self, _: Predicate) -> list[Key] | None:
        """See Logged."""
        return None

    # how it begins

    def begin(self, then: Callable[[], None]) -> None:
        """Call ``then`` when it is ready, which may be now."""
        if self.ready_now:
            then()
            return
        self._waiting.append(then)
        if not self._begun:
            self._begun = True
            self._slices.add(_Looking(self))

    def linked(self) -> bool:
        """Whether all can be followed and looked up."""
        return self.source.indexes.ready(self._predicate) and all(link.ready for link in self._backlinks)

    def candidates(self) -> list[Key]:
        """The rows that may be in sight, as they are now; from now on it follows."""
        self._looking = True
        store = self.source.store
        given = store.given(self._predicate)
        return list(store.rows) if given is None else given

    def look(self, keys: Sequence[Key]) -> None:
        """Look at rows for the first time; one that was looked at already stays as it is."""
        rows, match, seen = self.source.store.rows, self._match, self._seen
        for key in keys:
            row = rows.get(key)
            if row is not None and match(row):
                seen[key] = row if self._look is None else self._look(row)

    def done(self) -> None:
        """All rows were looked at."""
        self.ready_now = True
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then()

    def broken(self, error: Exception) -> None:
        """Something raised."""
        self._failed(error)

    # how it follows

    def changed(self, changes: Sequence[Change], _: Entry) -> None:
        """A batch of the source's rows, as far as they alone decide."""
        self.review([change.key for change in changes])

    def review(self, keys: Sequence[Key]) -> None:
        """Look again at rows with these keys: they, or what they lead to, have changed."""
        if not self._looking:
            return  # it will see them as they are then
        rows, match, seen, pending = self.source.store.rows, self._match, self._seen, self._pending
        look, identical = self._look, self.source.row_type.identical
        first = not pending
        try:
            for key in keys:
                row = rows.get(key)
                now = row if row is not None and match(row) else None
                was = seen.get(key)
                if look is not None and now is not None:
                    now = look(now)
                    if was is not None and identical(was, now):
                        continue
                if now is was:
                    continue
                if self.ready_now:
                    pending.setdefault(key, was)
                if now is None:
                    del seen[key]
                else:
                    seen[key] = now
        except Exception as error:
            self._failed(error)
        if first and pending:
            self._unsettled(self)

    def settle(self, *, resync: bool) -> None:
        """The batch is whole: tell what came of it."""
        seen = self._seen
        changes = [
            Change(key, was, now) for key, was in self._pending.items() if (now := seen.get(key)) is not was
        ]
        self._pending.clear()
        if changes and not self.closed:
            position = self.log.position._replace(offset=self.log.position.offset + 1)
            entry = self.log.append(position, changes, resync=resync, now_s=self._clock.monotonic())
            self._push(changes, entry)

    def evict(self) -> None:
        """Keep the log to the bounds that its source has now, in time too."""
        keep = self.source.config.log
        self.log.bound(keep.bytes, keep.keep.total_seconds(), self._clock.monotonic())

    def close(self) -> None:
        """Follow no more, and let go of everything, without a pause."""
        self.closed, self._looking = True, False
        self._slices.add(Discard(self._seen))
        self._seen, self._pending = {}, {}
        self._waiting.clear()
        # Whoever is told refers to this: that cycle would leave the rest to the collector.
        self._push = self._failed = self._unsettled = _tell_nobody
        self.source.router.remove(row_local(self._predicate), self.changed)
        for each in self._backlinks:
            each.close()
        self._backlinks.clear()


def _tell_nobody(*_: object) -> None:
    pass


class _Looking:
    """Looks at all rows that may be in sight. See Job."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        self._left: list[Key] | None = None

    def step(self) -> bool:
        """See Job."""
        sight = self._sight
        if sight.closed:
            return True
        if self._left is None:
            if not sight.linked():
                return False
            self._left = sight.candidates()
        keys = self._left[-_ROWS_PER_STEP:]
        del self._left[-_ROWS_PER_STEP:]
        sight.look(keys)
        if self._left:
            return False
        sight.done()
        return True

    def failed(self, error: Exception) -> None:
        """See Job."""
        self._sight.broken(error)
