"""From changed rows of one source back to the rows of others that lead to them, through join indexes.

What a change costs follows the rows that lead to it, not those that there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from tycostream.dataflow.log import Entry
from tycostream.dataflow.related import Reach
from tycostream.dataflow.relation import Value, value_of
from tycostream.dataflow.router import Router
from tycostream.dataflow.store import Store
from tycostream.live.indexes import Indexes
from tycostream.live.targets import Push
from tycostream.rows import Change, Key

Touched = Callable[[Sequence[Key]], None]  # the keys of rows that must be looked at again


class Linked(Protocol):
    """A source, as far as joins read it."""

    store: Store
    indexes: Indexes
    router: Router[Push]


class Backlink:
    """Tells ``touched`` which rows of ``parent`` lead to rows that changed, as far as ``reach`` reads those.

    ``failed`` is told what ``touched`` raises: one reader's error is not the batch's. ``follow`` may narrow a batch down
    to the values of the join whose rows look different now.
    """

    def __init__(
        self,
        parent: Linked,
        reach: Reach,
        sources: Mapping[str, Linked],
        touched: Touched,
        failed: Callable[[Exception], None],
        follow: Callable[[Sequence[Change]], set[Value]] | None = None,
    ) -> None:
        join = reach.join
        self._child = child = sources[join.source]
        self._parent, self._join, self._predicate = parent, join, reach.predicate
        self._value = value_of(join.remote)
        self._find = parent.store.finder(join.local)
        self._touched = touched
        self._follow = follow
        self._failed = failed
        self._ready = False
        parent.indexes.hold(join.local)
        child.indexes.hold(join.remote)
        child.router.add(reach.predicate, self.push)
        self._further = [Backlink(child, further, sources, self.rows, failed) for further in reach.further]

    @property
    def ready(self) -> bool:
        """Whether all its indexes are there; those that are not are in the making from now on."""
        if not self._ready:
            parts = [
                self._parent.indexes.finds(self._join.local),
                self._child.indexes.finds(self._join.remote),
            ]
            parts += [further.ready for further in self._further]
            self._ready = all(parts)  # they are held: once there, they stay
        return self._ready

    def push(self, changes: Sequence[Change], _: Entry) -> None:
        """A batch of the rows it leads to."""
        if not self._ready:
            return  # nobody has looked at anything yet
        try:
            self._tell(self._values(changes) if self._follow is None else self._follow(changes))
        except Exception as error:
            self._failed(error)

    def _values(self, changes: Sequence[Change]) -> set[Value]:
        value = self._value
        values = {value(old) for _, old, _ in changes if old is not None}
        values.update([value(new) for _, _, new in changes if new is not None])
        return values

    def rows(self, keys: Iterable[Key]) -> None:
        """Rows that it leads to must be looked at again, although they are the same."""
        if not self._ready:
            return
        try:
            rows, value = self._child.store.rows, self._value
            self._tell({value(rows[key]) for key in keys if key in rows})
        except Exception as error:  # ours: who told us of these rows, and tells others, has not failed
            self._failed(error)

    def _tell(self, values: set[Value]) -> None:
        values.discard(None)
        find = self._find
        keys = [key for each in values for key in find(each)]
        if keys:
            self._touched(keys)

    def close(self) -> None:
        """Tell nothing any more."""
        self._child.router.remove(self._predicate, self.push)
        self._parent.indexes.release(self._join.local)
        self._child.indexes.release(self._join.remote)
        for further in self._further:
            further.close()
        self._further.clear()
        # The batch in progress may have been routed here already. And whoever is told refers to this: that cycle would
        # leave all that it holds to the collector.
        self._ready, self._follow = False, None
