"""Which targets see a change: predicates that name a constant are found by it, the others are asked one by one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from tycostream.dataflow.predicate import TRUE, Predicate, compile_predicate, equality
from tycostream.rows import Cell, Change, Row, make_change

T = TypeVar("T", bound=Hashable)
Match = Callable[[Row], bool]


class Router(Generic[T]):
    """Predicates and who waits behind them.

    A change is seen through a predicate as (old if it holds for old, new if it holds for new): a row that moves into
    sight is an insert, one that leaves it a delete, and no member list is kept for that.
    """

    def __init__(self) -> None:
        self._all: dict[T, None] = {}
        self._scanned: dict[T, Match] = {}
        self._indexed: dict[int, dict[Cell, dict[T, Match | None]]] = {}

    def add(self, predicate: Predicate, target: T) -> None:
        """Route what ``predicate`` sees to ``target``; a target has one predicate."""
        if predicate == TRUE:
            self._all[target] = None
        elif found := equality(predicate):
            column, values, residual = found
            match = None if residual == TRUE else compile_predicate(residual)
            index = self._indexed.setdefault(column, {})
            for value in values - {None}:  # NULL equals nothing
                index.setdefault(value, {})[target] = match
        else:
            self._scanned[target] = compile_predicate(predicate)

    def remove(self, predicate: Predicate, target: T) -> None:
        """Undo ``add`` with the same arguments."""
        self._all.pop(target, None)
        self._scanned.pop(target, None)
        if found := equality(predicate):
            column, values, _ = found
            index = self._indexed.get(column, {})
            for value in values:
                bucket = index.get(value, {})
                bucket.pop(target, None)
                if not bucket:
                    index.pop(value, None)
            if not index:
                self._indexed.pop(column, None)

    def names(self, column: int) -> bool:
        """Whether a predicate is found by a constant of ``column``."""
        return column in self._indexed

    @property
    def scanned(self) -> int:
        """How many predicates every change must be tried against."""
        return len(self._scanned)

    def route(self, changes: Sequence[Change]) -> Mapping[T, Sequence[Change]]:
        """What each target sees of ``changes``; targets that see nothing are absent."""
        seen: dict[T, Sequence[Change]] = dict.fromkeys(self._all, changes)
        for target, match in self._scanned.items():
            if masked := [visible for change in changes if (visible := mask(change, match))]:
                seen[target] = masked
        if self._indexed:
            found: dict[T, list[Change]] = {}
            for column, index in self._indexed.items():
                _route_indexed(changes, column, index, found)
            if not seen:
                return found
            seen.update(found)
        return seen


def mask(change: Change, match: Match) -> Change | None:
    """``change`` as seen through ``match``; None if neither image is in sight."""
    key, old, new = change
    was = old if old is not None and match(old) else None
    now = new if new is not None and match(new) else None
    if was is None and now is None:
        return None
    return change if was is old and now is new else Change(key, was, now)


def _route_indexed(
    changes: Sequence[Change],
    column: int,
    index: dict[Cell, dict[T, Match | None]],
    found: dict[T, list[Change]],
) -> None:
    """Add to ``found`` what the targets that name a constant of ``column`` see."""
    get = index.get
    for change in changes:
        key, old, new = change
        before = None if old is None else get(old[column])
        if old is not None and new is not None and new[column] is old[column]:
            after = before  # most changes leave most columns alone
        else:
            after = None if new is None else get(new[column])
        if before is after:
            if before is not None:
                for target, match in before.items():
                    if (visible := change if match is None else mask(change, match)) is not None:
                        found.setdefault(target, []).append(visible)
            continue
        for target, match in before.items() if before is not None else ():
            was = old if match is None or match(old) else None  # type: ignore[arg-type]
            now = new if after is not None and target in after and (match is None or match(new)) else None  # type: ignore[arg-type]
            if was is not None or now is not None:
                visible = change if was is old and now is new else make_change((key, was, now))
                found.setdefault(target, []).append(visible)
        for target, match in after.items() if after is not None else ():
            if (before is None or target not in before) and (match is None or match(new)):  # type: ignore[arg-type]
                visible = change if old is None else make_change((key, None, new))
                found.setdefault(target, []).append(visible)
