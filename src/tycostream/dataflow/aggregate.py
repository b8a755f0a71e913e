"""Aggregates over rows that come and go: PostgreSQL's functions, kept current row by row.

To remove a row undoes exactly what adding it did. NULLs are ignored; of no cells everything is NULL but ``count``,
which is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache, lru_cache, partial
from typing import Any, ClassVar, Final

from tycostream.dataflow.multiset import Multiset, Sorted
from tycostream.dataflow.relation import Aggregate
from tycostream.dataflow.sums import Floats, Integers, Numerics, Singles
from tycostream.rows import Cell, Row, RowType
from tycostream.scalars import SCALARS, Scalar

COUNT: Final = Aggregate("count")
# Each with what it asks of sums: a result rounded to the sample or to the population, and the root of it.
_SPREADS: Final = {
    "stddev": (True, True),
    "stddev_pop": (False, True),
    "stddev_samp": (True, True),
    "var_pop": (False, False),
    "var_samp": (True, False),
    "variance": (True, False),
}
MEANS: Final = ("avg", *_SPREADS)  # what is a Float of any number
NUMERIC: Final = ("sum", *MEANS)  # what takes numbers
EXTREMES: Final = ("max", "min")
_EXACT: Final = frozenset({"int2", "int4", "int8", "uint2", "uint4", "uint8", "numeric"})
_FLOATS: Final = frozenset({"float4", "float8"})


def offered(function: str, scalar: Scalar) -> bool:
    """Whether the result of ``function`` over a column of this type is exact here, and one in PostgreSQL at all."""
    if function in NUMERIC:
        return scalar.name in _EXACT or scalar.name in _FLOATS
    if function in EXTREMES:
        return "_gt" in scalar.operators and scalar.name not in ("bool", "jsonb")
    return scalar.name == "bool"


def scalar_of(aggregate: Aggregate, row_type: RowType) -> Scalar:
    """The type of a result. A sum is of its column's type, as Hasura has it, and may be a number too large for that."""
    function = aggregate.function
    if function == "count":
        return SCALARS["int4"]
    scalar = row_type.columns[aggregate.columns[0]].scalar
    return _float("float8" if scalar.name in _FLOATS else "numeric") if function in MEANS else scalar


@cache
def _float(name: str) -> Scalar:
    return replace(SCALARS[name], graphql="Float")


class Accumulator:
    """The aggregates of the rows that were added and not removed.

    ``Accumulator(specs, row_type)`` is of a class made for these specs: one statement a part, no loop over them.
    Equal rows need not be the same object. ``add`` and ``remove`` cost O(1), and O(log n) for what came or went of the
    different cells of a column whose ``min`` or ``max`` is asked for.
    """

    __slots__ = ()
    parts: ClassVar[tuple[str, ...]] = ()  # the attributes that hold its state

    def __new__(cls, specs: Sequence[Aggregate], row_type: RowType) -> Accumulator:
        """An accumulator of no rows. They must have been looked at already (``veil.lens``)."""
        if any(spec.veil for spec in specs):
            raise ValueError("aggregates of rows that were not looked at as who asks sees them")
        columns = row_type.columns
        scalars = tuple((place, columns[place].scalar) for spec in specs for place in spec.columns)
        made: Accumulator = object.__new__(_class(tuple(specs), scalars))
        return made

    def __init__(self, specs: Sequence[Aggregate], row_type: RowType) -> None:
        raise NotImplementedError

    def add(self, row: Row) -> None:
        """One row more."""
        raise NotImplementedError

    def remove(self, row: Row) -> None:
        """One row less: one that was added."""
        raise NotImplementedError

    def follow(self, old: Row | None, new: Row | None) -> bool:
        """A change: either image may be missing. Whether results may be others now: some cells that count are."""
        raise NotImplementedError

    def _come_or_gone(self, old: Row | None, new: Row | None) -> bool:
        """``follow``, where an image is missing."""
        if old is not None:
            self.remove(old)
        elif new is not None:
            self.add(new)
        return old is not new

    def cells(self) -> tuple[Cell, ...]:
        """The results, in the order of the specs."""
        raise NotImplementedError

    @property
    def kept(self) -> int:
        """How many different values it remembers."""
        parts: list[object] = [getattr(self, name) for name in type(self).parts]
        return sum(len(part) for part in parts if isinstance(part, Multiset))

    def containers(self) -> list[dict[Any, Any] | list[Any]]:
        """What may be large of what it holds, for the caller to free at leisure once nobody asks it any more."""
        parts: list[object] = [getattr(self, name) for name in type(self).parts]
        return [held for part in parts if isinstance(part, Multiset) for held in part.containers()]


def aggregated(specs: Sequence[Aggregate], row_type: RowType, rows: Iterable[Row]) -> tuple[Cell, ...]:
    """The aggregates of some rows, once."""
    accumulator = Accumulator(specs, row_type)
    add = accumulator.add
    for row in rows:
        add(row)
    return accumulator.cells()


class _Truths:
    """How many cells of a boolean column are true, and how many false."""

    __slots__ = ("_false", "_true")

    def __init__(self) -> None:
        self._true = self._false = 0

    def add(self, cell: Cell) -> None:
        self._count(cell, 1)

    def remove(self, cell: Cell) -> None:
        self._count(cell, -1)

    def replace(self, old: Cell, new: Cell) -> None:
        self._count(old, -1)
        self._count(new, 1)

    def _count(self, cell: Cell, by: int) -> None:
        if cell:
            self._true += by
        else:
            self._false += by

    def every(self) -> bool | None:
        return not self._false if self._true or self._false else None

    def some(self) -> bool | None:
        return self._true > 0 if self._true or self._false else None


class _Once(Multiset):
    """Sums over the different ones of the cells."""

    __slots__ = ("sums",)

    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__()
        self.sums = make()

    def _appeared(self, value: Cell) -> None:
        self.sums.add(value)

    def _vanished(self, value: Cell) -> None:
        self.sums.remove(value)


class _Parts:
    """What an accumulator consists of: each part is there once, however many results read it."""

    def __init__(self, specs: tuple[Aggregate, ...], scalars: dict[int, Scalar]) -> None:
        self._scalars = scalars
        self._squared = {spec.columns for spec in specs if spec.function in _SPREADS}
        self._sorted = {spec.columns for spec in specs if spec.function in EXTREMES}
        self.makers: dict[str, Callable[[], Any]] = {}  # attribute → how it begins
        self._attributes: dict[tuple[str, tuple[int, ...]], str] = {}
        # the cells read → for each attribute how they are added to it: its own ``add``, or counted
        self.readers: dict[tuple[int, ...], dict[str, str]] = {}
        self.results = [self._result(spec) for spec in specs]

    def _part(self, kind: str, columns: tuple[int, ...], make: Callable[[], Any], given: str = "") -> str:
        """The attribute of a part; ``given``: the expression that is added, and nothing if cells are only counted."""
        name = self._attributes.setdefault((kind, columns), f"part{len(self._attributes)}")
        self.makers[name] = make
        self.readers.setdefault(columns, {})[name] = given
        return f"self.{name}"

    def _result(self, spec: Aggregate) -> str:
        columns = spec.columns
        if spec.function == "count":
            if not spec.distinct:
                return self._part("count", columns, int)
            if not columns:  # all rows are one row without cells
                return f"min(1, {self._part('count', columns, int)})"
            exact = len(columns) == 1 and not self._scalars[columns[0]].loose
            if exact and columns in self._sorted:  # it has them all, once each
                return f"len({self._extremes(columns)})"
            return f"len({self._part('distinct', columns, Multiset, _cells(columns))})"
        if spec.function in EXTREMES:
            found = f"{self._extremes(columns)}.{'first' if spec.function == 'min' else 'last'}()"
            return f"second({found})" if self._scalars[columns[0]].loose else found
        if spec.function in ("bool_and", "bool_or"):
            truths = self._part("truths", columns, _Truths, _cells(columns))
            return f"{truths}.{'every' if spec.function == 'bool_and' else 'some'}()"
        make = partial(_sums(self._scalars[columns[0]]), squares=columns in self._squared)
        if spec.distinct:
            sums = f"{self._part('once', columns, partial(_Once, make), _cells(columns))}.sums"
        else:
            sums = self._part("sums", columns, make, _cells(columns))
        if spec.function in _SPREADS:
            sample, deviation = _SPREADS[spec.function]
            return f"{sums}.spread(sample={sample}, deviation={deviation})"
        return f"{sums}.{'total' if spec.function == 'sum' else 'mean'}()"

    def _extremes(self, columns: tuple[int, ...]) -> str:
        """Of equal cells with several texts the first by text is meant: the same one whoever came first."""
        cell = _cells(columns)
        scalar = self._scalars[columns[0]]
        if not scalar.loose:
            return self._part("sorted", columns, Sorted, cell)
        return self._part("sorted", columns, Sorted, f"({cell}, text{columns[0]}({cell}), {cell})")


def _statements(method: str, columns: tuple[int, ...], readers: dict[str, str]) -> list[str]:
    """To add or remove the cells of ``row``."""
    tests = " and ".join(f"(c{place} := row[{place}]) is not None" for place in columns)
    lines = [f"  if {tests or True}:"]
    for name, given in readers.items():
        counted = f"self.{name} {'+' if method == 'add' else '-'}= 1"
        lines.append(f"    self.{name}.{method}({given})" if given else f"    {counted}")
    return lines


def _replacing(columns: tuple[int, ...], readers: dict[str, str]) -> list[str]:
    """To remove the cells of ``old`` and add those of ``new``, if they are others."""
    tests = " or ".join(f"old[{place}] is not new[{place}]" for place in columns)
    lines = [f"  if {tests}:", "    other = True"]
    simple = len(columns) == 1 and all(given in ("", _cells(columns)) for given in readers.values())
    if simple:
        place = columns[0]
        lines.append(f"    if old[{place}] is not None is not new[{place}]:")
        lines += [
            f"      self.{name}.replace(old[{place}], new[{place}])"
            for name, given in readers.items()
            if given
        ]
        lines += ["      pass", "    else:"]
    indent = " " * (4 if simple else 2)
    for row, method in (("old", "remove"), ("new", "add")):
        lines.append(f"{indent}  row = {row}")
        lines += [f"{indent}{line}" for line in _statements(method, columns, readers)]
    return lines


def _cells(columns: tuple[int, ...]) -> str:
    names = ", ".join(f"c{place}" for place in columns)
    return f"({names})" if len(columns) > 1 else names


def _sums(scalar: Scalar) -> Callable[..., Any]:
    if scalar.name == "numeric":
        return Numerics
    return {"float8": Floats, "float4": Singles}.get(scalar.name, Integers)


def _second(entry: tuple[Cell, str, Cell] | None) -> Cell:
    return None if entry is None else entry[2]


@lru_cache(maxsize=1024)
def _class(specs: tuple[Aggregate, ...], scalars: tuple[tuple[int, Scalar], ...]) -> type[Accumulator]:
    """The class of accumulators of these specs. Its text holds places, and nothing that anybody wrote."""
    parts = _Parts(specs, dict(scalars))
    lines = ["def __init__(self, specs, row_type):", "  pass"]
    lines += [f"  self.{name} = make_{name}()" for name in parts.makers]
    for method in ("add", "remove"):
        lines += [f"def {method}(self, row):", "  pass"]
        for columns, readers in parts.readers.items():
            lines += _statements(method, columns, readers)
    lines += ["def follow(self, old, new):"]
    lines += ["  if old is None or new is None: return self._come_or_gone(old, new)", "  other = False"]
    for columns, readers in parts.readers.items():
        if columns:  # how many rows there are stays
            lines += _replacing(columns, readers)
    lines.append("  return other")
    lines += ["def cells(self):", f"  return ({''.join(f'{result}, ' for result in parts.results)})"]
    names: dict[str, Any] = {f"make_{name}": make for name, make in parts.makers.items()}
    names |= {f"text{place}": scalar.text for place, scalar in scalars if scalar.loose}
    names |= {"__builtins__": {"len": len, "min": min}, "second": _second}
    body: dict[str, Any] = {}
    exec("\n".join(lines), names, body)  # noqa: S102 - see above
    attributes = tuple(parts.makers)
    made: type[Accumulator] = type(
        "Accumulator", (Accumulator,), {"__slots__": attributes, "parts": attributes, **body}
    )
    return made
