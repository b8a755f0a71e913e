"""The contract of a state store: it runs scripts, whole or not at all, and knows nothing of what they are about.

A script is a generator. It yields statements and is sent their rows, so that one text serves a thread with SQLite and
a socket with PostgreSQL. Statements are what both understand: ``?`` for a value, texts, whole numbers, floats and NULL.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Value = str | int | float | None
Statement = tuple[str, Sequence[Value]]
Rows = list[tuple[Any, ...]]  # of a statement that gives none: empty
Script = Generator[Statement, Rows, T]


class StateStore(Protocol):
    """A place for our own tables. It connects when it is first asked, and again after a connection was lost.

    ``state-unavailable`` of StateError may pass by itself; every other code is for a person to mend. What an exception
    of the script itself left is undone too, and the exception goes on to the caller.
    """

    async def read(self, script: Script[T]) -> T:
        """Run a script of one statement that only reads. Gives what the script returns; StateError."""

    async def write(self, script: Script[T]) -> T:
        """Run a script as one transaction, one at a time over all servers that share the store. StateError.

        Cancelled or cut off in its middle it may have been done all the same: scripts can be run twice.
        """

    async def close(self) -> None:
        """Give up the connection. Idempotent."""
