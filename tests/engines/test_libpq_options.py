"""Session settings reach the server as they are written, white space and backslashes included."""

from __future__ import annotations

import pytest

from tycostream.config.model import DatabaseConfig
from tycostream.engines.libpq import open_connection


@pytest.mark.parametrize("value", ["plain", "strict serializable", "back\\slash", "two  \t\\ of each"])
async def test_a_setting_arrives_as_it_is(database: str, value: str) -> None:
    settings = {"app.first": value, "app.second": "after"}
    connection = await open_connection(
        database, DatabaseConfig(url=database), options=settings, shows=settings
    )
    await connection.close()
