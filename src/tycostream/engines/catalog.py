"""From what a catalogue says and what the configuration chooses to a row type: the same rules for every engine."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tycostream.config.model import SourceConfig
from tycostream.engines.libpq import fail
from tycostream.errors import UpstreamError
from tycostream.json_shape import object_shape
from tycostream.rows import Column
from tycostream.scalars import CONFIG_TYPES, Scalar, array_of, config_scalar, enum_scalar, scalar_for

_LABELLED = frozenset(
    {"text", "varchar", "bpchar", "name", "citext"}
)  # what an enum of the file may stand on


@dataclass(frozen=True, slots=True)
class CatalogColumn:
    """A column as a catalogue knows it; ``labels``: of a database's own enum type, in order."""

    name: str
    type_name: str
    nullable: bool = True
    comment: str | None = None
    labels: tuple[str, ...] | None = None


def closest(name: str, names: Iterable[str]) -> str:
    """``did you mean x?``, or nothing."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean {close[0]}?" if close else ""


def missing_column(source: SourceConfig, relation: str, name: str, names: Sequence[str]) -> UpstreamError:
    """A column that the configuration names and the database has not."""
    return fail(
        "column-missing",
        f"source {source.name}: {relation} has no column {name}",
        detail=f"columns that exist: {', '.join(names)}",
        hint=closest(name, names) or "correct the column's name",
    )


def choose_columns(
    source: SourceConfig,
    relation: str,
    columns: Mapping[str, CatalogColumn],
    chosen: Mapping[str, str | None],
    key: Sequence[str],
    enums: Mapping[str, tuple[str, ...]],
    unlisted: Callable[[str, str], None],
) -> tuple[Column, ...]:
    """The columns of the row type; UpstreamError names what does not exist or has another type."""
    names = list(columns)
    for name in (*chosen, *key, *source.column_config):
        if name not in columns:
            raise missing_column(source, relation, name, names)
    if lacking := [name for name in key if name not in chosen]:
        raise fail(
            "key-column-left-out",
            f"source {source.name}: `columns` leaves out key column {', '.join(lacking)}",
            hint=f"add {', '.join(lacking)} to `columns:`",
        )
    result = []
    for name, wanted in chosen.items():
        info, choice = columns[name], source.column_config.get(name)
        document = object_shape(wanted, source.types, enums) if wanted is not None else None
        if document is not None and scalar_for(info.type_name).name not in CONFIG_TYPES["JSON"]:
            assert wanted is not None
            raise _other_type(source, info, wanted, "an object type needs a json or jsonb column")
        # null in a key would be one row in place of several
        told = None if name in key else unlisted
        scalar = choose_scalar(source, info, None if document is not None else wanted, enums, told)
        result.append(
            Column(
                name,
                scalar,
                (choice.name if choice else None) or name,
                # an unlisted label, or a document that does not fit, is shown as null, NOT NULL or not
                nullable=info.nullable
                or document is not None
                or (scalar.enum is not None and name not in key),
                comment=(choice.comment if choice else None) or info.comment,
                document=document,
            )
        )
    return tuple(result)


def choose_scalar(
    source: SourceConfig,
    column: CatalogColumn,
    wanted: str | None,
    enums: Mapping[str, tuple[str, ...]],
    unlisted: Callable[[str, str], None] | None,
) -> Scalar:
    """The scalar of a column: the database's type, read as the configuration says where both agree.

    ``unlisted`` is told of an enum and a label that it has not; None: such a label does not parse.
    """

    def enum(name: str, labels: Sequence[str]) -> Scalar:
        return enum_scalar(name, labels, None if unlisted is None else partial(unlisted, name))

    actual = scalar_for(column.type_name)
    if column.labels and (wanted is None or wanted == "Array"):
        name = column.type_name.removesuffix("[]").rpartition(".")[2].strip('"')
        own = enum(name, enums.get(name, column.labels))
        actual = array_of(own) if actual.element is not None else own
    if wanted is None:
        return actual
    if wanted in enums:
        if (actual.element or actual).name in _LABELLED or column.labels:
            chosen = enum(wanted, enums[wanted])
            return array_of(chosen) if actual.element is not None else chosen
        raise _other_type(source, column, wanted, "an enum needs a text or enum column")
    if wanted in CONFIG_TYPES:
        if actual.name in CONFIG_TYPES[wanted] or (wanted == "Array" and actual.element is not None):
            return actual
        fitting = [name for name, accepted in CONFIG_TYPES.items() if actual.name in accepted]
        raise _other_type(
            source, column, wanted, f"write {' or '.join(fitting)}" if fitting else "leave the type out"
        )
    scalar = config_scalar(wanted)
    if scalar is None:
        raise fail("column-type", f"source {source.name}: column {column.name}: there is no type {wanted}")
    if scalar.name != actual.name:
        raise _other_type(source, column, wanted, f"write {actual.name}, or leave the type out")
    return scalar


def _other_type(source: SourceConfig, column: CatalogColumn, wanted: str, hint: str) -> UpstreamError:
    return fail(
        "column-type",
        f"source {source.name}: column {column.name} is {column.type_name} in the database, and {wanted} in the configuration",
        hint=f"{hint}, or convert it in the database",
    )
