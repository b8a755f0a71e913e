"""Connections to PostgreSQL: one list of output settings, the replication connection's too."""

from __future__ import annotations

from typing import Any, Final

from tycostream.config.model import DatabaseConfig
from tycostream.engines.libpq import Connection, open_connection

# Scalars parse the text that these settings give, and nothing else.
OUTPUT: Final = {
    "DateStyle": "ISO",
    "IntervalStyle": "iso_8601",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
}


async def connect(url: str, config: DatabaseConfig, *, replication: bool = False) -> Connection:
    """An autocommit connection whose output settings are what we asked for; UpstreamError otherwise."""
    options = dict(OUTPUT)
    if not replication:
        options["statement_timeout"] = str(int(config.statement_timeout.total_seconds() * 1000))
    extra: dict[str, Any] = {"replication": "database"} if replication else {}
    return await open_connection(url, config, options=options, shows=OUTPUT, **extra)
