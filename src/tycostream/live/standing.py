"""What a follower of a log has seen where it stands: for when it goes on by another plan, and is told the difference."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tycostream.dataflow.unkeyed import Same
from tycostream.rows import Key, Row


class Images(dict[Key, Row]):
    """A copy of a source's rows at one moment: of references only, and the same one for all who ask for that moment."""

    __slots__ = ("__weakref__",)


class Snapshots:
    """The images of a moment, as long as somebody holds them."""

    def __init__(self) -> None:
        self._moment: object = None
        self._known: Callable[[], Images | None] = _none

    def at(self, moment: object, rows: Mapping[Key, Row]) -> Images:
        """Those of ``rows``, which are what they were whenever ``moment`` was the same."""
        known = self._known() if moment == self._moment else None
        if known is None:
            known = Images(rows)
            self._moment, self._known = moment, weakref.ref(known)
        return known


def _none() -> Images | None:
    return None


@dataclass(frozen=True, slots=True)
class Standing:
    """The rows that a follower has seen, found one by one: nothing is looked at before somebody asks for it."""

    rows: Images
    changed: Mapping[Key, Row | None]  # what has changed since it stood there, as it was there
    seen: Callable[[Row], Row | None]  # a row as it was seen, if it was in sight
    same: Same | None  # what rows had in common that were the same row; None: their key told them apart
    given: list[Key] | None  # the rows that may have been in sight, if they are few; None: all of them

    def before(self, key: Key) -> Row | None:
        """What was seen of the row with this key."""
        row = self.changed[key] if key in self.changed else self.rows.get(key)
        return None if row is None else self.seen(row)

    def keys(self, rows: Images, given: list[Key] | None) -> list[Key]:
        """Of whatever may have been in sight, or may be among ``rows`` now, each key once; ``given`` as here."""
        if self.given is not None and given is not None:
            return list(dict.fromkeys((*self.given, *self.changed, *given)))
        return [*rows, *self._others(rows)]

    def _others(self, rows: Images) -> Iterator[Key]:
        if rows is not self.rows:
            yield from (key for key in self.rows if key not in rows)
        yield from (key for key in self.changed if key not in rows and key not in self.rows)
