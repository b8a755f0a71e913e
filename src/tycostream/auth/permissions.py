"""What one role may see of one source: the configuration's words, as places of the columns that the database has.

Values only. ``graphql/conditions.py`` makes the predicate of ``where``, and ``graphql/rights.py`` puts it into plans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tycostream.config.access import ALL_COLUMNS, QUERY_ROOTS, SUBSCRIPTION_ROOTS, PermissionConfig
from tycostream.config.messages import did_you_mean
from tycostream.rows import RowType


class Unfit(Exception):
    """A permission does not fit what the database has. Nobody sees anything by it; ``str`` says why."""


@dataclass(frozen=True, slots=True)
class Permission:
    """What a role sees of a source. Root fields go by the keys of ``custom_root_fields``."""

    visible: tuple[int, ...]  # the places of its columns, in order; never none
    where: Mapping[str, Any] = field(hash=False)  # {}: every row
    limit: int | None  # the most rows of a list
    aggregate: bool
    query_roots: frozenset[str]
    subscription_roots: frozenset[str]

    def narrowed(self, row_type: RowType) -> RowType:
        """The row type as far as it can be seen; without a key if a column of that cannot."""
        place = {old: new for new, old in enumerate(self.visible)}
        known = all(column in place for column in row_type.key)
        return RowType(
            row_type.source,
            tuple(row_type.columns[i] for i in self.visible),
            tuple(place[i] for i in row_type.key) if known else (),
            row_type.comment,
            row_type.watched,
        )


def permission_of(config: PermissionConfig, row_type: RowType) -> Permission:
    """The permission over the columns of ``row_type``; Unfit if it names another one, or none at all."""
    names = [column.name for column in row_type.columns]
    if ALL_COLUMNS in config.columns:
        visible = tuple(range(len(names)))
    else:
        for name in config.columns:
            if name not in names:
                raise Unfit(f"`columns` has {name!r}, which is no column of it{did_you_mean(name, names)}")
        visible = tuple(i for i, name in enumerate(names) if name in config.columns)
    if not visible:
        raise Unfit("`columns` names none: a type of GraphQL has one field at least")
    return Permission(
        visible,
        config.where,
        config.limit,
        config.aggregate,
        _roots(config.query_root_fields, QUERY_ROOTS, config.aggregate),
        _roots(config.subscription_root_fields, SUBSCRIPTION_ROOTS, config.aggregate),
    )


def _roots(chosen: tuple[str, ...] | None, known: tuple[str, ...], aggregate: bool) -> frozenset[str]:
    roots = frozenset(known if chosen is None else chosen)
    return roots if aggregate else roots - {"select_aggregate"}
