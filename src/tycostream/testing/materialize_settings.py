"""The session parameters of a fake Materialize."""

from __future__ import annotations

from typing import Final

from tycostream.testing.sql_settings import Parameters

_DEFAULTS: Final = {
    "application_name": "",
    "client_encoding": "UTF8",
    "client_min_messages": "notice",
    "cluster": "quickstart",
    "cluster_replica": "",
    "database": "materialize",
    "DateStyle": "ISO, MDY",
    "emit_timestamp_notice": "off",
    "extra_float_digits": "3",
    "idle_in_transaction_session_timeout": "120 s",
    "integer_datetimes": "on",
    "IntervalStyle": "postgres",
    "is_superuser": "off",
    "max_connections": "5000",
    "max_query_result_size": "1GB",
    "max_result_size": "1GB",
    "real_time_recency": "off",
    "search_path": "public",
    "server_version": "9.5.0",
    "server_version_num": "90500",
    "sql_safe_updates": "off",
    "standard_conforming_strings": "on",
    "statement_timeout": "60 s",
    "TimeZone": "UTC",
    "transaction_isolation": "strict serializable",
    "welcome_message": "off",
}
_REPORTED: Final = (
    "application_name", "client_encoding", "DateStyle", "integer_datetimes", "IntervalStyle", "is_superuser",
    "server_version", "standard_conforming_strings", "TimeZone", "welcome_message",
)  # fmt: skip
# Parameters with one possible value, and what is accepted as its spelling.
_FIXED: Final = {
    "client_encoding": ("utf8", "utf-8", "unicode"),
    "datestyle": ("iso", "iso, mdy", "iso,mdy"),
    "integer_datetimes": ("on", "true"),
    "intervalstyle": ("postgres",),
    "standard_conforming_strings": ("on", "true"),
    "timezone": ("utc", "etc/utc", "+00:00", "gmt", "0"),
}
_READ_ONLY: Final = frozenset(
    {"server_version", "server_version_num", "is_superuser", "max_connections", "mz_version"}
)
MATERIALIZE: Final = Parameters(_DEFAULTS, _REPORTED, _FIXED, _READ_ONLY)
