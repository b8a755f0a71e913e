"""The names that the schema will have: what every schema has, and what two things want.

Types and fields are worlds of their own. What only a database knows, the types of its columns, meets them later
(``graphql/type_names.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from tycostream.config.model import ROOT_FIELDS, Config, SourceConfig
from tycostream.config.names import name_problem
from tycostream.config.tree import Path
from tycostream.scalars import SCALARS

Add = Callable[..., None]  # (path, message, key=False): note a mistake
_BUILT_IN: Final = frozenset(
    {"Int", "Float", "String", "Boolean", "ID", *(scalar.graphql for scalar in SCALARS.values())}
)
# The types that every schema has, whatever its sources.
FIXED_TYPES: Final = (
    _BUILT_IN
    | {f"{name}{kind}_comparison_exp" for name in _BUILT_IN for kind in ("", "_array")}
    | {f"{scalar.graphql}_cast_exp" for scalar in SCALARS.values() if "_cast" in scalar.operators}
    | {"query_root", "mutation_root", "subscription_root", "order_by", "cursor_ordering"}
    | {"change_phase", "change_operation", "coalesce_strategy", "Query", "Mutation", "Subscription"}
)
_FUNCTIONS: Final = (
    "avg", "max", "min", "stddev", "stddev_pop", "stddev_samp", "sum", "var_pop", "var_samp", "variance",
)  # fmt: skip
# of columns of type boolean and double precision
_COMPARED: Final = ("avg", "bool_and", "bool_or", "max", "min", "stddev_samp", "sum", "var_samp")
# The types that a source brings along, by what comes after its name.
SOURCE_TYPES: Final = (
    *(
        "",
        "_bool_exp",
        "_order_by",
        "_select_column",
        "_stream_cursor_input",
        "_stream_cursor_value_input",
        "_change_set",
        "_change",
        "_old",
    ),
    *(
        "_aggregate",
        "_aggregate_fields",
        "_aggregate_order_by",
        "_aggregate_bool_exp",
        "_aggregate_bool_exp_count",
    ),
    *(f"_{function}{kind}" for function in _FUNCTIONS for kind in ("_fields", "_order_by")),
    *(f"_aggregate_bool_exp_{function}" for function in _COMPARED),
)
# Of those the enums of columns that a condition on aggregates can be about: the source's name, this, its name again, and
# the name of the condition after its name.
_ARGUMENTS: Final = "_select_column_"
_ARGUMENTS_ENDS: Final = tuple(f"_aggregate_bool_exp_{function}_arguments_columns" for function in _COMPARED)
SOURCE_FIELDS: Final = tuple(ROOT_FIELDS.values())
_ENUM_TYPES: Final = ("", "_comparison_exp", "_array_comparison_exp")


def argument_columns(source: str, function: str) -> str:
    """The name of the enum of the columns that a condition on ``function`` of them can be about."""
    return f"{source}{_ARGUMENTS}{source}_aggregate_bool_exp_{function}_arguments_columns"


def types_of(source: str) -> Iterator[str]:
    """The names of all types that a source may bring along."""
    for end in SOURCE_TYPES:
        yield source + end
    for function in _COMPARED:
        yield argument_columns(source, function)


def types_of_enum(enum: str) -> Iterator[str]:
    """The names of all types that an enum may bring along."""
    return (enum + end for end in _ENUM_TYPES)


def owners(type_name: str) -> Iterator[str]:
    """Whatever a source that brings along a type of this name may be called; at most as many as there are such ends."""
    yield type_name
    for end in SOURCE_TYPES[1:]:
        if type_name.endswith(end):
            yield type_name[: -len(end)]
    for end in _ARGUMENTS_ENDS:
        if type_name.endswith(end):
            twice = type_name[: -len(end)]
            source = twice[: (len(twice) - len(_ARGUMENTS)) // 2]
            if source and twice == f"{source}{_ARGUMENTS}{source}":
                yield source


def check_names(config: Config, add: Add) -> None:
    """Names that the schema would hold twice. Types and fields are worlds of their own."""
    types: dict[str, str] = {}
    fields: dict[str, str] = {}
    for name in config.enums:
        _claim(("enums", name), f"enum {name}", types_of_enum(name), types, "type", add)
    for name in config.types:
        _claim(("types", name), f"type {name}", (name,), types, "type", add)
    for name in config.sources:
        path, owner = ("sources", name), f"source {name}"
        if name in FIXED_TYPES:
            add(
                path,
                f"{name} is the name of a type already; choose another, and write `table: {name}`",
                key=True,
            )
        _claim(path, owner, types_of(name), types, "type", add)
        _claim_fields(config.sources[name], path, owner, fields, add)


def _claim(path: Path, owner: str, names: Iterable[str], taken: dict[str, str], what: str, add: Add) -> None:
    # a source's name is its own, whatever the table of its database is called
    remedy = "; a source's `table:` may stay" if path[0] == "sources" else ""
    for name in names:
        if name in taken:
            add(path, f"its {what} {name} is also one of {taken[name]}; rename one of them{remedy}", key=True)
        elif name in FIXED_TYPES and what == "type" and name != path[-1]:
            add(path, f"its {what} {name} is one that every schema has; rename it", key=True)
        taken.setdefault(name, owner)


def _claim_fields(source: SourceConfig, path: Path, owner: str, taken: dict[str, str], add: Add) -> None:
    """The root fields: what is custom is wrong at its own place, what follows from the name at the source."""
    for key, name in source.root_fields.items():
        custom = getattr(source.custom_root_fields, key)
        if custom.name is None:
            _claim(path, owner, (name,), taken, "field", add)
            continue
        here = (*path, "custom_root_fields", key)
        if problem := name_problem(custom.name):
            add((*here, "name"), problem)
        elif name in taken:
            add(here, f"{name} is also a field of {taken[name]}; choose another name")
        taken.setdefault(name, owner)
