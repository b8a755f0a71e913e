"""The arguments of ``T_stream`` to meaning: the order it goes by, and where it begins; Hasura's words for errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tycostream.dataflow.order import OrderBy
from tycostream.dataflow.predicate import TRUE, IsNull, Predicate
from tycostream.dataflow.relation import Masked
from tycostream.errors import RequestError
from tycostream.graphql.comparisons import cell_of
from tycostream.graphql.inputs import field_index, window_bound
from tycostream.graphql.plan import Stream
from tycostream.graphql.rights import Rights
from tycostream.graphql.source import Source
from tycostream.rows import RowType
from tycostream.scalars import Scalar

_NOW: Final = frozenset({"now", "now()"})  # PostgreSQL's spellings of this moment, in any case


def stream_cursor(row_type: RowType, arguments: Mapping[str, Any], path: str) -> tuple[OrderBy, Stream]:
    """The order and the beginning that ``cursor`` and ``batch_size`` ask for; ``path`` is that of the arguments.

    A cursor is over one column. Its value may be null, which is before all values, or ``now``.
    """
    items = [item for item in arguments["cursor"] if item is not None]
    named = [(item, *pair) for item in items for pair in item["initial_value"].items()]
    if not named:
        raise RequestError("validation-failed", "one streaming column field is expected", path=path)
    if len(named) > 1:
        raise RequestError("validation-failed", "multiple column cursors are not supported yet", path=path)
    item, field, value = named[0]
    place = field_index(row_type, field)
    scalar = row_type.columns[place].scalar
    now = _is_now(scalar, value)
    initial = None
    if value is not None and not now:
        initial = cell_of(scalar, value, f"{path}.cursor.initial_value.{field}")
    descending = item.get("ordering") == "DESC"
    # its NULLs are never shown; they lie where a live query in this order has them, which can then share its rows
    return OrderBy(place, descending, nulls_first=descending), Stream(
        _batch_size(arguments["batch_size"], f"{path}.batch_size"), initial, now
    )


def placed(source: Source, order: OrderBy, rights: Rights) -> Predicate:
    """The condition that a row has a place in the stream at all: a value to go by, and to be seen."""
    masked = isinstance(rights.cell(source, order.column), Masked)
    nullable = masked or source.row_type.columns[order.column].nullable
    return rights.rows(source, IsNull(order.column, negated=True) if nullable else TRUE)


def _batch_size(value: object, path: str) -> int:
    size = window_bound(value, path)
    if not size:
        raise RequestError(
            "validation-failed", "expected a positive 32-bit integer for type 'Int', but found 0", path=path
        )
    return size


def _is_now(scalar: Scalar, value: object) -> bool:
    """Whether ``value`` says *now*, and is no value of the column's type: to a text, it is one."""
    if not isinstance(value, str) or value.strip().lower() not in _NOW:
        return False
    try:
        scalar.literal(value)
    except ValueError:
        return True
    return False
