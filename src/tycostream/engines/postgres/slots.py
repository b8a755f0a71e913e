"""Replication slots: a temporary one of a stream's own, or a permanent one that keeps the log while we are away.

What a permanent slot has confirmed is kept late on purpose, by as long as clients may be away: a tycostream that starts
again asks for the changes since then, and so has again what its clients' cursors point to.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from tycostream.engines.base import Finding
from tycostream.engines.libpq import Connection, fail, retry
from tycostream.engines.names import literal
from tycostream.errors import Action, UpstreamError

_SAMPLE_S: Final = 1.0
LOST: Final = "slot-lost"

_SLOT = b"""
SELECT slot_name, slot_type = 'logical' AND plugin = 'pgoutput' AND database = current_database(), active_pid,
  wal_status, (confirmed_flush_lsn - '0/0')::bigint,
  pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn)::bigint
FROM pg_replication_slots WHERE slot_name = %s
"""
# Whether what decides the meaning of a table's changes is as it was when the slot's history begins.
_SETTLED = b"""
SELECT coalesce(bool_and(age(x.at) > age(s.catalog_xmin)), false) FROM pg_replication_slots s, (
  SELECT xmin FROM pg_class WHERE oid = ANY(%(oids)s) UNION ALL SELECT xmin FROM pg_attribute WHERE attrelid = ANY(%(oids)s)
  UNION ALL SELECT xmin FROM pg_inherits WHERE inhparent = ANY(%(oids)s)
  UNION ALL SELECT xmin FROM pg_publication WHERE pubname = %(publication)s
  UNION ALL SELECT r.xmin FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid AND p.pubname = %(publication)s
    WHERE r.prrelid = ANY(%(oids)s)) x(at) WHERE s.slot_name = %(slot)s
"""


@dataclass(frozen=True, slots=True)
class Slot:
    """A permanent slot as the server tells of it. ``confirmed``: its history begins after this; ``kept``: bytes of log."""

    name: str
    ours: bool
    active_pid: int | None
    wal_status: str | None
    confirmed: int | None
    kept: int | None


def drop(name: str) -> str:
    """The statement that removes a slot."""
    return f"SELECT pg_drop_replication_slot({literal(name)});"


async def load(connection: Connection, name: str) -> Slot | None:
    """The slot of this name, if there is one; psycopg.Error."""
    row = await (await connection.execute(_SLOT, [name])).fetchone()
    return None if row is None else Slot(*row)


def active(name: str, pid: object) -> UpstreamError:
    """Somebody else reads the slot; it may be our own last connection, which the server has not missed yet."""
    return retry(
        "slot-active",
        f"replication slot {name} is active for PID {pid}",
        hint="one process reads a slot at a time: stop the other tycostream, or give this one another `slot:`",
    )


def usable(slot: Slot | None, name: str, manage: bool) -> Slot | None:
    """The slot if it can be read; None: it is to be made, or to be removed and made anew. UpstreamError otherwise."""
    if slot is None:
        if manage:
            return None
        create = f"SELECT pg_create_logical_replication_slot({literal(name)}, 'pgoutput');"
        said = f"there is no replication slot {name}"
        raise fail("slot-missing", said, hint=create + " -- or set `manage: true` and tycostream does it")
    if not slot.ours:
        raise fail(
            "slot-foreign",
            f"replication slot {name} is not a logical one of this database with the plugin pgoutput",
            hint="choose another name in `slot:`",
        )
    if slot.wal_status == "lost" or slot.confirmed is None:
        raise lost(name, manage)
    if slot.active_pid is not None:
        raise active(name, slot.active_pid)
    return slot


def lost(name: str, manage: bool) -> UpstreamError:
    """The server has thrown away what the slot should have kept."""
    mend = "it is made anew, and the tables are read again" if manage else drop(name)
    return UpstreamError(
        LOST,
        f"the server has given up the log that replication slot {name} needed",
        action=Action.RESYNC,
        detail="the slot kept more than max_slot_wal_keep_size while it was not read, or too slowly",
        hint=f"{mend}; raise max_slot_wal_keep_size if tycostream may be away for so long",
    )


async def settled(connection: Connection, slot: str, publication: str, oids: list[int]) -> bool:
    """Whether nothing was altered since the slot's history begins that its changes do not tell of."""
    values = {"oids": oids, "publication": publication, "slot": slot}
    row = await (await connection.execute(_SETTLED, values)).fetchone()
    return row is not None and bool(row[0])


def finding(subject: str, slot: Slot | None, name: str, manage: bool, warn_bytes: int) -> Finding:
    """What ``check`` says of the permanent slot."""
    try:
        found = usable(slot, name, manage)
    except UpstreamError as error:
        return Finding(subject, False, error.message, error.hint, fatal=error.action is Action.FAIL)
    if found is None:
        return Finding(subject, True, f"tycostream will make replication slot {name}")
    kept = found.kept or 0
    said = f"replication slot {name} keeps {kept / 2**20:.1f} MiB of log"
    if kept <= warn_bytes:
        return Finding(subject, True, said)
    hint = f"is tycostream running, and does it keep up? To give the log up: {drop(name)}"
    return Finding(subject, False, f"{said}, more than `slot_warn`", hint, fatal=False)


class Confirmed:
    """What a permanent slot may forget: where the stream stood ``keep_s`` seconds ago."""

    def __init__(self, lsn: int) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self.lsn = lsn

    def note(self, now_s: float, lsn: int, keep_s: float) -> int:
        """The stream stands at ``lsn``; the position that may be confirmed."""
        samples = self._samples
        if not samples or now_s - samples[-1][0] >= _SAMPLE_S:
            samples.append((now_s, lsn))
        while samples and now_s - samples[0][0] >= keep_s:
            self.lsn = max(self.lsn, samples.popleft()[1])
        return self.lsn
