"""Many changes at once, in bulk: a Change is made of them when somebody looks, and of most nobody ever does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import filterfalse, repeat
from typing import Any, overload

from tycostream.rows import Change, Key, Row, Unread, make_change


class _Bulk(Sequence[Change]):
    """Changes that are made once, when they are asked for."""

    __slots__ = ("_made",)
    _made: list[Change] | None

    def _make(self) -> list[Change]:
        raise NotImplementedError

    @property
    def _changes(self) -> list[Change]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __iter__(self) -> Iterator[Change]:
        return iter(self._changes)

    @overload
    def __getitem__(self, place: int) -> Change: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Change]: ...
    def __getitem__(self, place: int | slice) -> Change | Sequence[Change]:
        return self._changes[place]


class Turnover(_Bulk):
    """Upstream changes of a watched source, of a moment: of each key at most one row that comes and one that goes.

    ``come`` has the rows. ``gone`` says of each key what its row is to be read from, by ``images``; ``unread`` that to
    read it costs as much as a row that comes, so that one should ask for those only that it needs.
    """

    __slots__ = ("_read", "come", "gone", "only_gone", "unread")

    def __init__(
        self,
        come: Mapping[Key, Row],
        gone: Mapping[Key, Any],
        read: Callable[[Sequence[Any]], list[Row]] = list,
        *,
        unread: bool = False,
    ) -> None:
        self.come, self.gone, self.unread = come, gone, unread
        self._read, self._made = read, None
        self.only_gone: list[Key] = list(filterfalse(come.__contains__, gone))  # keys for which nothing comes

    @classmethod
    def of(cls, changes: Sequence[Change]) -> Turnover | None:
        """``changes`` as a turnover; None if they are none: a key more than once, or a source that is emptied."""
        come: dict[Key, Row] = {}
        gone: dict[Key, Row] = {}
        for key, old, new in changes:
            if key in come or key in gone or old is new:
                return None
            if new is not None:
                come[key] = new
            if old is not None:
                gone[key] = old
        return cls(come, gone)

    def images(self, keys: Sequence[Key]) -> list[Row]:
        """The rows that go of ``keys``; UpstreamError if one does not read."""
        return self._read([self.gone[key] for key in keys])

    def __len__(self) -> int:
        return len(self.come) + len(self.only_gone)

    def _make(self) -> list[Change]:
        read, gone = self._read, self.gone
        unread: Any = {key: Unread(read, what) for key, what in gone.items()} if self.unread else gone
        changes = list(
            map(make_change, zip(self.come, map(unread.get, self.come), self.come.values(), strict=True))
        )
        only = self.only_gone
        changes += map(make_change, zip(only, map(unread.get, only), repeat(None), strict=False))
        return changes


class Net(_Bulk):
    """What a batch came to, as ``Store.apply`` gives it: keys, and the row of each before and after."""

    __slots__ = ("keys", "news", "olds")

    def __init__(self, keys: list[Key], olds: list[Row | None], news: list[Row | None]) -> None:
        self.keys, self.olds, self.news = keys, olds, news
        self._made = None

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, place: int) -> Change: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Change]: ...
    def __getitem__(self, place: int | slice) -> Change | Sequence[Change]:
        if isinstance(place, slice) and self._made is None:  # a sample
            return list(
                map(make_change, zip(self.keys[place], self.olds[place], self.news[place], strict=True))
            )
        return super().__getitem__(place)

    def _make(self) -> list[Change]:
        return list(map(make_change, zip(self.keys, self.olds, self.news, strict=True)))


def images(changes: Sequence[Change]) -> Iterable[tuple[Row | None, Row | None]]:
    """The row before and after of each, for those who can do without its key: no Change is made of a Net for it."""
    if isinstance(changes, Net):
        return zip(changes.olds, changes.news, strict=True)
    return [(old, new) for _, old, new in changes]
