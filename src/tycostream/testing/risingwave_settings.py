"""The session parameters of a fake RisingWave."""

from __future__ import annotations

from typing import Final

from tycostream.testing.sql_settings import Parameters

RISINGWAVE: Final = Parameters(
    defaults={
        "application_name": "",
        "background_ddl": "false",
        "bytea_output": "hex",
        "client_encoding": "UTF8",
        "client_min_messages": "notice",
        "database": "dev",
        "DateStyle": "",
        "extra_float_digits": "1",
        "idle_in_transaction_session_timeout": "60000",
        "implicit_flush": "false",
        "IntervalStyle": "postgres",
        "query_epoch": "0",
        "query_mode": "auto",
        "rw_implicit_flush": "false",
        "search_path": '"$user", public',
        "server_encoding": "UTF8",
        "server_version": "13.14.0",
        "server_version_num": "130014",
        "standard_conforming_strings": "on",
        "statement_timeout": "3600",
        "streaming_parallelism": "default",
        "synchronize_seqscans": "false",
        "TimeZone": "UTC",
        "transaction_isolation": "read committed",
        "visibility_mode": "default",
    },
    reported=("application_name", "client_encoding", "server_version", "standard_conforming_strings"),
    fixed={
        "client_encoding": ("utf8", "utf-8", "unicode"),
        "bytea_output": ("hex",),
        "intervalstyle": ("postgres",),
        "standard_conforming_strings": ("on", "true"),
        "timezone": ("utc", "etc/utc"),  # the fake's cells are texts of UTC
    },
    read_only=frozenset({"server_encoding", "server_version", "server_version_num"}),
)
