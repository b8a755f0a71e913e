"""Worlds of sources, each of another seed: what a schema can be made of, in many combinations."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tycostream.auth.permissions import Permission
from tycostream.config.access import SUBSCRIPTION_ROOTS
from tycostream.config.model import SourceConfig
from tycostream.graphql.relationships import resolved
from tycostream.graphql.roles import permissions_of
from tycostream.graphql.source import compiled_sources
from tycostream.json_shape import ListShape, ObjectShape
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS, Scalar, enum_scalar, scalar_for

_SIDE = enum_scalar("side", ["buy", "sell"], lambda label: None)
_STATE = enum_scalar("state", ["in progress", "done"], lambda label: None)  # labels that GraphQL cannot have
_LEG = ObjectShape("leg", "leg", {"price": SCALARS["numeric"], "tags": ListShape(SCALARS["text"])})
_ORDER = ObjectShape("ticket", "ticket", {"legs": ListShape(_LEG), "first": _LEG, "ratio": SCALARS["float8"]})
_KINDS = (
    "int4", "int8", "text", "numeric", "timestamptz", "bool", "float8", "float4", "json", "jsonb", "point", "uuid",
    "text[]", "int4[]", "bytea", "date", "interval",
)  # fmt: skip
_OTHERS: tuple[tuple[Scalar, ObjectShape | ListShape | None], ...] = (
    (_SIDE, None),
    (_STATE, None),
    (SCALARS["jsonb"], _ORDER),
    (SCALARS["json"], ListShape(_LEG)),
)
ROLE = "user"


@dataclass(frozen=True)
class World:
    """What ``build_schema`` takes."""

    row_types: Sequence[RowType]
    sources: Mapping[str, SourceConfig]
    permissions: Mapping[str, Permission] | None


class _Chance:
    """Choices that are the same in every version of Python."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def below(self, bound: int) -> int:
        return int(self._random.random() * bound)

    def of(self, what: Sequence[Any]) -> Any:
        return what[self.below(len(what))]

    def happens(self, percent: int) -> bool:
        return self.below(100) < percent


def _columns(chance: _Chance) -> tuple[Column, ...]:
    columns = [Column("id", scalar_for(chance.of(("int4", "int8", "text", "json"))), nullable=False)]
    for n in range(chance.below(9)):
        name = f"c{n}"
        kind = chance.below(len(_KINDS) + len(_OTHERS))
        comment = f"column {n}" if chance.happens(20) else None
        field = f"C{n}Renamed" if chance.happens(10) else ""
        nullable = chance.happens(70)
        scalar, document = (
            _OTHERS[kind - len(_KINDS)] if kind >= len(_KINDS) else (scalar_for(_KINDS[kind]), None)
        )
        columns.append(
            Column(name, scalar, nullable=nullable, field=field, comment=comment, document=document)
        )
    return tuple(columns)


def _permission(chance: _Chance, row_type: RowType) -> dict[str, Any]:
    names = [column.name for column in row_type.columns]
    found: dict[str, Any] = {"columns": [name for name in names if chance.happens(70)] or names[-1:]}
    if chance.happens(20):
        found["columns"] = "*"
    if chance.happens(60):
        found["aggregate"] = True
    for key, roots in (
        ("query_root_fields", SUBSCRIPTION_ROOTS[:3]),
        ("subscription_root_fields", SUBSCRIPTION_ROOTS),
    ):
        if chance.happens(50):
            allowed = [
                root
                for root in roots
                if chance.happens(50) and ("aggregate" in found or "aggregate" not in root)
            ]
            found[key] = allowed
    return found


def world(seed: int) -> World:
    """The world of a seed. Every third one is as a role sees it."""
    chance = _Chance(seed)
    row_types, given = [], {}
    for n in range(1 + chance.below(5)):
        name = chance.of((f"s{n}", f"table_{n}", f"s{n}_select_column", f"t{n}_old_x"))
        columns = _columns(chance)
        comment = f"rows of {name}" if chance.happens(30) else None
        row_types.append(RowType(name, columns, (0,) if chance.happens(70) else (), comment))
        given[name] = {"name": name}
        if chance.happens(20):
            given[name]["table"] = chance.of((f"other.{name}", f"public.{name}"))
        if chance.happens(20):
            given[name]["custom_root_fields"] = {
                "select": f"all{n}",
                "select_changes": {"name": f"feed{n}", "comment": chance.of(("", "what happens"))},
            }
    names = list(given)
    for name in names:
        links = {}
        for n in range(chance.below(4)):
            links[f"r{n}"] = {chance.of(("object", "array")): chance.of(names), "on": {"id": "id"}}
            if chance.happens(20):
                links[f"r{n}"]["comment"] = f"link {n}"
        given[name]["relationships"] = links
    restricted = seed % 3 == 0
    if restricted:
        for row_type in row_types:
            if chance.happens(80):
                given[row_type.source]["permissions"] = {ROLE: _permission(chance, row_type)}
    sources = {name: SourceConfig.model_validate(each) for name, each in given.items()}
    permissions = None
    if restricted:
        relationships, _ = resolved(sources, {each.source: each for each in row_types})
        whole = compiled_sources(row_types, relationships, stringify_numbers=False)
        permissions, _ = permissions_of(ROLE, sources, whole, {})
    return World(row_types, sources, permissions)
