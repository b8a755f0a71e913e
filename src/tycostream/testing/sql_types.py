"""A fake's SQL types and columns, and the order of values by their text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from tycostream.testing.pgwire_messages import Field

Row = tuple[str | None, ...]

_INTEGERS: Final = {"int2", "int4", "int8", "uint2", "uint4", "uint8", "oid", "mz_timestamp"}


@dataclass(frozen=True, slots=True)
class SqlType:
    """A resolved type: its short name, OID, modifier (-1: none) and the name that the catalogue shows."""

    name: str
    oid: int
    typmod: int
    shown: str

    def field(self, name: str) -> Field:
        """A result column of this type."""
        return Field(name, self.oid, self.typmod)


@dataclass(frozen=True, slots=True)
class ColumnDef:
    """A column of a relation."""

    name: str
    type: SqlType
    nullable: bool = True
    comment: str | None = None
    default: str | None = None


def sort_key(kind: SqlType) -> Callable[[str | None], tuple[int, Any]]:
    """How values of a type are ordered, from their text; NULL comes last."""
    if kind.name in _INTEGERS:
        return lambda text: (2, 0) if text is None else (0, int(text))
    if kind.name == "numeric":
        return _number_key
    if kind.name in ("float4", "float8"):
        return lambda text: (2, 0) if text is None else (1, 0) if text == "NaN" else (0, float(text))
    return lambda text: (2, "") if text is None else (0, text)


def _number_key(text: str | None) -> tuple[int, Any]:
    if text is None:
        return (2, 0)
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number's text") from None
    return (1, 0) if number.is_nan() else (0, number)
