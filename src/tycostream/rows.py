"""The values that travel: columns, rows, changes, batches and positions. No asyncio, no I/O.

A *cell* is a column's canonical Python value (``scalars.py``); SQL NULL is ``None``. A *row* is the tuple of cells
in the source's column order. Cells of one column compare, hash and sort as PostgreSQL does.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property, lru_cache, partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

if TYPE_CHECKING:
    from tycostream.json_shape import ListShape, ObjectShape
    from tycostream.scalars import Scalar

Cell = Any
Row = tuple[Cell, ...]
Key = Hashable


class _Unchanged:
    """The one cell that an upstream did not send because it did not change (PostgreSQL's TOAST)."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = _Unchanged()


def same_text(a: Cell, b: Cell, text: Callable[[Cell], str]) -> bool:
    """Whether two equal cells of a loose scalar (neither None) have one text."""
    if type(a) is Decimal and type(b) is Decimal and not a.compare_total(b):
        return True  # sign and scale are the same too: known without writing the text
    return text(a) == text(b)


class Repeats(dict[str, Cell]):
    """One cell for all equal texts of a column: ``repeats[text]`` is what ``parse`` makes of it, or made of an equal one before.

    Half a million rows over five hundred symbols hold five hundred strings then, rather than half a million of 60
    bytes. Long texts pass through. A full table becomes the one ``before``, which is asked for what the new one lacks:
    what still comes moves over, what does not is forgotten with the next. ``missed`` counts the texts that were parsed.
    """

    __slots__ = ("_before", "_parse", "missed")
    ENTRIES_MAX: Final = 4096
    LENGTH_MAX: Final = 64

    def __init__(self, parse: Callable[[str], Cell] = str) -> None:
        super().__init__()
        self._parse = parse
        self._before: dict[str, Cell] = {}
        self.missed = 0

    def __missing__(self, text: str) -> Cell:
        cell = self._before.get(text, self)
        if cell is self:
            cell = self._parse(text)
            self.missed += 1
            if len(text) > self.LENGTH_MAX:
                return cell
        if len(self) >= self.ENTRIES_MAX:
            self._before = self.copy()
            self.clear()
        self[text] = cell
        return cell

    def forget(self) -> None:
        """Begin anew."""
        self.clear()
        self._before, self.missed = {}, 0


class Unread:
    """A row as its text, parsed when somebody asks. Stands for the ``old`` of an upstream change of a watched key.

    Half of what a database sends for an update is the row that goes, and the store has that row: to parse it again would
    cost as much as the new one. Only where a key has several rows must it be known which of them goes.
    """

    __slots__ = ("_read", "_what")

    def __init__(self, read: Callable[[Sequence[Any]], list[Row]], what: object) -> None:
        self._read, self._what = read, what

    def row(self) -> Row:
        """The row; UpstreamError if it does not parse."""
        return self._read((self._what,))[0]


class Change(NamedTuple):
    """What happened to one key.

    Upstream, as an engine yields it, for a source **with a key**: ``key`` is the row's key *before* the change (for
    an insert, its own), ``old`` may be None even where a row existed, and ``new`` is None for a delete; cells of
    ``new`` may be UNCHANGED; a new row whose own key differs from ``key`` moves the row. For a source **without** one:
    ``key`` is None and ``old``, ``new`` are whole rows. For a **watched** key (``RowType.watched``): both images are
    whole and have the same key, ``old`` is the row retracted (None: an insertion only; it may be Unread), and ``new`` is
    None for a retraction only. ``TRUNCATE`` empties the source.

    Downstream, as ``Store.apply`` returns it: ``old`` and ``new`` are the row before and after the whole batch, not
    both None, not identical; each key occurs once in a batch and belongs to both images.
    """

    key: Key
    old: Row | None
    new: Row | None


TRUNCATE: Final = Change(None, None, None)

# Half the time of Change(…), which runs a function of Python's.
make_change: Final = cast(
    "Callable[[tuple[Key, Row | None, Row | None]], Change]", partial(tuple.__new__, Change)
)


class Position(NamedTuple):
    """A place in a database's history: comparable within one (incarnation, epoch) only.

    ``incarnation`` names the database's life (on PostgreSQL system identifier and database), ``epoch`` counts
    histories within it (timeline), ``offset`` orders what happened (LSN, timestamp).
    """

    incarnation: str
    epoch: int
    offset: int

    def comparable(self, other: Position) -> bool:
        """Whether ``self`` and ``other`` lie in one history; if not, start again."""
        return self.incarnation == other.incarnation and self.epoch == other.epoch


@dataclass(frozen=True, slots=True)
class Batch:
    """All changes at one position, possibly over several sources: the unit of truth. Never half a transaction.

    ``resync`` marks the net difference over a gap in the upstream's history.
    """

    position: Position
    changes: Mapping[str, Sequence[Change]]
    resync: bool = False


@lru_cache(maxsize=256)
def _incomplete(width: int) -> Callable[[Row], bool]:
    """A function of rows of so many cells. ``UNCHANGED in row`` would compare each by value: three times the time."""
    tests = " or ".join(f"row[{place}] is unchanged" for place in range(width))
    function: Callable[[Row], bool] = eval(f"lambda row: {tests or False}", {"unchanged": UNCHANGED})  # noqa: S307 - places only
    return function


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a source: ``name`` in the database, ``field`` in GraphQL.

    ``document``: of a JSON column that is an object in GraphQL, or a list of objects, how these must look.
    """

    name: str
    scalar: Scalar
    field: str = ""
    nullable: bool = True
    comment: str | None = None
    document: ObjectShape | ListShape | None = None

    def __post_init__(self) -> None:
        if not self.field:
            object.__setattr__(self, "field", self.name)


@dataclass(frozen=True)
class RowType:
    """The shape of a source's rows: its columns in order, and the places of its key columns (none: a multiset).

    ``watched``: the database does not promise that the key is unique. Changes then carry both images, whole, and the
    store keeps the multiset of each key, so that duplicates are found, and found to be gone.
    """

    source: str
    columns: tuple[Column, ...]
    key: tuple[int, ...] = ()
    comment: str | None = None
    watched: bool = False
    # The key of a row: a cell, or a tuple of cells for a composite key; None for a source without one.
    key_of: Callable[[Row], Key] = field(init=False, repr=False, compare=False)
    # Whether a cell of a row is UNCHANGED.
    incomplete: Callable[[Row], bool] = field(init=False, repr=False, compare=False)
    _loose: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # One key column: the cell itself is the key. A one-item tuple would cost an allocation a row.
        # And no method around it, or around the next: at a row of each change that costs as much as the work.
        object.__setattr__(self, "key_of", itemgetter(*self.key) if self.key else (lambda row: None))
        object.__setattr__(self, "incomplete", _incomplete(len(self.columns)))
        loose = tuple(i for i, column in enumerate(self.columns) if column.scalar.loose)
        object.__setattr__(self, "_loose", loose)

    @cached_property
    def layout(self) -> Hashable:
        """Equal for two row types whose rows read, compare and are shown alike, whenever they were made."""
        columns = tuple(
            (c.name, c.field, c.scalar.name, c.scalar.graphql, c.scalar.labels, c.nullable)
            + ((c.document.made_of,) if c.document is not None else ())
            for c in self.columns
        )
        return self.source, columns, self.key, self.watched

    @cached_property
    def shape(self) -> Hashable:
        """``layout``, and what is said of the columns: equal for two that are the same in a schema."""
        return self.layout, self.comment, tuple(column.comment for column in self.columns)

    @property
    def keyed(self) -> bool:
        """Whether rows have a key; without one the source is a multiset."""
        return bool(self.key)

    def index_of(self, name: str) -> int:
        """The place of the column called ``name`` in the database; KeyError if there is none."""
        for i, column in enumerate(self.columns):
            if column.name == name:
                return i
        raise KeyError(name)

    def identical(self, a: Row, b: Row) -> bool:
        """Whether two rows are the same *text*: 1.0 and 1.00 are equal cells of numeric, and not the same text."""
        if a != b:
            return False
        for i in self._loose:
            x, y = a[i], b[i]
            if x is not y and x is not None and not same_text(x, y, self.columns[i].scalar.text):
                return False
        return True

    def all_identical(self, some: Sequence[Row], others: Sequence[Row]) -> bool:
        """Whether as many rows are ``identical``, one by one."""
        if not self._loose or some != others:
            return some == others
        return all(map(self.identical, some, others))

    def identity(self, row: Row) -> Hashable:
        """A hashable value that is equal for two rows exactly if they are ``identical``."""
        if not self._loose:
            return row
        cells = list(row)
        for i in self._loose:
            if cells[i] is not None:
                cells[i] = self.columns[i].scalar.text(cells[i])
        return tuple(cells)
