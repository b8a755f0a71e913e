"""The rules of `relationships:`, as far as the file alone can break them; the rest shows when columns are described."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from tycostream.config.messages import did_you_mean
from tycostream.config.model import Config, Consistency, EngineName, RelationshipConfig, SourceConfig
from tycostream.config.names import field_name_problem
from tycostream.config.tree import Path

AGGREGATE: Final = "_aggregate"  # after an array's name: the field of aggregates over its rows
_Add = Callable[..., None]


def fields_of(name: str, relationship: RelationshipConfig) -> tuple[str, ...]:
    """The fields that a relationship gives a row, in GraphQL."""
    return (name, name + AGGREGATE) if relationship.many else (name,)


def known_fields(source: SourceConfig) -> dict[str, str]:
    """The fields of its columns, as far as the file names them: GraphQL name → column."""
    named = dict.fromkeys([*(source.columns or ()), *source.fields, *source.column_config])
    settings = source.column_config
    return {(settings[column].name if column in settings else None) or column: column for column in named}


def check_relationships(
    source: SourceConfig, path: Path, config: Config, names: Sequence[str], add: _Add
) -> None:
    """Note what is wrong with those of one source; ``names``: of all sources, the broken ones too."""
    taken = {field: f"column {column!r}" for field, column in known_fields(source).items()}
    for name, relationship in source.relationships.items():
        here = (*path, "relationships", name)
        if problem := field_name_problem(name):
            add(here, problem, key=True)
        for field in fields_of(name, relationship):
            if field in taken:
                its = "" if field == name else f"its field {field!r}: "
                add(here, f"{its}{field!r} is the name of {taken[field]} already; choose another", key=True)
        taken |= dict.fromkeys(fields_of(name, relationship), f"relationship {name!r}")
        _target(relationship, here, names, add)
        target = config.sources.get(relationship.target)
        _on(source, relationship, here, target, add)
        why = _loose(source, target, config) if target is not None else ""
        if why and relationship.required and not relationship.many:
            add((*here, "required"), f"promises the row at every moment, but {why}; remove it", key=True)


def _target(relationship: RelationshipConfig, path: Path, names: Sequence[str], add: _Add) -> None:
    if relationship.object is not None and relationship.array is not None:
        said = "leads to one row (`object`) or to any number of rows (`array`), not both; remove one of them"
        add((*path, "array"), said, key=True)
    elif not relationship.target:
        add(path, "names no source; write `object: …` for one row, or `array: …` for any number", key=True)
    elif relationship.target not in names:
        guess = did_you_mean(relationship.target, names)
        kind = "array" if relationship.many else "object"
        add((*path, kind), f"there is no source {relationship.target!r}{guess or '; name one of `sources:`'}")
    if relationship.many and "required" in relationship.model_fields_set:
        add((*path, "required"), "is for an `object` only: an array is never null; remove it", key=True)


def _loose(source: SourceConfig, target: SourceConfig, config: Config) -> str:
    """Why rows of two sources need not be of one moment, whatever their database guarantees; or nothing."""
    only = next(iter(config.databases)) if len(config.databases) == 1 else ""
    ours, theirs = source.database or only, target.database or only
    if ours not in config.databases or theirs not in config.databases:
        return ""  # said elsewhere
    if ours != theirs:
        return f"nothing ties databases {ours} and {theirs} to one moment"
    database = config.databases[ours]
    if database.engine is EngineName.RISINGWAVE:
        return "each source of a RisingWave has a moment of its own"
    if database.engine is EngineName.MATERIALIZE:
        loose = database.consistency is not Consistency.DATABASE
        return (
            f"each source of {ours} has a moment of its own without `consistency: database`" if loose else ""
        )
    rerun = next((each for each in (source, target) if each.query is not None or each.fields), None)
    return "" if rerun is None else f"{rerun.name} is computed again some time after its tables changed"


def _on(
    source: SourceConfig, relationship: RelationshipConfig, path: Path, target: SourceConfig | None, add: _Add
) -> None:
    path = (*path, "on")
    if not relationship.on:
        add(path, "names no columns; write ours with theirs: {instrument_id: id}")
    ours, theirs = _columns(source), None if target is None else _columns(target)
    seen: dict[str, str] = {}
    for mine, its in relationship.on.items():
        here = (*path, mine)
        if problem := _missing(mine, ours, source.name):
            add(here, problem, key=True)
        if target is not None and (problem := _missing(its, theirs, target.name)):
            add(here, problem)
        if its in seen:
            add(here, f"{its!r} is compared with {seen[its]!r} already; name every column once")
        seen.setdefault(its, mine)


def _columns(source: SourceConfig) -> Collection[str] | None:
    """The columns that it exposes, by their names in the database; None: whatever there is."""
    return None if source.columns is None else [*source.columns, *source.fields]


def _missing(column: str, columns: Collection[str] | None, source: str) -> str:
    if columns is None or column in columns:
        return ""
    guess = did_you_mean(column, columns)
    return f"{column!r} is not among the `columns` of {source}{guess or '; add it there, or name another'}"
