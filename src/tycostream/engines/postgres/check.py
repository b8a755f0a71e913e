"""What ``tycostream check`` finds out about a PostgreSQL, and what must be true before a stream is begun."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tycostream.engines.base import Finding
from tycostream.engines.libpq import Connection
from tycostream.engines.names import shown
from tycostream.engines.postgres.catalogue import ColumnInfo, Table
from tycostream.engines.postgres.computed import Computed
from tycostream.rows import RowType

STANDBY: Final = "standby"  # the code of what passes by itself when the server is promoted
_SENDER_TIMEOUT_MS_MIN: Final = 5_000  # we tell the server once a second that we live

_SERVER = (
    b"SELECT current_setting('server_version_num')::int, current_setting('wal_level'), pg_encoding_to_char(encoding),"
    b" (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user)"
    # Amazon gives the right by membership
    b" OR EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_replication' AND pg_has_role(oid, 'member')),"
    b" current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots)::int,"
    b" current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_replication)::int,"
    b" pg_is_in_recovery(), current_setting('wal_sender_timeout'),"
    b" (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_sender_timeout'),"
    b" current_setting('max_slot_wal_keep_size'), datcollate"
    b" FROM pg_database WHERE datname = current_database()"
)


async def server_findings(
    connection: Connection, database: str, *, slot: bool, has_slot: bool
) -> list[Finding]:
    """The server's settings and the role's rights; psycopg.Error. ``slot``: a permanent one is configured."""
    row = await (await connection.execute(_SERVER)).fetchone()
    assert row is not None
    version, wal_level, encoding, may, slots, senders, standby, timeout, timeout_ms, keep, _ = row
    user = shown(connection.info.user)
    rules = [
        ("server-version", version >= 130000, f"PostgreSQL {version // 10000}", "PostgreSQL 13 or later is needed"),
        (STANDBY, not standby, f"the server is {'a standby: it takes no slots of ours' if standby else 'a primary'}", "connect to the primary, or list all servers in `url` and add target_session_attrs=read-write"),
        ("wal-level", wal_level == "logical", f"wal_level is {wal_level}", "ALTER SYSTEM SET wal_level = logical; then restart PostgreSQL"),
        ("encoding", encoding != "SQL_ASCII", f"the encoding is {encoding}", "SQL_ASCII says nothing about what its bytes mean: dump the database and restore it into one made with ENCODING 'UTF8'"),
        ("replication-right", bool(may), f"role {user} {'has' if may else 'lacks'} the REPLICATION right", f"ALTER ROLE {user} REPLICATION;"),
        ("no-free-slot", slots > 0 or has_slot, f"{slots} replication slots are free", "ALTER SYSTEM SET max_replication_slots = 20; then restart PostgreSQL"),
        ("no-free-sender", senders > 0, f"{senders} WAL senders are free", "ALTER SYSTEM SET max_wal_senders = 20; then restart PostgreSQL"),
    ]  # fmt: skip
    advice = [
        ("wal-sender-timeout", timeout_ms >= _SENDER_TIMEOUT_MS_MIN, f"wal_sender_timeout is {timeout}", "ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf(); -- 0 keeps the log of connections that are dead, and a very short one ends ours"),
        ("slot-wal-bound", not slot or keep != "-1", f"max_slot_wal_keep_size is {keep}", "ALTER SYSTEM SET max_slot_wal_keep_size = '20GB'; SELECT pg_reload_conf(); -- while tycostream is down its slot keeps the log, without an end"),
    ]  # fmt: skip
    return [
        Finding(f"database {database} {code}", ok, said, "" if ok else hint, fatal)
        for found, fatal in ((rules, True), (advice, False))
        for code, ok, said, hint in found
    ]


def table_findings(subject: str, table: Table, row_type: RowType, chosen: bool) -> list[Finding]:
    """What one should know of a table that can be followed. ``chosen``: the configuration lists its columns."""
    findings = [Finding(subject, True, f"{table.sql}, {len(row_type.columns)} columns")]
    findings += _order_findings(subject, table.columns, row_type)
    if not chosen and (generated := [c.name for c in table.columns if c.generated]):
        said = f"{', '.join(generated)}: generated columns are not replicated, so the source leaves them out"
        hint = "name it in `columns:`, and the source is run again as a query whenever the table changes; or fill an ordinary column by a trigger"
        findings.append(Finding(subject, False, said, hint, fatal=False))
    if table.kind == "r" and table.parent:
        said = f"tables inherit from {table.sql}; the source is the rows of {table.sql} alone (FROM ONLY)"
        hint = "make sources of the tables that inherit too"
        findings.append(Finding(subject, False, said, hint, fatal=False))
    return findings


def computed_findings(subject: str, computed: Computed, row_type: RowType) -> list[Finding]:
    """What one should know of a view or query: what it is run again for."""
    said = f"{computed.title}, {len(row_type.columns)} columns, {computed.followed}"
    return [Finding(subject, True, said), *_order_findings(subject, computed.columns, row_type)]


def _order_findings(subject: str, columns: Iterable[ColumnInfo], row_type: RowType) -> list[Finding]:
    names = {column.name for column in row_type.columns}
    odd = [c.name for c in columns if c.name in names and not c.code_point_order]
    if not odd:
        return []
    said = f"{', '.join(odd)}: tycostream orders text by code point; the database's own ORDER BY differs"
    return [Finding(subject, False, said, 'compare with ORDER BY … COLLATE "C"', fatal=False)]
