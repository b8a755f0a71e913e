"""RisingWave's errors as a client gets them, and what FETCH gives."""

from __future__ import annotations

from tests.testing.feed import Connection, ask, refused

INTERNAL = "XX000"


def report(*causes: str, head: str = "Failed to run the query") -> str:
    """The text of an error, by its causes."""
    if len(causes) == 1:
        return f"{head}\n\nCaused by:\n  {causes[0]}"
    lines = "".join(f"\n  {place}: {cause}" for place, cause in enumerate(causes, 1))
    return f"{head}\n\nCaused by these errors (recent errors listed first):{lines}"


async def fails(connection: Connection, sql: str, code: str, *causes: str) -> None:
    """A statement is refused with this code and these causes."""
    assert await refused(connection, sql) == (code, report(*causes))


async def fetched(connection: Connection, count: int = 100, cursor: str = "c") -> list[tuple[object, ...]]:
    """What is there at once."""
    return [tuple(row) for row in await ask(connection, f"FETCH {count} FROM {cursor}")]
