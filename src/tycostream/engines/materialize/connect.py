"""Connections to Materialize: its session settings."""

from __future__ import annotations

from typing import Final

from tycostream.config.model import DatabaseConfig
from tycostream.engines.libpq import Connection, open_connection
from tycostream.engines.materialize.errors import PRODUCT

# What Materialize prints is fixed but for the time zone; the scalars read this form and nothing else.
SHOWS: Final = {"TimeZone": "UTC", "DateStyle": "ISO", "IntervalStyle": "postgres"}


async def connect(url: str, config: DatabaseConfig) -> Connection:
    """An autocommit connection in the configured cluster; UpstreamError otherwise."""
    options = {"TimeZone": "UTC", "welcome_message": "off", **config.options}
    if config.cluster:
        options["cluster"] = config.cluster
    return await open_connection(url, config, options=options, shows=SHOWS, product=PRODUCT)
