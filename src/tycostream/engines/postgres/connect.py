"""Connections to PostgreSQL: one list of output settings, the replication connection's too."""

from __future__ import annotations

from typing import Any, Final

import psycopg

from tycostream.config.model import DatabaseConfig
from tycostream.engines.libpq import Connection, open_connection, translate

# Scalars parse the text that these settings give, and nothing else.
OUTPUT: Final = {
    "DateStyle": "ISO",
    "IntervalStyle": "iso_8601",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
}


# Of the server's limits, those of a session that waits: replication's own transaction lasts as long as the tables are
# read, and a read may pause for a slow reader. By a query, because a server refuses the name of one that it lacks.
_PATIENCE: Final = (
    b"SELECT set_config(name, '0', false) FROM pg_settings WHERE setting <> '0' AND name IN"
    b" ('idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')"
)


async def connect(url: str, config: DatabaseConfig, *, replication: bool = False) -> Connection:
    """An autocommit connection whose output settings are what we asked for; UpstreamError otherwise."""
    options = dict(OUTPUT)
    if not replication:
        options["statement_timeout"] = str(int(config.statement_timeout.total_seconds() * 1000))
    extra: dict[str, Any] = {"replication": "database"} if replication else {}
    connection = await open_connection(url, config, options=options, shows=OUTPUT, **extra)
    try:
        await connection.execute(_PATIENCE)
    except psycopg.Error as error:
        await connection.close()
        raise translate(error, url, "setting how long a session may wait") from None
    except BaseException:
        await connection.close()
        raise
    return connection
