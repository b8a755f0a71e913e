"""A Docker engine, if there is one, and a Materialize and a RisingWave in it for the whole run."""

from __future__ import annotations

import gc
import os
import socket
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

MATERIALIZE = "materialize/materialized:v26.39.0"
RISINGWAVE = "risingwavelabs/risingwave:v2.8.0"
_START_S = 300  # an image that is pulled first, on a small machine


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class RealMaterialize:
    """A running Materialize. Ports are fixed, so that it is found again after a restart."""

    container: Any
    port: int
    system_port: int

    @property
    def url(self) -> str:
        """As the user of applications."""
        return self.url_of("materialize")

    def url_of(self, user: str) -> str:
        """As another user."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/materialize"

    @property
    def system_url(self) -> str:
        """As ``mz_system``, who may do what no user may."""
        return f"postgresql://mz_system@127.0.0.1:{self.system_port}/materialize"

    def execute(self, *statements: str) -> None:
        """Run statements, each a transaction of its own."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query, every cell as the text that the server prints."""
        with (
            psycopg.connect(self.url, autocommit=True) as connection,
            connection.cursor().copy(f"COPY ({query}) TO STDOUT".encode()) as copy,
        ):
            return list(copy.rows())

    def system(self, *statements: str) -> None:
        """Run statements as ``mz_system``."""
        with psycopg.connect(self.system_url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def restart(self) -> None:
        """Restart the container; returns as it is on its way down and up again, not when it is ready."""
        self.container.get_wrapped_container().restart(timeout=5)

    def wait(self, timeout_s: float = _START_S) -> None:
        """Return once it answers."""
        _answers(self.container, self.url, "SELECT 1", timeout_s)


@dataclass
class RealRisingWave:
    """A running RisingWave of one node. Its port is fixed, so that it is found again after a restart."""

    container: Any
    port: int

    @property
    def url(self) -> str:
        """As ``root``, who may do everything."""
        return self.url_of("root")

    def url_of(self, user: str) -> str:
        """As another user."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/dev"

    def execute(self, *statements: str) -> None:
        """Run statements; what they wrote is visible when this returns."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in (*statements, "FLUSH"):
                connection.execute(statement.encode())

    def rows(self, query: str) -> list[tuple[str | None, ...]]:
        """The rows of a query, every cell as the text that the server prints."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            result = connection.execute(query.encode()).pgresult
            assert result is not None
            return [
                tuple(
                    None if (cell := result.get_value(row, column)) is None else cell.decode()
                    for column in range(result.nfields)
                )
                for row in range(result.ntuples)
            ]

    def restart(self) -> None:
        """Restart the container; returns as it is on its way down and up again, not when it is ready."""
        self.container.get_wrapped_container().restart(timeout=5)

    def wait(self, timeout_s: float = _START_S) -> None:
        """Return once it answers, and takes what needs all of its parts."""
        _answers(self.container, self.url, "FLUSH", timeout_s)


def _answers(container: Any, url: str, statement: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with psycopg.connect(url, connect_timeout=3, autocommit=True) as connection:
                connection.execute(statement.encode())
            return
        except psycopg.Error as error:
            if time.monotonic() > deadline:
                logs = b"\n".join(container.get_logs())[-3000:].decode(errors="replace")
                pytest.fail(f"the database did not start in {timeout_s:g} s: {error}\n{logs}")
        time.sleep(0.5)


def _docker_problem() -> str:
    """Why no Docker engine answers, or nothing."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=10)
        try:
            client.ping()
        finally:
            client.close()
    except DockerException as error:
        return f"no Docker engine answers, and the databases' own images need one: {error}"
    return ""


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """Skip where no Docker engine answers; fail where one must (TYCO_REAL_REQUIRED, as in the workflow)."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ResourceWarning
        )  # docker leaves the socket open that it failed to connect
        reason = _docker_problem()
        gc.collect()
    if reason and os.environ.get("TYCO_REAL_REQUIRED"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def materialize(docker_engine: None) -> Iterator[RealMaterialize]:
    """A Materialize of this run. ``RETAIN HISTORY`` is allowed in it, as it is on request in Materialize's cloud."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # testcontainers' own, at import
        from testcontainers.core.container import DockerContainer

    port, system_port = _free_port(), _free_port()
    container = (
        DockerContainer(MATERIALIZE)
        .with_bind_ports(6875, port)
        .with_bind_ports(6877, system_port)
        .with_env("MZ_NO_TELEMETRY", "1")
    )
    container.start()
    try:
        running = RealMaterialize(container, port, system_port)
        running.wait()
        running.system("ALTER SYSTEM SET enable_logical_compaction_window = true")
        yield running
    finally:
        container.stop()


@pytest.fixture(scope="session")
def risingwave(docker_engine: None) -> Iterator[RealRisingWave]:
    """A RisingWave of this run: all its parts in one process, its data in the container."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # testcontainers' own, at import
        from testcontainers.core.container import DockerContainer

    port = _free_port()
    container = DockerContainer(RISINGWAVE).with_bind_ports(4566, port).with_command("single_node")
    container.start()
    try:
        running = RealRisingWave(container, port)
        running.wait()
        yield running
    finally:
        container.stop()
