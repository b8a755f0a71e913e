"""From the configuration's `state` to the store that it names."""

from __future__ import annotations

from tycostream.config.state import SQLITE, sqlite_path
from tycostream.state.base import StateStore


def open_state(url: str) -> StateStore:
    """The store at ``url``, which the rules of the configuration have let through. It connects when it is asked."""
    if url.startswith(SQLITE):
        from tycostream.state.sqlite import SqliteState

        return SqliteState(sqlite_path(url))
    from tycostream.state.postgres import PostgresState

    return PostgresState(url)
