"""The configuration's shape (design 6.1): frozen pydantic models. ``load.py`` makes them from YAML.

Every field has a default or is required here and nowhere else; descriptions become the JSON Schema that editors show.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from tycostream.json_shape import innermost


class EngineName(StrEnum):
    """The databases that can be a source."""

    MATERIALIZE = "materialize"
    RISINGWAVE = "risingwave"
    POSTGRES = "postgres"


class Consistency(StrEnum):
    """Over what a Materialize's batches are whole: one source, or all sources of the database."""

    SOURCE = "source"
    DATABASE = "database"


_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|KiB|MB|MiB|GB|GiB)")
_BYTES = {"B": 1, "KB": 10**3, "KiB": 2**10, "MB": 10**6, "MiB": 2**20, "GB": 10**9, "GiB": 2**30}

# Bounds keep arithmetic on the values (deadlines, sums) far from overflow; nobody needs more.
_LONGEST = timedelta(days=3650)
_LARGEST = 2**50


def _duration(value: Any) -> Any:
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        seconds = float(match[1]) * _SECONDS[match[2]]
        if seconds > _LONGEST.total_seconds():
            raise ValueError(f"is too long: the longest duration is {_LONGEST.days}d")
        return timedelta(seconds=seconds)
    if isinstance(value, timedelta):
        return value
    raise ValueError("a duration is a number and a unit, such as 500ms, 30s, 5m, 1h or 1d")


def _size(value: Any) -> Any:
    size: float | None = None
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        size = float(match[1]) * _BYTES[match[2]]
    elif isinstance(value, str) and value.isascii() and value.isdigit():  # a number from the environment
        size = float(value)
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        size = value
    if size is None:
        raise ValueError("a size is a number and a unit, such as 64KiB, 64MiB or 2GiB")
    if size > _LARGEST:
        raise ValueError(f"is too large: the largest size is {_LARGEST // 2**30}GiB")
    return int(size)


def _flag(value: Any) -> Any:
    # Only these: with YAML 1.2 a `yes` is a text, and guessing at it would hide a mistake.
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError("must be true or false")


def _whole(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic would take true for 1
        raise ValueError("must be a whole number")
    return value


def _names(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _settings(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        name: str(setting).lower()
        if isinstance(setting, bool)
        else str(setting)
        if isinstance(setting, (int, float))
        else setting
        for name, setting in value.items()
    }


def _listed(value: Any) -> Any:
    """``[String]`` is a list to YAML, and the name of a type here."""
    if isinstance(value, (list, tuple)) and len(value) == 1:
        return f"[{_listed(value[0])}]"
    return value


def _columns(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _listed(type_name) for name, type_name in value.items()}
    if not isinstance(value, (list, tuple)):
        return value
    for name in value:
        if not isinstance(name, str):
            raise ValueError(
                "must be a list of column names, or names with types: {id: Integer, note: String}"
            )
    if twice := sorted({name for name in value if list(value).count(name) > 1}):
        raise ValueError(f"names {', '.join(twice)} twice; name every column once")
    return dict.fromkeys(value)


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema(
        {"type": "string", "pattern": f"^{_DURATION.pattern}$", "examples": ["500ms", "30s", "5m"]}
    ),
]
Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": f"^{_SIZE.pattern}$"}],
            "examples": ["64KiB", "64MiB", "2GiB"],
        }
    ),
]
Flag = Annotated[bool, BeforeValidator(_flag)]
Whole = Annotated[int, BeforeValidator(_whole)]
_LIST = {"type": "array", "items": {"type": "string"}}
Names = Annotated[
    tuple[str, ...], BeforeValidator(_names), WithJsonSchema({"anyOf": [{"type": "string"}, _LIST]})
]
Settings = Annotated[
    dict[str, str],
    BeforeValidator(_settings),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": "^[a-z_]+$"},
            "additionalProperties": {"type": ["string", "integer", "number", "boolean"]},
            "examples": [{"transaction_isolation": "serializable"}],
        }
    ),
]
_TYPE_NAME: dict[str, Any] = {
    "anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "maxItems": 1}],
    "examples": ["String", ["String"]],
}
TypeName = Annotated[str, BeforeValidator(_listed), WithJsonSchema(_TYPE_NAME)]
Columns = Annotated[
    dict[str, str | None],
    BeforeValidator(_columns),
    WithJsonSchema(
        {
            "anyOf": [
                {**_LIST, "minItems": 1, "uniqueItems": True},
                {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": {"anyOf": [*_TYPE_NAME["anyOf"], {"type": "null"}]},
                },
            ],
            "examples": [["id", "price"], {"id": "Integer", "price": "Numeric"}],
        }
    ),
]


class Model(BaseModel):
    """Frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_enum_values=False)


class DatabaseConfig(Model):
    """A configured upstream connection."""

    engine: EngineName = Field(EngineName.POSTGRES, description="The database product.")
    url: str | None = Field(None, description="A libpq connection string or URI.")
    embedded: Flag = Field(False, description="Run a PostgreSQL of our own in `data` (engine postgres only).")
    data: str = Field(".tycostream/postgres", description="The embedded PostgreSQL's folder.")
    port: Whole | None = Field(
        None, ge=0, le=65535, description="The embedded PostgreSQL's port; absent: a free one."
    )
    manage: Flag = Field(
        False,
        description="We may create and alter our own objects in this database: the publication of a PostgreSQL; on "
        "RisingWave subscriptions, and materialized views for queries and custom fields.",
    )
    retention: Duration = Field(
        timedelta(hours=1),
        description="How long the subscriptions that we create keep changes (engine risingwave only).",
    )
    publication: str | None = Field(
        None, description="The publication to read; absent: tycostream_<config name>."
    )
    slot: str | None = Field(
        None,
        description="A permanent replication slot (engine postgres only): after a restart clients resume from their cursors.",
    )
    slot_warn: Size = Field(
        5 * 2**30, description="Warn when the permanent slot makes the database keep more log than this."
    )
    connect_timeout: Duration = Field(timedelta(seconds=10), description="How long a connection may take.")
    statement_timeout: Duration = Field(
        timedelta(seconds=30),
        description="How long a catalogue query may take, and on PostgreSQL the re-run of a view or query.",
    )
    reruns_max: Whole = Field(
        2, ge=1, le=64, description="The most views and queries re-run at once (engine postgres only)."
    )
    stall_after: Duration = Field(
        timedelta(seconds=10), description="How long a source may give no sign of life before it is stale."
    )
    reconnect_delay_max: Duration = Field(
        timedelta(seconds=10), description="The longest wait between two attempts to reconnect."
    )
    cluster: str | None = Field(
        None, description="The cluster that computes (engine materialize only); absent: the user's default."
    )
    consistency: Consistency = Field(
        Consistency.SOURCE,
        description="What is true at one moment: each source, or all of the database (engine materialize only).",
    )
    options: Settings = Field(
        default_factory=dict, description="Session settings by name (engine materialize only)."
    )


class ColumnConfig(Model):
    """How one column appears in GraphQL."""

    name: str | None = Field(None, description="The column's GraphQL name.")
    comment: str | None = Field(None, description="The column's description in the schema.")


class FieldConfig(Model):
    """A custom field: an expression over the columns of its row, computed by the database."""

    sql: str = Field(description="The SQL expression.")
    type: str | None = Field(None, description="Its type, as in `columns`; absent: what the database says.")
    comment: str | None = Field(None, description="The field's description in the schema.")


class LogConfig(Model):
    """How much history a source keeps for resume, slow sockets and coalescing."""

    keep: Duration = Field(
        timedelta(minutes=5), description="How long a client may be away and still resume."
    )
    bytes: Size = Field(64 * 2**20, description="The most memory the log may take.")


class LiveConfig(Model):
    """How a source is delivered."""

    log: LogConfig = Field(default_factory=LogConfig, description="How much history is kept.")
    linger: Duration = Field(
        timedelta(seconds=60), description="How long a view without subscribers is kept."
    )
    coalesce: Duration = Field(
        timedelta(0), description="The least time between two pushes: a floor for all."
    )
    interval: Duration = Field(
        timedelta(milliseconds=100),
        description="The least time from one re-run of a view or query to the next (engine postgres only).",
    )
    refresh: Duration | None = Field(
        None,
        description="How often a view or query is re-run that reads what cannot be watched, such as a "
        "materialized view, a foreign table or now() (engine postgres only).",
    )


LOADERS = frozenset({"name", "types"})  # of a source: what the loader sets, and nobody writes


class SourceConfig(Model):
    """A relation of the database, or a query, that the API exposes."""

    name: str = Field(description="Its name in GraphQL; set by the loader from the key.", exclude=True)
    database: str = Field("", description="The database's name; may be absent if there is one only.")
    table: str = Field(
        "",
        description='[schema.]table; a name with a dot in it is quoted: sales."a.b". Absent: the source\'s name.',
    )
    query: str | None = Field(None, description="A SELECT in place of a table.")
    subscription: str | None = Field(
        None,
        description="[schema.]name of an existing subscription over the table (engine risingwave only).",
    )
    primary_key: Names = Field((), description="Key columns; absent: the database's primary key.")
    columns: Columns | None = Field(
        None, description="The columns to expose: a list of names, or names with types; absent: all."
    )
    column_config: dict[str, ColumnConfig] = Field(
        default_factory=dict, description="How single columns appear in GraphQL."
    )
    fields: dict[str, FieldConfig] = Field(default_factory=dict, description="Custom fields by name.")
    live: LiveConfig = Field(
        default_factory=LiveConfig, description="How it is delivered; over the top-level `live`."
    )
    comment: str | None = Field(None, description="The type's description in the schema.")
    types: dict[str, dict[str, TypeName]] = Field(
        default_factory=dict,
        description="Set by the loader: the file's, if a column is of one.",
        exclude=True,
    )

    @property
    def definition(self) -> tuple[object, ...]:
        """Which rows it has, however they are shown: another definition over the same columns is other rows."""
        fields = tuple((name, field.sql) for name, field in self.fields.items())
        return self.database, self.table, self.query, self.subscription, fields

    @property
    def asked(self) -> tuple[object, ...]:
        """What is asked of the database for it: the same rows may be asked for in another rhythm."""
        return self.definition, self.live.interval, self.live.refresh

    @property
    def types_within(self) -> frozenset[str]:
        """What the object types of its columns are made of: the names of scalars, enums and other object types."""
        return frozenset(innermost(name)[0] for fields in self.types.values() for name in fields.values())


class ServerConfig(Model):
    """The one port."""

    host: str = Field("127.0.0.1", description="The address to listen on; without auth, loopback only.")
    port: Whole = Field(4000, ge=0, le=65535, description="The port to listen on; 0: a free one.")
    insecure_public: Flag = Field(False, description="Listen beyond loopback although there is no auth.")
    stringify_numbers: Flag = Field(
        False, description="bigint and numeric as JSON strings: exact in browsers too."
    )
    cursor_key: Names = Field((), description="Secrets that seal cursors; the first seals, all open.")
    multi_root_subscriptions: Flag = Field(
        False, description="Allow several root fields in one subscription."
    )
    allowed_origins: Names = Field((), description="Origins of foreign pages that may use this server.")
    graphiql: Flag = Field(True, description="Serve GraphiQL to browsers.")
    connection_init_timeout: Duration = Field(
        timedelta(seconds=10), description="How long a new socket may wait before it greets."
    )
    ping_interval: Duration = Field(timedelta(seconds=20), description="How often an idle socket is probed.")
    message_bytes_max: Size = Field(2**20, description="The largest message a client may send.")
    outbox_bytes_max: Size = Field(4 * 2**20, description="The most bytes queued for one connection.")
    operations_max: Whole = Field(1000, ge=1, description="The most operations of one connection.")
    log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="The least level to log."
    )
    log_format: str = Field(
        "auto", pattern="^(auto|json|console)$", description="auto: console on a terminal, json elsewhere."
    )


# The server's settings of now: a reload may change most of them.
ServerSettings = Callable[[], ServerConfig]


class Config(Model):
    """A whole tycostream.yaml, every default filled in."""

    name: str = Field(
        "tycostream", pattern="^[a-z][a-z0-9_]*$", description="Names our objects in the databases."
    )
    databases: dict[str, DatabaseConfig] = Field(default_factory=dict)
    enums: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="Ordered labels.")
    types: dict[str, dict[str, TypeName]] = Field(
        default_factory=dict, description="Object types for JSON columns: fields with types, by name."
    )
    sources: dict[str, SourceConfig] = Field(default_factory=dict)
    live: LiveConfig = Field(default_factory=LiveConfig, description="Defaults for every source's `live`.")
    server: ServerConfig = Field(default_factory=ServerConfig, description="The port that serves everything.")
