"""The keyed current rows of a source, and how a batch changes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import compress
from operator import eq, itemgetter
from typing import Any, Final

from tycostream.changes import Net, Turnover
from tycostream.dataflow.difference import Difference, remove_identical
from tycostream.dataflow.index import Index
from tycostream.dataflow.predicate import Predicate, equality
from tycostream.dataflow.relation import Value
from tycostream.errors import Action, TycoError, UpstreamError
from tycostream.rows import TRUNCATE, UNCHANGED, Change, Key, Row, RowType, Unread, make_change

_KEY: Final = itemgetter(0)  # of a change
_GIVEN_MAX: Final = 10_000  # rows looked up in one step; beyond that a scan, which can be sliced, is as good
# Of the rows of a batch that only go: how many are read, to compare them with those that are there. Of more the keys say
# enough: to read all is two fifths of what rows cost that come and go, and a stream that does not fit shows at the first.
_COMPARED_MAX: Final = 2


class Store:
    """A source's rows by key.

    ``apply`` is all or nothing to its readers: it runs in one step and gives the *net* of the batch, one change per
    key, no-ops dropped. A source without a key is a multiset: the n-th equal copy of a row has the key (row, n), so
    that everything downstream deals with unique keys only, and equal rows are inserted and deleted, never updated.

    Where uniqueness of a key is only hoped for (``RowType.watched``), ``surplus`` holds the rows of a key beyond the
    one in ``rows``, for keys that have several. It is empty exactly if the key is unique now; until it is, ``rows``
    is nothing to show to anybody.

    ``indexes`` finds rows by the cells of some columns; ``apply`` keeps them, and who wants one adds it and fills it.
    ``version`` grows whenever ``rows`` may have become others.
    """

    def __init__(self, row_type: RowType) -> None:
        self.row_type = row_type
        self.version = 0
        self.rows: dict[Key, Row] = {}
        self.surplus: dict[Key, list[Row]] = {}
        self.indexes: dict[tuple[int, ...], Index] = {}
        self._copies: dict[Hashable, int] = {}  # multiset only: identity of a row → how many
        self._surplus_was: dict[Key, list[Row]] = {}  # what the batch in progress changed in ``surplus``

    def _step(self) -> Callable[[Change, dict[Key, Row | None]], None]:
        # not kept: a bound method in the instance is a cycle, and would leave half a million rows to the collector
        if not self.row_type.keyed:
            return self._apply_copy
        return self._apply_watched if self.row_type.watched else self._apply_keyed

    def released(self) -> list[dict[Any, Any] | list[Any]]:
        """Empty the store; gives what it held, for the caller to free at leisure."""
        self.version += 1
        held: list[dict[Any, Any] | list[Any]] = [self.rows, self._copies]
        for index in self.indexes.values():
            held += index.released()
        self.rows, self._copies, self.surplus, self.indexes = {}, {}, {}, {}
        return held

    def add_index(self, columns: tuple[int, ...]) -> Index:
        """A new index on ``columns``, kept from now on; it serves once its ``step`` has filled it."""
        self.indexes[columns] = index = Index(columns, self.rows)
        return index

    def index_columns(self, predicate: Predicate) -> tuple[int, ...] | None:
        """The columns whose index would serve ``predicate``; None if none would, or if the key does so already."""
        found = equality(predicate)
        return None if found is None or self.row_type.key == (found[0],) else (found[0],)

    def given(self, predicate: Predicate) -> list[Key] | None:
        """The keys of the rows that ``predicate`` may hold for, if they are few and can be looked up; None: ask every row."""
        found = equality(predicate)
        if found is None:
            return None
        column, cells, _ = found
        if self.row_type.key == (column,):
            return [cell for cell in cells if cell in self.rows]
        index = self.indexes.get((column,))
        if index is None or not index.ready or index.count(cells) > _GIVEN_MAX:
            return None
        return index.keys(cells)

    def count(self, predicate: Predicate) -> int:
        """How many rows ``candidates`` gives."""
        given = self.given(predicate)
        return len(self.rows) if given is None else len(given)

    def candidates(self, predicate: Predicate) -> tuple[list[Key], list[Row]]:
        """The keys and rows that ``predicate`` may hold for, as they are now, in lists of their own.

        That copies references only; whom the condition holds for is asked of each row when its turn comes.
        """
        rows, keys = self.rows, self.given(predicate)
        if keys is None:
            return list(rows), list(rows.values())
        return keys, [rows[key] for key in keys]

    def standing(self, keys: Iterable[Key]) -> list[Change]:
        """Changes in which rows with these keys only stand: something that they lead to has changed.

        A row that is gone has a change of its own.
        """
        rows = self.rows
        return [Change(key, None, row) for key in keys if (row := rows.get(key)) is not None]

    def finds(self, columns: tuple[int, ...]) -> bool:
        """Whether the key itself finds rows by ``columns``, so that an index is of no use."""
        return self.row_type.keyed and sorted(self.row_type.key) == sorted(columns)

    def finder(self, columns: tuple[int, ...]) -> Callable[[Value], Sequence[Key]]:
        """A function from a value in ``columns`` to the keys of the rows that have it now.

        By the key where that ``finds`` them, else by an index, which must be there and ready at every call.
        """
        if not self.finds(columns):
            return lambda value: self.indexes[columns].keys((value,))
        if len(columns) == 1:
            return lambda value: (value,) if value in self.rows else ()
        sequence = itemgetter(*[columns.index(place) for place in self.row_type.key])
        return lambda value: (key,) if (key := sequence(value)) in self.rows else ()

    def fill(self, rows: Sequence[Row]) -> None:
        """Add a part of the first snapshot: nobody reads the store yet, so nothing is told, and there is no index."""
        self.version += 1
        if not self.row_type.keyed or (self.row_type.watched and not self._all_new(rows)):
            step, nobody = self._step(), dict[Key, Row | None]()
            for row in rows:
                step(Change(self.row_type.key_of(row), None, row), nobody)
            self._surplus_was.clear()
        else:
            self.rows.update(zip(map(self.row_type.key_of, rows), rows, strict=True))

    def _all_new(self, rows: Sequence[Row]) -> bool:
        keys = set(map(self.row_type.key_of, rows))
        return len(keys) == len(rows) and self.rows.keys().isdisjoint(keys)

    def apply(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Apply an upstream batch; give its net effect, with old rows resolved."""
        self.version += 1
        net: Sequence[Change] | None = None
        if self.row_type.key and not self.surplus:
            net = (self._apply_turnover if self.row_type.watched else self._apply_plain)(changes)
        if net is None:
            net = self._apply_any(changes)
        for index in self.indexes.values():
            index.apply(net)
        return net

    def _apply_turnover(self, changes: Sequence[Change]) -> Net | None:
        """A batch of a watched source as they nearly all are: what goes is what is there. None, with nothing done, for any other.

        This is ``_is_only`` for all its keys at once.
        """
        turnover = changes if isinstance(changes, Turnover) else Turnover.of(changes)
        if turnover is None:
            return None
        rows, come, gone, only = self.rows, turnover.come, turnover.gone, turnover.only_gone
        was, went = list(map(rows.get, come)), list(map(rows.get, only))
        if [row is not None for row in was] != list(map(gone.__contains__, come)) or None in went:
            return None
        if not self._fits(turnover):
            return None
        rows.update(come)
        for key in only:
            del rows[key]
        news = list(come.values())
        if any(map(eq, was, news)):
            identical = self.row_type.identical
            other = [old is None or not identical(old, new) for old, new in zip(was, news, strict=True)]
            keys, was, news = (
                list(compress(come, other)),
                list(compress(was, other)),
                list(compress(news, other)),
            )
        else:
            keys = list(come)
        return Net(keys + only, was + went, news + [None] * len(only))

    def _fits(self, turnover: Turnover) -> bool:
        """Whether rows that go, of keys that have one, are the ones that are there; see ``_COMPARED_MAX``."""
        rows, keys = self.rows, turnover.only_gone[:_COMPARED_MAX] if turnover.unread else list(turnover.gone)
        return not keys or self.row_type.all_identical(turnover.images(keys), [rows[key] for key in keys])

    def _apply_plain(self, changes: Sequence[Change]) -> list[Change] | None:
        """A batch as they nearly all are: each key once, each row whole and found. None, with nothing done, for any other."""
        keys = list(map(_KEY, changes))
        if len(keys) > 1 and len(set(keys)) < len(keys):
            return None
        net: list[Change] = []
        if self._plain_keyed(changes, list(map(self.rows.get, keys)), net):
            return net
        self._undo({key: old for key, old, _ in net})
        return None

    def _plain_keyed(self, changes: Sequence[Change], found: Sequence[Row | None], net: list[Change]) -> bool:
        """Whether no row came to another key, or without cells that did not change."""
        rows, row_type = self.rows, self.row_type
        identical, key_of, incomplete = row_type.identical, row_type.key_of, row_type.incomplete
        for change, was in zip(changes, found, strict=True):
            key, old, new = change
            if new is None:
                if was is None:
                    return False
                del rows[key]
                net.append(change if old is was else make_change((key, was, None)))
                continue
            if key_of(new) != key or incomplete(new):
                return False
            rows[key] = new
            if was is None:
                net.append(change if old is None else make_change((key, None, new)))
            elif was != new or not identical(was, new):
                net.append(make_change((key, was, new)))
        return True

    def _apply_any(self, changes: Sequence[Change]) -> list[Change]:
        before: dict[Key, Row | None] = {}
        step = self._step()
        try:
            for change in changes:
                if change is TRUNCATE:
                    self._clear(before)
                else:
                    step(change, before)
        except BaseException:
            self._undo(before)
            raise
        if self._surplus_was:
            self._surplus_was = {}
        rows, identical = self.rows, self.row_type.identical
        net = []
        for key, old in before.items():
            new = rows.get(key)
            if old is None or new is None:
                if old is not new:
                    net.append(Change(key, old, new))
            elif not identical(old, new):
                net.append(Change(key, old, new))
        return net

    def revert(self, net: Sequence[Change]) -> None:
        """Take back what ``apply`` has just done: another source of its batch could not be applied."""
        self.version += 1
        self._undo({key: old for key, old, _ in net})
        for index in self.indexes.values():
            index.apply([Change(key, new, old) for key, old, new in net])

    def _undo(self, before: Mapping[Key, Row | None]) -> None:
        """Nobody has seen the half of a batch; a later resync must find what they have seen."""
        for key, old in before.items():
            if old is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = old
        for key, more in self._surplus_was.items():
            if more:
                self.surplus[key] = more
            else:
                self.surplus.pop(key, None)
        self._surplus_was = {}
        if not self.row_type.keyed:
            self._copies = dict(Counter(key[0] for key in self.rows))  # type: ignore[index]

    def _clear(self, before: dict[Key, Row | None]) -> None:
        for key, row in self.rows.items():
            before.setdefault(key, row)
        for key, more in self.surplus.items():
            self._surplus_was.setdefault(key, more)
        self.rows.clear()
        self.surplus = {}
        self._copies.clear()

    def _apply_keyed(self, change: Change, before: dict[Key, Row | None]) -> None:
        key, _, new = change
        rows = self.rows
        old = rows.get(key)
        if key not in before:
            before[key] = old
        if new is None:
            rows.pop(key, None)
            return
        if self.row_type.incomplete(new):
            new = self._fill(new, old)
        own = self.row_type.key_of(new)
        if own != key:  # the row moved to another key: a delete and an insert
            rows.pop(key, None)
            before.setdefault(own, rows.get(own))
            key = own
        rows[key] = new

    def _apply_watched(self, change: Change, before: dict[Key, Row | None]) -> None:
        key, old, new = change
        rows = self.rows
        was = rows.get(key)
        if key not in before:
            before[key] = was
        if self._is_only(key, old, was, replaced=new is not None):
            if new is not None:
                rows[key] = new
            elif was is not None:
                del rows[key]
            return
        image: object = old
        self._apply_crowded(key, image.row() if isinstance(image, Unread) else old, new)

    def _is_only(self, key: Key, old: object, was: Row | None, *, replaced: bool) -> bool:
        """Whether the key has no row but ``old``: after the change it has no row but the new one.

        Of a row that is replaced the key says enough; one that only goes must be the one that is there.
        """
        if old is None or was is None:
            return old is was
        if key in self.surplus:
            return False
        if isinstance(old, Unread):
            return replaced or self.row_type.identical(was, old.row())
        return self.row_type.identical(was, old)  # type: ignore[arg-type]

    def _apply_crowded(self, key: Key, old: Row | None, new: Row | None) -> None:
        """One key of several rows, or about to have several: first out, then in."""
        there = [self.rows[key]] if key in self.rows else []
        more = self.surplus.get(key, [])
        self._surplus_was.setdefault(key, more)
        there += more
        if old is not None and not remove_identical(there, old, self.row_type):
            raise UpstreamError(
                "row-unknown",
                f"the database retracted a row of {self.row_type.source!r} that was never received",
                action=Action.RESYNC,
                detail=f"key {key!r}",
                hint="the source is read again, and the difference is told",
            )
        if new is not None:
            there.append(new)
        if there:
            self.rows[key] = there.pop(0)
        else:
            del self.rows[key]
        if there:
            self.surplus[key] = there
        else:
            self.surplus.pop(key, None)

    def _apply_copy(self, change: Change, before: dict[Key, Row | None]) -> None:
        _, old, new = change
        if new is not None and self.row_type.incomplete(new):
            new = self._fill(new, old)
        if old is not None:
            identity = self.row_type.identity(old)
            count = self._copies.get(identity, 0)
            if count:  # a delete of a row that was never seen changes nothing
                key = (identity, count - 1)
                before.setdefault(key, self.rows.pop(key))
                self._copies[identity] = count - 1
                if count == 1:
                    del self._copies[identity]
        if new is not None:
            identity = self.row_type.identity(new)
            count = self._copies.get(identity, 0)
            key = (identity, count)
            before.setdefault(key, None)
            self.rows[key] = new
            self._copies[identity] = count + 1

    def _fill(self, new: Row, old: Row | None) -> Row:
        if old is None:
            raise UpstreamError(
                "row-unknown",
                f"the database changed a row of {self.row_type.source!r} that was never received",
                action=Action.RESYNC,
                detail="an update left out an unchanged value, and there is no old row to take it from",
            )
        return tuple([was if cell is UNCHANGED else cell for cell, was in zip(new, old, strict=True)])

    def difference(self) -> Difference:
        """Compare a snapshot with the store as it is now, part by part as it arrives."""
        return Difference(self.row_type, self.rows, self._copies, self.surplus)

    def diff(self, rows: Iterable[Row]) -> list[Change]:
        """The upstream changes that turn this store into ``rows``: what a gap in history amounts to."""
        return self.difference().take(rows).changes()


def duplicate_key(store: Store) -> TycoError | None:
    """Why the store is nothing to show: a key with several rows. None if every key is unique."""
    if not store.surplus:
        return None
    row_type = store.row_type
    key, more = next(iter(store.surplus.items()))
    columns = [row_type.columns[i] for i in row_type.key]
    cells = [store.rows[key][i] for i in row_type.key]
    values = ", ".join(
        f"{column.name} = {'NULL' if cell is None else column.scalar.text(cell)[:80]}"
        for column, cell in zip(columns, cells, strict=True)
    )
    count = len(store.surplus)
    return TycoError(
        "duplicate-key",
        f"the key of {row_type.source!r} is not unique",
        # a cell's value must not stand in the message, which every client of the source is told
        detail=f"{1 + len(more)} rows have {values}"
        + ("" if count == 1 else f"; {count} keys have more than one row"),
        hint=f"make ({', '.join(column.name for column in columns)}) unique upstream, or choose another `primary_key`; "
        "the source heals by itself",
    )
