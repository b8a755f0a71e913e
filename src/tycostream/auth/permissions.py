"""What one role may see of one source: the configuration's words, as places of the columns that the database has.

Values only. ``graphql/conditions.py`` makes the predicates of ``where``, and ``graphql/rights.py`` puts them into plans.
A role that inherits sees what the others see together, row by row: in a row that only some of them see, only the columns
that those see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tycostream.config.access import ALL_COLUMNS, QUERY_ROOTS, SUBSCRIPTION_ROOTS, PermissionConfig
from tycostream.config.messages import did_you_mean
from tycostream.rows import RowType


class Unfit(Exception):
    """A permission does not fit what the database has. Nobody sees anything by it; ``str`` says why."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Some columns, in some rows."""

    visible: tuple[int, ...]  # the places of the columns, in order; never none
    where: Mapping[str, Any] = field(hash=False)  # {}: every row


@dataclass(frozen=True, slots=True)
class Permission:
    """What a role sees of a source. Root fields go by the keys of ``custom_root_fields``."""

    grants: tuple[Grant, ...]  # its own, or one of each role that it inherits from
    limit: int | None  # the most rows of a list
    aggregate: bool
    query_roots: frozenset[str]
    subscription_roots: frozenset[str]

    @property
    def visible(self) -> tuple[int, ...]:
        """The places of the columns that it sees in some rows, in order."""
        return tuple(sorted({place for grant in self.grants for place in grant.visible}))

    @property
    def masked(self) -> tuple[int, ...]:
        """Of those the ones that it may not see in every row that it sees."""
        return tuple(
            place for place in self.visible if not all(place in grant.visible for grant in self.grants)
        )

    @property
    def all_rows(self) -> bool:
        """Whether it sees every row."""
        return any(not grant.where for grant in self.grants)

    def narrowed(self, row_type: RowType) -> RowType:
        """The row type as far as it can be seen; without a key if a column of that cannot."""
        visible, masked = self.visible, self.masked
        place = {old: new for new, old in enumerate(visible)}
        known = all(column in place for column in row_type.key)
        columns = row_type.columns
        return RowType(
            row_type.source,
            tuple(replace(columns[i], nullable=True) if i in masked else columns[i] for i in visible),
            tuple(place[i] for i in row_type.key) if known else (),
            row_type.comment,
            row_type.watched,
        )

    def knows_key(self, row_type: RowType) -> bool:
        """Whether it can tell rows apart by their key, in every row that it sees."""
        plain = {*self.visible} - {*self.masked}
        return row_type.keyed and plain.issuperset(row_type.key)


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
        (Grant(visible, config.where),),
        config.limit,
        config.aggregate,
        _roots(config.query_root_fields, QUERY_ROOTS, config.aggregate),
        _roots(config.subscription_root_fields, SUBSCRIPTION_ROOTS, config.aggregate),
    )


def _roots(chosen: tuple[str, ...] | None, known: tuple[str, ...], aggregate: bool) -> frozenset[str]:
    roots = frozenset(known if chosen is None else chosen)
    return roots if aggregate else roots - {"select_aggregate"}


def together(permissions: Sequence[Permission]) -> Permission:
    """What roles see together, as Hasura has it: the largest of their limits, and whatever one of them may ask for."""
    limits = [each.limit for each in permissions if each.limit is not None]
    return Permission(
        tuple(grant for each in permissions for grant in each.grants),
        max(limits, default=None),
        any(each.aggregate for each in permissions),
        frozenset().union(*(each.query_roots for each in permissions)),
        frozenset().union(*(each.subscription_roots for each in permissions)),
    )


def granting(
    role: str, permissions: Mapping[str, PermissionConfig], inherited: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """The roles by whose permissions ``role`` sees a source: itself, if it has one there; else those it inherits from."""
    if role in permissions:
        return (role,)
    found: dict[str, None] = {}
    for member in inherited.get(role, ()):
        found.update(dict.fromkeys(granting(member, permissions, inherited)))
    return tuple(found)
