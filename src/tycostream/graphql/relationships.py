"""Relationships of the configuration, as far as the described sources bear them out.

A relationship between sources of which one is not described (yet) is not there; one whose columns do not fit is not
there either, and ``Misfit`` says why. Neither keeps a source from being shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tycostream.config.messages import did_you_mean
from tycostream.config.model import RelationshipConfig, SourceConfig
from tycostream.config.relationships import fields_of
from tycostream.dataflow.relation import Join
from tycostream.rows import Column, RowType
from tycostream.scalars import joinable


@dataclass(frozen=True, slots=True)
class Relationship:
    """A field of a row that leads to rows of ``join.source``: to one, or if ``many`` to any number of them.

    ``required``: the one row is always there, by the word of the configuration and the columns' own.
    """

    name: str
    join: Join
    many: bool
    required: bool = False
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a relationship of the configuration is not there, or not as it is written."""

    source: str
    name: str
    message: str
    hint: str
    fatal: bool = True  # False: it is there, but nullable

    @property
    def subject(self) -> str:
        """What it is about, for people."""
        return f"relationship {self.source}.{self.name}"


Relationships = Mapping[str, tuple[Relationship, ...]]  # by the source whose rows have them


def resolved(
    sources: Mapping[str, SourceConfig], row_types: Mapping[str, RowType]
) -> tuple[dict[str, tuple[Relationship, ...]], list[Misfit]]:
    """The relationships between the sources that are described, and what is wrong with others of these."""
    misfits: list[Misfit] = []
    names = [source for source in sources if source in row_types]
    return {source: _of_source(source, sources, row_types, misfits) for source in names}, misfits


def _of_source(
    source: str, sources: Mapping[str, SourceConfig], row_types: Mapping[str, RowType], misfits: list[Misfit]
) -> tuple[Relationship, ...]:
    found: list[Relationship] = []
    for name, each in sources[source].relationships.items():
        if each.target in row_types:
            found += _Resolving(name, each, row_types[source], row_types[each.target]).relationship(misfits)
    return tuple(found)


class Resolved:
    """What ``resolved`` says, kept while sources are described one by one: a thousand times all of it takes half a minute."""

    def __init__(self, sources: Mapping[str, SourceConfig]) -> None:
        self._misfits: dict[str, list[Misfit]] = {}
        self.reconfigure(sources)

    def reconfigure(self, sources: Mapping[str, SourceConfig]) -> None:
        """Take on another configuration; what differs by it is then to be looked at."""
        self._sources = sources
        self._leading: dict[str, list[str]] = {}  # to each source
        for name, source in sources.items():
            for relationship in source.relationships.values():
                self._leading.setdefault(relationship.target, []).append(name)

    def look(
        self, row_types: Mapping[str, RowType], names: Iterable[str]
    ) -> dict[str, tuple[Relationship, ...]]:
        """The relationships of ``names``, described otherwise than before, and of those that lead to them."""
        found: dict[str, tuple[Relationship, ...]] = {}
        touched = dict.fromkeys(each for name in names for each in (name, *self._leading.get(name, ())))
        for source in touched:
            misfits: list[Misfit] = []
            known = source in row_types
            found[source] = _of_source(source, self._sources, row_types, misfits) if known else ()
            self._misfits[source] = misfits
        return found

    def misfits_of(self, source: str) -> Sequence[Misfit]:
        """What is wrong with the relationships of a source."""
        return self._misfits.get(source, ())

    @property
    def misfits(self) -> set[Misfit]:
        """What is wrong with any."""
        return {each for misfits in self._misfits.values() for each in misfits}


class _Resolving:
    """One relationship and the row types at its two ends."""

    def __init__(self, name: str, config: RelationshipConfig, ours: RowType, theirs: RowType) -> None:
        self._name = name
        self._config = config
        self._ours, self._theirs = ours, theirs

    def relationship(self, misfits: list[Misfit]) -> list[Relationship]:
        """The relationship, if it fits; what is wrong with it is added to ``misfits``."""
        wrong = [*self._taken(), *self._columns()]
        misfits += wrong
        if wrong:
            return []
        local = tuple(self._ours.index_of(mine) for mine in self._config.on)
        remote = tuple(self._theirs.index_of(its) for its in self._config.on.values())
        nullable = [column.name for column in map(self._ours.columns.__getitem__, local) if column.nullable]
        if self._config.required and nullable:
            message = (
                f"it is `required`, but its column {nullable[0]!r} may be NULL: it is nullable in the schema"
            )
            misfits.append(
                self._misfit(message, "declare the column NOT NULL, or remove `required`", fatal=False)
            )
        join = Join(self._theirs.source, local, remote)
        required = self._config.required and not nullable
        return [Relationship(self._name, join, self._config.many, required, self._config.comment)]

    def _misfit(self, message: str, hint: str, *, fatal: bool = True) -> Misfit:
        return Misfit(self._ours.source, self._name, message, hint, fatal)

    def _taken(self) -> list[Misfit]:
        """The file alone does not show the columns of a source that exposes all."""
        fields = {column.field: column.name for column in self._ours.columns}
        return [
            self._misfit(
                f"its field {name!r} has the name of column {fields[name]!r}",
                "rename the relationship, or give the column another name in `column_config:`",
            )
            for name in fields_of(self._name, self._config)
            if name in fields
        ]

    def _columns(self) -> list[Misfit]:
        wrong: list[Misfit] = []
        for mine, its in self._config.on.items():
            ours, theirs = _column(self._ours, mine), _column(self._theirs, its)
            wrong += [
                self._misfit(
                    f"source {row_type.source} has no column {name!r}",
                    f"name another in `on:`{did_you_mean(name, [column.name for column in row_type.columns])}",
                )
                for row_type, name, column in ((self._ours, mine, ours), (self._theirs, its, theirs))
                if column is None
            ]
            if ours is not None and theirs is not None and not joinable(ours.scalar, theirs.scalar):
                wrong.append(
                    self._misfit(
                        f"column {mine!r} of type {ours.scalar.name} and column {its!r} of {self._theirs.source}, of type "
                        f"{theirs.scalar.name}, have no equality here",
                        "join columns of one type, or give one of them the type of the other in the database",
                    )
                )
        return wrong


def _column(row_type: RowType, name: str) -> Column | None:
    return next((column for column in row_type.columns if column.name == name), None)
