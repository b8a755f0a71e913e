"""The configuration's shape (design 6.1): frozen pydantic models. ``load.py`` makes them from YAML.

Every field has a default or is required here and nowhere else; descriptions become the JSON Schema that editors show.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from pydantic import Field, model_validator

from tycostream.config.access import AllowConfig, IntrospectionConfig, PermissionConfig
from tycostream.config.audit import AuditConfig
from tycostream.config.auth import AuthConfig
from tycostream.config.door import CorsConfig, ForwardedHeader, TlsConfig
from tycostream.config.limits import LimitsConfig
from tycostream.config.values import (
    Columns,
    Duration,
    Flag,
    Model,
    Names,
    Pairs,
    Settings,
    Size,
    TypeName,
    Whole,
)
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


class RootFieldConfig(Model):
    """What one root field of a source is called. A text in its place is the name."""

    name: str | None = Field(None, description="Its name in GraphQL.")
    comment: str | None = Field(None, description='Its description in the schema; "": none.')

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class CustomRootFieldsConfig(Model):
    """The root fields of a source that are not called as they would be: Hasura's keys, and one for the change feed."""

    select: RootFieldConfig = Field(default_factory=RootFieldConfig, description="Instead of T.")
    select_by_pk: RootFieldConfig = Field(default_factory=RootFieldConfig, description="Instead of T_by_pk.")
    select_aggregate: RootFieldConfig = Field(
        default_factory=RootFieldConfig, description="Instead of T_aggregate."
    )
    select_stream: RootFieldConfig = Field(
        default_factory=RootFieldConfig, description="Instead of T_stream."
    )
    select_changes: RootFieldConfig = Field(
        default_factory=RootFieldConfig, description="Instead of T_changes."
    )


# What a root field is called if nothing else is said: the source's name, and this.
ROOT_FIELDS: Final = {
    "select": "",
    "select_by_pk": "_by_pk",
    "select_aggregate": "_aggregate",
    "select_stream": "_stream",
    "select_changes": "_changes",
}


class FieldConfig(Model):
    """A custom field: an expression over the columns of its row, computed by the database."""

    sql: str = Field(description="The SQL expression.")
    type: str | None = Field(None, description="Its type, as in `columns`; absent: what the database says.")
    comment: str | None = Field(None, description="The field's description in the schema.")


class RelationshipConfig(Model):
    """How a source's rows lead to rows of a source: one of ``object`` and ``array`` is set."""

    object: str | None = Field(None, description="The source that holds the one row that each row leads to.")
    array: str | None = Field(None, description="The source that holds the rows that each row leads to.")
    on: Pairs = Field(
        description="The columns that are equal: ours to theirs, by their names in the database."
    )
    required: Flag = Field(
        False,
        description="The database guarantees the row, by a foreign key for example (object only): "
        "then it is not null in the schema, unless a column of `on` may be NULL.",
    )
    comment: str | None = Field(None, description="The field's description in the schema.")

    @property
    def target(self) -> str:
        """The source that it leads to."""
        return self.object or self.array or ""

    @property
    def many(self) -> bool:
        """Whether it leads to any number of rows."""
        return self.array is not None


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
    relationships: dict[str, RelationshipConfig] = Field(
        default_factory=dict, description="Fields that lead to rows of sources, by name."
    )
    custom_root_fields: CustomRootFieldsConfig = Field(
        default_factory=CustomRootFieldsConfig, description="Other names of its root fields."
    )
    live: LiveConfig = Field(
        default_factory=LiveConfig, description="How it is delivered; over the top-level `live`."
    )
    permissions: dict[str, PermissionConfig] = Field(
        default_factory=dict, description="What each role sees, by the role's name; absent: for admin only."
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
    def root_fields(self) -> dict[str, str]:
        """The names of its root fields, by the keys of ``custom_root_fields``."""
        custom = self.custom_root_fields
        return {
            key: getattr(custom, key).name or f"{self.name}{suffix}" for key, suffix in ROOT_FIELDS.items()
        }

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
    tls: TlsConfig | None = Field(None, description="Speak TLS; absent: plain HTTP.")
    cors: CorsConfig = Field(
        default_factory=CorsConfig, description="Pages of other origins that may use this server."
    )
    trusted_proxies: Names = Field(
        (),
        description="Addresses and networks of proxies before this server: they say for whom they ask.",
    )
    forwarded_header: ForwardedHeader = Field(
        ForwardedHeader.X_FORWARDED_FOR,
        description="The header in which they say it; another one is not read.",
    )
    graphiql: Flag = Field(True, description="Serve GraphiQL to browsers.")
    header_timeout: Duration = Field(
        timedelta(seconds=10), description="How long the head of an HTTP request may take to come."
    )
    body_timeout: Duration = Field(
        timedelta(seconds=30), description="How long the body of an HTTP request may take to come."
    )
    header_bytes_max: Size = Field(32 * 2**10, description="The largest head of an HTTP request.")
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
    auth: AuthConfig | None = Field(
        None, description="Who may ask; absent: everybody who can reach the port, as admin."
    )
    state: str | None = Field(
        None,
        repr=False,
        description="Where API tokens are kept: sqlite:///file, or a PostgreSQL that several servers share.",
    )
    audit: AuditConfig | None = Field(
        None, description="What is written down of who did what; absent: nothing."
    )
    inherited_roles: dict[str, Names] = Field(
        default_factory=dict,
        description="Roles that see what others see together: their names, each with those.",
    )
    query_collections: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="Operations by name, in collections."
    )
    allowlist: dict[str, AllowConfig] = Field(
        default_factory=dict,
        description="Collections whose operations may be run, by roles other than admin; absent: any operation may.",
    )
    introspection: IntrospectionConfig = Field(
        default_factory=IntrospectionConfig, description="Who may look at the schema."
    )
    live: LiveConfig = Field(default_factory=LiveConfig, description="Defaults for every source's `live`.")
    limits: LimitsConfig = Field(
        default_factory=LimitsConfig, description="What one request may cost, and how much a client may ask."
    )
    server: ServerConfig = Field(default_factory=ServerConfig, description="The port that serves everything.")

    @property
    def outbox_bytes_max(self) -> int:
        """The most bytes that are queued for a connection of any role."""
        of_roles = [own.outbox_bytes_max or 0 for own in self.limits.per_role.values()]
        return max([self.server.outbox_bytes_max, *of_roles])
