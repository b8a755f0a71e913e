"""State in a file of this machine. See StateStore."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from tycostream.errors import StateError
from tycostream.state.base import Rows, Script
from tycostream.state.schema import PRESENT, expect, make

T = TypeVar("T")
_BUSY_S: Final = 5.0  # how long another process may write before we give up


class SqliteState:
    """One connection in one thread: SQLite waits for the disk and for other processes, and the loop must not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "state")
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._closed = False

    async def read(self, script: Script[T]) -> T:
        """See StateStore."""
        return await self._there(lambda: _run(self._connected(), script))

    async def write(self, script: Script[T]) -> T:
        """See StateStore."""

        def work() -> T:
            connection = self._connected()
            with _transaction(connection):
                return _run(connection, script)

        return await self._there(work)

    async def close(self) -> None:
        """See StateStore."""
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._thread, self._forget)
            self._thread.shutdown(wait=False)

    async def _there(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise _unavailable(self._path, "it was closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: self._tried(work))

    # in the thread

    def _tried(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (sqlite3.Error, OSError) as error:
            self._forget()
            raise _unavailable(self._path, str(error)) from None

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and self._file != _file(self._path):
            self._forget()  # it was replaced: what others write now goes to the new one
        if self._connection is None:
            with contextlib.suppress(FileExistsError):  # the hashes in it are nobody else's to read
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(
                    "PRAGMA synchronous = FULL"
                )  # a revocation that was told of must not be lost
                with _transaction(connection):
                    _run(connection, make())
                expect(connection.execute(PRESENT).fetchone()[0])
                self._file = _file(self._path)
                if self._file is None:  # gone meanwhile: what is written into it nobody will read
                    raise FileNotFoundError("it was removed while it was opened")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _forget(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()


def _file(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _run(connection: sqlite3.Connection, script: Script[T]) -> T:
    rows: Rows | None = None
    try:
        while True:
            text, values = script.send(rows) if rows is not None else next(script)
            rows = connection.execute(text, values).fetchall()
    except StopIteration as end:
        result: T = end.value
        return result


def _unavailable(path: Path, reason: str) -> StateError:
    return StateError(
        "state-unavailable",
        "the state cannot be read or written",
        detail=f"{path}: {reason}",
        hint="is the file there, and may this user write it and its folder?",
    )
