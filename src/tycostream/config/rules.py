"""What one model cannot see: rules across databases, enums and sources, and what comes with later versions."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from tycostream.config.model import Config, EngineName, SourceConfig
from tycostream.scalars import CONFIG_TYPES, SCALARS, config_scalar

Add = Callable[[tuple[str | int, ...], str], None]
_NAME: Final = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")
_RESERVED: Final = {"query_root", "subscription_root", "mutation_root", "order_by", "Int", "Float", "String"} | {
    "Boolean", "ID", "change_phase", "change_operation", "coalesce_strategy"
}  # fmt: skip
_SUFFIXES: Final = (
    "",
    "_by_pk",
    "_changes",
    "_bool_exp",
    "_order_by",
    "_change_set",
    "_change",
    "_old",
    "_select_column",
)
_LATER_TOP: Final = {
    "auth": "authentication is not enforced by this version",
    "limits": "limits come with a later version",
    "types": "object types for JSON columns come with a later version",
    "state": "stored state comes with a later version",
    "bus": "the bus between processes comes with a later version",
    "triggers": "triggers come with a later version",
}
_LATER_SOURCE: Final = {
    "permissions": "permissions are not enforced by this version",
    "fields": "custom fields come with a later version",
    "query": "sources over a SELECT come with a later version",
    "relationships": "relationships come with a later version",
    "triggers": "triggers come with a later version",
}


def refuse_later(value: dict[str, Any], add: Add) -> None:
    """Refuse, and take out, what this version does not do: ignoring a permission would show what it hides."""
    for key, why in _LATER_TOP.items():
        if key in value:
            del value[key]
            add((key,), f"{why}, so a configuration that has it is refused; remove it")
    sources = value.get("sources")
    for name, source in sources.items() if isinstance(sources, dict) else ():
        if not isinstance(source, dict):
            continue
        for key, why in _LATER_SOURCE.items():
            if key in source:
                del source[key]
                add(("sources", name, key), f"{why}, so a configuration that has it is refused; remove it")
        live = source.get("live")
        if isinstance(live, dict) and "refresh" in live:
            del live["refresh"]
            add(("sources", name, "live", "refresh"), "refresh comes with a later version; remove it")


def cross_check(config: Config, add: Add) -> Config:
    """Report every broken rule; give the configuration with each source's database filled in."""
    _check_databases(config, add)
    _check_enums(config, add)
    _check_names(config, add)
    if not config.server.insecure_public and not _loopback(config.server.host):
        add(
            ("server", "host"),
            f"{config.server.host!r} is reachable from elsewhere and there is no authentication yet; "
            "use 127.0.0.1, or say insecure_public: true",
        )
    sources = {name: _check_source(config, source, add) for name, source in config.sources.items()}
    return config.model_copy(update={"sources": sources})


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    close = difflib.get_close_matches(name, known, 1)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known) or 'none'}"


def _check_databases(config: Config, add: Add) -> None:
    if not config.databases:
        add((), 'no database: write databases: {main: {engine: postgres, url: "${DATABASE_URL}"}}')
    for name, database in config.databases.items():
        path = ("databases", name)
        if database.embedded and database.engine is not EngineName.POSTGRES:
            add((*path, "embedded"), "only engine postgres can be embedded")
        if database.embedded and database.url:
            add((*path, "url"), "an embedded database has no url of its own; remove one of the two")
        if not database.embedded and not database.url:
            add(
                path,
                'where is it? write url: "${DATABASE_URL}", or embedded: true for a PostgreSQL of our own',
            )


def _check_enums(config: Config, add: Add) -> None:
    for name, labels in config.enums.items():
        if not _NAME.fullmatch(name) or name.startswith("__"):
            add(("enums", name), "is no GraphQL name: letters, digits and _, not starting with a digit or __")
        if not labels:
            add(("enums", name), "has no labels")
        for n, label in enumerate(labels):
            if not _NAME.fullmatch(label) or label in ("true", "false", "null") or label.startswith("__"):
                add(("enums", name, n), f"{label!r} cannot be a GraphQL enum value")
            if label in labels[:n]:
                add(("enums", name, n), f"{label!r} is here twice")


def _check_names(config: Config, add: Add) -> None:
    taken = dict.fromkeys(_RESERVED, "a type of the API") | {s.graphql: "a scalar" for s in SCALARS.values()}
    taken |= {name: f"enums.{name}" for name in config.enums}
    for name in config.sources:
        path = ("sources", name)
        if not _NAME.fullmatch(name) or name.startswith("__"):
            add(path, "is no GraphQL name: letters, digits and _, not starting with a digit or __")
        for generated in (name + suffix for suffix in _SUFFIXES):
            if generated in taken:
                add(path, f"its generated name {generated!r} is also {taken[generated]}; rename the source")
            taken[generated] = f"generated from sources.{name}"


def _check_source(config: Config, source: SourceConfig, add: Add) -> SourceConfig:
    path = ("sources", source.name)
    update: dict[str, Any] = {}
    if not source.table:
        update["table"] = source.name
    if not source.database and len(config.databases) == 1:
        update["database"] = next(iter(config.databases))
    elif not source.database and config.databases:
        add(path, f"which database? write database: one of {', '.join(config.databases)}")
    elif source.database and source.database not in config.databases:
        guess = _did_you_mean(source.database, config.databases)
        add((*path, "database"), f"there is no database {source.database!r}; {guess}")
    for name, type_name in (source.columns or {}).items():
        if type_name is not None and type_name not in config.enums and config_scalar(type_name) is None:
            guess = _did_you_mean(type_name, {*CONFIG_TYPES, *config.enums})
            add((*path, "columns", name), f"there is no type {type_name!r}; {guess}")
    _check_columns(source, path, add)
    return source.model_copy(update=update)


def _check_columns(source: SourceConfig, path: tuple[str, ...], add: Add) -> None:
    if source.columns is not None:
        for name in source.primary_key:
            if name not in source.columns:
                guess = _did_you_mean(name, source.columns)
                add((*path, "primary_key"), f"the key column {name!r} is not among the columns; {guess}")
        for name in source.column_config:
            if name not in source.columns:
                guess = _did_you_mean(name, source.columns)
                add((*path, "column_config", name), f"there is no such column; {guess}")
    fields: dict[str, str] = {}
    for name in [
        *(source.columns or {}),
        *(n for n in source.column_config if n not in (source.columns or {})),
    ]:
        setting = source.column_config.get(name)
        field = setting.name if setting and setting.name else name
        if not _NAME.fullmatch(field) or field.startswith("__") or field in ("_and", "_or", "_not"):
            add(
                (*path, "columns", name),
                f"{field!r} cannot be a GraphQL field; give it a name: column_config: {{{name}: {{name: …}}}}",
            )
        if field in fields:
            add((*path, "column_config", name), f"{field!r} is also the field of column {fields[field]!r}")
        fields[field] = name
