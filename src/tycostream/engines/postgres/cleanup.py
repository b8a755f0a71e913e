"""What tycostream may have left in a database: found by name, removed when nobody uses it (promise 9)."""

from __future__ import annotations

import contextlib
import re

import psycopg

from tycostream.engines.base import Leftover
from tycostream.engines.libpq import Connection
from tycostream.engines.names import quoted, shown
from tycostream.engines.postgres import slots


def slot_prefix(config_name: str) -> str:
    """How the slots of a configuration begin; a process number and chance follow."""
    return f"tycostream_{config_name}"[:40]


async def find(
    connection: Connection, config_name: str, publication: str, slot: str | None = None
) -> list[Leftover]:
    """Slots of this configuration, its permanent ``slot`` too, and ``publication`` if that is a name we gave."""
    ours = re.compile(re.escape(slot_prefix(config_name)) + r"_\d+_[0-9a-f]{8}")
    cursor = await connection.execute(
        b"SELECT slot_name, active OR temporary FROM pg_replication_slots WHERE database = current_database() ORDER BY 1"
    )
    found = [
        Leftover("slot", name, slots.drop(name), in_use)
        for name, in_use in await cursor.fetchall()
        if name == slot or ours.fullmatch(name)
    ]
    if publication == f"tycostream_{config_name}":
        query = b"SELECT 1 FROM pg_publication WHERE pubname = %s"
        if await (await connection.execute(query, [publication])).fetchone() is not None:
            used = any(slot.in_use for slot in found)
            drop = f"DROP PUBLICATION {shown(publication)};"
            found.append(Leftover("publication", publication, drop, used))
    return found


async def remove(connection: Connection, leftover: Leftover) -> None:
    """Remove it; nothing happens if it is gone meanwhile. psycopg.Error if we may not."""
    if leftover.kind == "publication":
        await connection.execute(f"DROP PUBLICATION IF EXISTS {quoted(leftover.name)}".encode())
        return
    with contextlib.suppress(psycopg.errors.UndefinedObject):
        await connection.execute(b"SELECT pg_drop_replication_slot(%s)", [leftover.name])
