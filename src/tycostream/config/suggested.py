"""The relationships that foreign keys suggest, both ways, under names that people would choose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count

from tycostream.config.names import CLAUSES, identifier
from tycostream.config.relationships import AGGREGATE
from tycostream.config.table_facts import Reference, TableFacts
from tycostream.scalars import joinable, scalar_for


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An entry of ``relationships:``; ``on``: our columns with theirs."""

    name: str
    source: str
    many: bool
    on: tuple[tuple[str, str], ...]
    required: bool = False


def suggested(table: TableFacts, named: Mapping[str, TableFacts], fields: set[str]) -> list[Suggestion]:
    """What the foreign keys of a table, and those that lead to it, make of it.

    ``named``: the tables that are sources, by their names as such. ``fields``: what its columns are called in GraphQL.
    """
    taken = fields | CLAUSES
    made: list[Suggestion] = []
    wanted = [*_outwards(table, named), *_inwards(table, named)]
    for each, longer in wanted:
        name = next(
            name for name in _names(each.name, longer) if taken.isdisjoint(_fields_of(name, each.many))
        )
        taken |= _fields_of(name, each.many)
        made.append(Suggestion(name, each.source, each.many, each.on, each.required))
    return made


def _names(short: str, longer: str) -> Iterator[str]:
    yield short
    yield longer
    yield from (f"{longer}_{number}" for number in count(2))


def _fields_of(name: str, many: bool) -> set[str]:
    return {name, name + AGGREGATE} if many else {name}


def _outwards(table: TableFacts, named: Mapping[str, TableFacts]) -> Iterator[tuple[Suggestion, str]]:
    """Each key leads to one row; with a longer name for the case that the first is taken."""
    for key in table.references:
        source = next((name for name, other in named.items() if _leads(key, table, other)), None)
        if source is None:
            continue
        by = identifier("_".join(key.columns))
        one = singular(source)
        alone = key.columns[0] if len(key.columns) == 1 else ""
        stem = next((alone.removesuffix(end) for end in ("_id", "Id", "_ID") if alone.endswith(end)), "")
        name = identifier(stem) if stem.strip("_") else one
        on = tuple(zip(key.columns, key.referenced, strict=True))
        yield Suggestion(name, source, many=False, on=on, required=key.always), f"{one}_by_{by}"


def _inwards(table: TableFacts, named: Mapping[str, TableFacts]) -> Iterator[tuple[Suggestion, str]]:
    """Each key that leads here leads back to all rows that name this one, or to the one that can."""
    for source, other in named.items():
        keys = [key for key in other.references if _leads(key, other, table)]
        for key in keys:
            many = set(key.columns) != set(other.primary_key)
            name = source if many else singular(source)
            longer = f"{name}_by_{identifier('_'.join(key.columns))}"
            on = tuple(zip(key.referenced, key.columns, strict=True))
            yield Suggestion(name if len(keys) == 1 else longer, source, many, on), longer


def _leads(key: Reference, of: TableFacts, to: TableFacts) -> bool:
    """Whether a key of a table leads to another, by columns that are exposed and compare here."""
    if (key.schema, key.table) != (to.schema, to.name) or len(set(key.referenced)) < len(key.referenced):
        return False
    pairs = zip(key.columns, key.referenced, strict=True)
    return all(_joins(of, mine, to, its) for mine, its in pairs)


def _joins(of: TableFacts, mine: str, to: TableFacts, its: str) -> bool:
    ours, theirs = dict(of.columns).get(mine), dict(to.columns).get(its)
    if ours is None or theirs is None:
        return False
    enums = [facts.enums.get(name) for facts, name in ((of, mine), (to, its))]
    if any(enums):
        return enums[0] == enums[1]
    return joinable(scalar_for(ours), scalar_for(theirs))


def singular(name: str) -> str:
    """What one of ``name`` is called, as far as English endings tell."""
    low = name.lower()
    if low.endswith(("ss", "us", "is", "news", "series")):
        return name
    if low.endswith("ies") and len(name) > 4:
        return name[:-3] + ("Y" if name.isupper() else "y")
    if low.endswith(("sses", "shes", "ches", "xes", "zes")):
        return name[:-2]
    if low.endswith("s") and len(name) > 1:
        return name[:-1]
    return name
