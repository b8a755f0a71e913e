"""Rules between fields: what pydantic cannot see in one value alone. Every broken one is noted in the report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from tycostream.config.access_rules import check_access
from tycostream.config.auth import AuthConfig
from tycostream.config.auth_rules import check_auth
from tycostream.config.door_rules import check_door
from tycostream.config.hosts import public_host_problem
from tycostream.config.messages import did_you_mean
from tycostream.config.model import Config, DatabaseConfig, EngineName, LiveConfig, ServerConfig, SourceConfig
from tycostream.config.names import field_name_problem, name_problem
from tycostream.config.relationships import check_relationships
from tycostream.config.schema_names import FIXED_TYPES, Add, check_names
from tycostream.config.sql_text import one_expression, one_query
from tycostream.config.state import state_problem
from tycostream.config.table_name import parts
from tycostream.config.tree import Path, Report
from tycostream.json_shape import innermost
from tycostream.scalars import CONFIG_TYPES, SCALARS, config_scalar

_LOG_BYTES_MIN: Final = 64 * 2**10
_MESSAGE_BYTES_MIN: Final = 2**10
_REFRESH_MIN: Final = timedelta(milliseconds=100)
_RETENTION_MIN: Final = timedelta(minutes=1)  # a cursor is renewed well before it expires

_SLOT: Final = re.compile(r"[a-z0-9_]{1,63}")
_SETTING: Final = re.compile(r"[a-z_]+")
# Session settings that are ours: what the scalars can read, or what has a key of its own.
_OURS: Final = {
    **dict.fromkeys(
        ("timezone", "datestyle", "intervalstyle", "client_encoding", "extra_float_digits", "bytea_output"),
        "tycostream reads one form of every value and sets this itself; remove it",
    ),
    "cluster": "has a key of its own; write `cluster:` beside `options:`",
    "application_name": "is tycostream's own; remove it",
}

_Names = Mapping[str, Sequence[str]]  # section → its keys


def check_rules(config: Config, names: _Names, report: Report) -> None:
    """Note every broken rule. ``names``: the keys of each section as written, also those that are broken otherwise."""

    def add(path: Path, message: str, *, key: bool = False) -> None:
        if not report.is_broken(path, below=not key):  # a wrong key is wrong whatever it holds
            report.add(path, message, key=key)

    if not names["sources"]:
        add(("sources",), "there is no source; name a table: `sources: {trades: {}}`")
    for name, database in config.databases.items():
        _database(("databases", name), database, add)
    for name, labels in config.enums.items():
        _enum(name, labels, add)
    for name, fields in config.types.items():
        _object_type(name, fields, names, add)
    for name, source in config.sources.items():
        _source(source, ("sources", name), names, add)
        check_relationships(source, ("sources", name), config, names["sources"], add)
        read_by = _database_of(source, config, report)
        if read_by is not None:
            _source_engine(source, ("sources", name), read_by, add)
    check_names(config, add)
    check_access(config, names["sources"], add)
    _live(("live",), config.live, add)
    _server(config.server, config.auth, add)
    if config.auth is not None:
        check_auth(config.auth, add, tokens=config.state is not None)
    if config.state is not None and (problem := state_problem(config.state, asked=config.auth is not None)):
        add(("state",), problem)


def _database_of(source: SourceConfig, config: Config, report: Report) -> DatabaseConfig | None:
    """The database that a source will be read from; None where that cannot be told, which has been said elsewhere."""
    only = next(iter(config.databases)) if len(config.databases) == 1 else ""
    name = source.database or only
    if name not in config.databases or report.is_broken(("databases", name, "engine")):
        return None
    return config.databases[name]


def _database(path: Path, database: DatabaseConfig, add: Add) -> None:
    for name in ("connect_timeout", "statement_timeout", "stall_after", "reconnect_delay_max"):
        if getattr(database, name).total_seconds() <= 0:
            add((*path, name), "must be longer than nothing, such as 10s")
    if database.engine is EngineName.MATERIALIZE:
        _materialize(path, database, add)
    else:
        for name in ("cluster", "consistency", "options"):
            if name in database.model_fields_set:
                add((*path, name), "is a setting of engine materialize only; remove it", key=True)
        if database.slot is not None and not _SLOT.fullmatch(database.slot):
            add(
                (*path, "slot"), "is not a slot's name: at most 63 lower-case letters, digits and underscores"
            )
    if database.engine is not EngineName.POSTGRES:
        for name in ("publication", "slot", "slot_warn", "reruns_max"):
            if name in database.model_fields_set:
                add((*path, name), "is a setting of PostgreSQL only; remove it", key=True)
    _retention((*path, "retention"), database, add)
    _address(path, database, add)


def _retention(path: Path, database: DatabaseConfig, add: Add) -> None:
    if database.engine is not EngineName.RISINGWAVE:
        if "retention" in database.model_fields_set:
            add(path, "is a setting of engine risingwave only; remove it", key=True)
    elif database.retention < _RETENTION_MIN:
        add(path, "must be at least 1m: a cursor lives as long, and has to be renewed before it ends")
    elif database.retention % timedelta(seconds=1):
        add(path, "must be whole seconds: RisingWave knows no less")


def _materialize(path: Path, database: DatabaseConfig, add: Add) -> None:
    if database.cluster is not None and (not database.cluster.strip() or "\0" in database.cluster):
        add((*path, "cluster"), "is not a cluster's name; name one, or remove it to use the user's default")
    for name, value in database.options.items():
        here = (*path, "options", name)
        if not _SETTING.fullmatch(name):
            add(here, f"{name!r} is not a session setting: lower-case letters and underscores", key=True)
        elif name in _OURS:
            add(here, _OURS[name], key=True)
        elif not value.isprintable():
            add(here, "must be one line of printable text")


def _address(path: Path, database: DatabaseConfig, add: Add) -> None:
    if database.embedded:
        if database.engine is not EngineName.POSTGRES:
            add(
                (*path, "embedded"),
                f"only PostgreSQL can be embedded, not {database.engine.value}; write engine: postgres, "
                "or give a url instead",
            )
        if database.url is not None:
            add((*path, "url"), "an embedded database has no url; remove url, or remove embedded")
        return
    if not database.url:
        embedded = ", or embedded: true" if database.engine is EngineName.POSTGRES else ""
        where = (*path, "url") if "url" in database.model_fields_set else path
        add(where, f'has no url; write url: "${{DATABASE_URL}}" (a libpq connection string or URI){embedded}')
    elif not re.match(r"postgres(ql)?://", database.url) and (
        "://" in database.url or "=" not in database.url
    ):
        # The url itself is not shown: it may hold a password.
        add(
            (*path, "url"),
            "is not a libpq connection string; write postgresql://user:password@host:port/database, "
            "or host=… port=… user=… password=… dbname=…",
        )
    for name in ("data", "port"):
        if name in database.model_fields_set:
            hint = "; the url holds the port" if name == "port" else ""
            add((*path, name), f"is a setting of an embedded database only{hint}; remove it", key=True)


def _enum(name: str, labels: Sequence[str], add: Add) -> None:
    path: Path = ("enums", name)
    if problem := name_problem(name):
        add(path, problem, key=True)
    elif config_scalar(name) is not None or name in FIXED_TYPES:
        add(path, f"{name} is the name of a type already; choose another", key=True)
    if not labels:
        add(path, "has no labels; write them in their order: [buy, sell]")
    first: set[str] = set()
    for i, label in enumerate(labels):
        if label in first:
            add((*path, i), f"{label!r} is here a second time; keep one")
        elif label in ("true", "false", "null"):
            add((*path, i), f"{label!r} cannot be a label: GraphQL reads it as a value of its own")
        elif problem := name_problem(label):
            add((*path, i), problem)
        first.add(label)


def _source(source: SourceConfig, path: Path, names: _Names, add: Add) -> None:
    if problem := name_problem(source.name):
        add(path, f"{problem}; choose a name, and write the table's in `table:`", key=True)
    _source_database(source, path, names["databases"], add)
    if source.table:
        try:
            parts(source.table)
        except ValueError as error:
            add((*path, "table"), str(error))
    _query(source, path, add)
    _columns(source, path, names, add)
    _fields(source, path, names, add)
    _primary_key(source, path, add)
    _column_config(source, path, add)
    _live((*path, "live"), source.live, add)


def _source_engine(source: SourceConfig, path: Path, database: DatabaseConfig, add: Add) -> None:
    engine = database.engine
    if engine is EngineName.RISINGWAVE:
        _subscribed(source, path, database, add)
    elif source.subscription is not None:
        add((*path, "subscription"), "is a setting of engine risingwave only; remove it", key=True)
    if engine is not EngineName.POSTGRES:
        for name in ("interval", "refresh"):
            if name in source.live.model_fields_set:
                said = (
                    f"is for what PostgreSQL re-runs; {engine.value} tells every change by itself; remove it"
                )
                add((*path, "live", name), said, key=True)


def _subscribed(source: SourceConfig, path: Path, database: DatabaseConfig, add: Add) -> None:
    """RisingWave tells changes of tables and materialized views only; what is computed here has to become one."""
    computed = [name for name in ("query", "fields") if getattr(source, name)]
    for name in computed:
        if not database.manage:
            said = (
                "RisingWave keeps it as a materialized view: set `manage: true` of its database to have it created, "
                "or create the view yourself and name it in `table:`"
            )
            add((*path, name), said, key=True)
    if source.subscription is None:
        return
    if computed:
        said = f"is over a table, and {computed[0]} makes a materialized view of its own; remove one of them"
        add((*path, "subscription"), said, key=True)
    try:
        parts(source.subscription)
    except ValueError as error:
        add((*path, "subscription"), str(error))


def _query(source: SourceConfig, path: Path, add: Add) -> None:
    if source.query is None:
        return
    if source.table:
        add((*path, "table"), "a source reads a table or a query, not both; remove one of them", key=True)
    try:
        one_query(source.query)
    except ValueError as error:
        add((*path, "query"), str(error))


def _fields(source: SourceConfig, path: Path, names: _Names, add: Add) -> None:
    for name, field in source.fields.items():
        here = (*path, "fields", name)
        if problem := field_name_problem(name):
            add(here, problem, key=True)
        try:
            one_expression(field.sql)
        except ValueError as error:
            add((*here, "sql"), str(error))
        column_type = (source.columns or {}).get(name)
        if field.type is not None:
            _type((*here, "type"), field.type, names, add)
            if column_type is not None and column_type != field.type:
                add((*here, "type"), f"is {field.type}, but {column_type} in `columns`; keep one of them")


def _source_database(source: SourceConfig, path: Path, databases: Sequence[str], add: Add) -> None:
    if source.database and source.database not in databases:
        guess = did_you_mean(source.database, databases)
        listed = ", ".join(databases) or "none"
        add((*path, "database"), f"there is no database {source.database!r}{guess} (databases: {listed})")
    elif not source.database and len(databases) > 1:
        add(
            path,
            f"there are several databases; say which: `database: {databases[0]}` ({', '.join(databases)})",
        )


def _columns(source: SourceConfig, path: Path, names: _Names, add: Add) -> None:
    if source.columns is None:
        return
    if not source.columns:
        add((*path, "columns"), "names no column; name one at least, or remove `columns` to expose all")
    for column, type_name in source.columns.items():
        if type_name is not None:
            _type((*path, "columns", column), type_name, names, add)


def _type(path: Path, type_name: str, names: _Names, add: Add, *, inside: bool = False) -> None:
    """A type that is named; ``inside``: in a type of the file, where anything may be in a list."""
    name, lists = innermost(type_name)
    if name in names["types"]:
        return
    if (inside or not lists) and (name in names["enums"] or config_scalar(name) is not None):
        return
    guess = did_you_mean(name, [*names["enums"], *names["types"], *CONFIG_TYPES, *SCALARS])
    add(
        path,
        f"there is no type {type_name!r}{guess}"
        f" (types: {', '.join(CONFIG_TYPES)}, an SQL type, or an enum or a type of this file)",
    )


def _object_type(name: str, fields: Mapping[str, str], names: _Names, add: Add) -> None:
    path: Path = ("types", name)
    if problem := name_problem(name):
        add(path, problem, key=True)
    elif config_scalar(name) is not None or name in FIXED_TYPES:
        add(path, f"{name} is the name of a type already; choose another", key=True)
    if not fields:
        add(path, "has no fields; write them with their types: {street: String, city: String}")
    for field, type_name in fields.items():
        if problem := name_problem(field):
            add((*path, field), problem, key=True)
        _type((*path, field), type_name, names, add, inside=True)


def _primary_key(source: SourceConfig, path: Path, add: Add) -> None:
    def place(i: int) -> Path:
        return (*path, "primary_key", i)

    for i, column in enumerate(source.primary_key):
        if column in source.primary_key[:i]:
            add(place(i), f"{column!r} is here a second time; keep one")
        elif source.columns is not None and column not in source.columns and column not in source.fields:
            guess = did_you_mean(column, [*source.columns, *source.fields])
            add(
                place(i),
                f"{column!r} is not among `columns`{guess or '; add it there, or name another column'}",
            )


def _column_config(source: SourceConfig, path: Path, add: Add) -> None:
    chosen = None if source.columns is None else {**source.columns, **dict.fromkeys(source.fields)}
    taken: dict[str, str] = {}
    for column in dict.fromkeys([*(chosen or ()), *source.fields, *source.column_config]):
        settings = source.column_config.get(column)
        here = (*path, "column_config", column)
        if chosen is not None and column not in chosen:
            guess = did_you_mean(column, chosen)
            add(
                here,
                f"{column!r} is not among `columns`{guess or '; add it there, or remove it here'}",
                key=True,
            )
            continue
        renamed = settings is not None and settings.name is not None
        name = settings.name if settings is not None and settings.name is not None else column
        place = _name_place(source, path, column, renamed)
        if problem := field_name_problem(name):
            if column in source.fields and not renamed:
                continue  # said of the field
            remedy = "" if renamed else "; give it one: column_config: {…: {name: …}}"
            add(place, f"{problem}{remedy}", key=not renamed)
        elif name in taken:
            add(place, f"{name!r} is the name of column {taken[name]!r} already; choose another")
        taken.setdefault(name, column)


def _name_place(source: SourceConfig, path: Path, column: str, renamed: bool) -> Path:
    """Where a column's GraphQL name comes from."""
    if renamed:
        return (*path, "column_config", column, "name")
    if column in source.fields:
        return (*path, "fields", column)
    return (*path, "columns" if source.columns is not None else "column_config", column)


def _live(path: Path, live: LiveConfig, add: Add) -> None:
    if live.log.bytes < _LOG_BYTES_MIN:
        add((*path, "log", "bytes"), "must be at least 64KiB: a log must hold a change of ordinary size")
    if live.refresh is not None and live.refresh < _REFRESH_MIN:
        add((*path, "refresh"), "must be at least 100ms: each time the whole query is run again")


def _server(server: ServerConfig, auth: AuthConfig | None, add: Add) -> None:
    if problem := public_host_problem(server, auth):
        add(("server", "host"), problem)
    check_door(server, add, authenticated=auth is not None)
    for name in ("message_bytes_max", "outbox_bytes_max", "header_bytes_max"):
        if getattr(server, name) < _MESSAGE_BYTES_MIN:
            add(("server", name), "must be at least 1KiB: a query must fit")
    for name in ("connection_init_timeout", "ping_interval", "header_timeout", "body_timeout"):
        if getattr(server, name).total_seconds() <= 0:
            add(("server", name), "must be longer than nothing, such as 20s")
    for i, key in enumerate(server.cursor_key):
        if not key.strip():
            add(("server", "cursor_key", i), "is empty; a secret needs characters")
