"""ONE table: SQL type → cell, text, comparison, operators, JSON and GraphQL scalar.

Cells are chosen so that Python's own ``==``, ``<`` and ``hash`` are PostgreSQL's: text is ``str`` (code points, that
is ``COLLATE "C"``), numeric is ``Decimal``, dates and times are integers, infinities are ``float`` infinities, and
NaN is the singleton ``NAN``, equal to itself and larger than everything. No sort key is needed anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tycostream.rows import Cell


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """What the product knows of one SQL type.

    ``parse`` takes the type's text as the server prints it under our output settings (DateStyle ISO,
    IntervalStyle iso_8601, TimeZone UTC, extra_float_digits 3, bytea_output hex) and raises ValueError for anything
    else; ``text`` is its inverse and gives the same characters back. ``json`` writes a cell as JSON, in the form of
    PostgreSQL's ``to_json``. ``literal`` takes a decoded JSON or GraphQL input value (never None) and gives a
    cell that compares exactly, or raises ValueError with a sentence for the user. ``operators`` holds the comparison
    operators that are exact for the type (Hasura's names); empty: the type passes through as text.
    """

    name: str  # PostgreSQL's name: int4, timestamptz, …
    graphql: str  # Hasura's scalar: Int, timestamptz, …
    parse: Callable[[str], Cell]
    text: Callable[[Cell], str]
    json: Callable[[Cell], str]
    literal: Callable[[object], Cell]
    operators: frozenset[str]
    loose: bool = False  # equal cells may differ in text (1.0 and 1.00, 0 and -0)
    enum: tuple[str, ...] | None = None  # the labels of an enum, in order; cells are their places
