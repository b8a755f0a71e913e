"""A permanent slot: what was missed is told, by the same process or a later one, once and in order."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from tests.engines.stream_contract import Follower
from tests.engines.test_postgres import db, source
from tycostream.clock import SystemClock
from tycostream.config.model import DatabaseConfig
from tycostream.engines.postgres import PostgresEngine, slots, watch
from tycostream.errors import Action, UpstreamError
from tycostream.observe.events import Event, SlotKeepsLog, silent
from tycostream.rows import Change

__all__ = ["db"]  # fixtures


@dataclass
class Slots:
    """Engines over one slot, as processes one after the other would have them."""

    url: str
    name: str
    db: psycopg.AsyncConnection[Any]
    engines: list[PostgresEngine]

    def engine(self, emit=silent, **more) -> PostgresEngine:
        config = DatabaseConfig(url=self.url, slot=self.name, **{"manage": True, **more})
        self.engines.append(PostgresEngine("main", config, "test", {}, emit, SystemClock()))
        return self.engines[-1]

    async def confirmed(self) -> int:
        query = "SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots WHERE slot_name = %s"
        row = await (await self.db.execute(query, [self.name])).fetchone()
        assert row is not None
        return int(row[0])

    async def free(self) -> None:
        """Nobody reads the slot: the server notices a closed connection a moment later."""
        query = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND active"
        while await (await self.db.execute(query, [self.name])).fetchone() is not None:
            pass


@pytest.fixture
async def slot(database: str, db) -> AsyncIterator[Slots]:
    made = Slots(database, f"kept_{secrets.token_hex(4)}", db, [])
    yield made
    for engine in made.engines:
        await engine.close()
    await made.free()
    await db.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s",
        [made.name],
    )


async def opened(engine: PostgresEngine, *names: str, after: Follower | None = None) -> Follower:
    row_types = [await engine.describe(source(name)) for name in names]
    f = Follower(await engine.open())
    for row_type in row_types:
        name = row_type.source
        if after is None:
            f.expect(row_type)
            await f.stream.add(row_type, source(name))
        else:
            f.expect_resumed(row_type, after.rows[name], after.positions[name])
            await f.stream.add(row_type, source(name), after.positions[name])
    await f.until(lambda: all(name in f.snapshots or (after and f.positions[name]) for name in names))
    return f


TABLES = (
    "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text);"
    "ALTER TABLE a REPLICA IDENTITY FULL; INSERT INTO a VALUES (1, 'x'), (2, 'y'); INSERT INTO b VALUES (1, 'x')"
)


async def test_a_lost_connection_is_resumed_where_it_was(slot: Slots) -> None:
    await slot.db.execute(TABLES)
    engine = slot.engine()
    f = await opened(engine, "a", "b")
    await slot.db.execute("UPDATE a SET v = 'z' WHERE id = 1")
    await f.until(lambda: f.rows["a"][1] == (1, "z"))
    await f.stream.close()
    await slot.db.execute("DELETE FROM a WHERE id = 1; UPDATE b SET v = 'w'; INSERT INTO a VALUES (3, 'n')")
    await slot.free()
    again = await opened(engine, "a", "b", after=f)
    await again.until(lambda: again.rows == {"a": {2: (2, "y"), 3: (3, "n")}, "b": {1: (1, "w")}})
    assert again.snapshots == {}, "nothing was read again"
    assert again.failed == {}


async def test_sources_that_stopped_at_different_moments_go_on_each_from_its_own(slot: Slots) -> None:
    await slot.db.execute(TABLES)
    engine = slot.engine()
    f = await opened(engine, "a", "b")
    early = f.positions["b"]
    await slot.db.execute("UPDATE b SET v = 'w'; INSERT INTO a VALUES (3, 'n')")
    await f.until(lambda: 3 in f.rows["a"])
    f.positions["b"], f.rows["b"] = early, {1: (1, "x")}
    await f.stream.close()
    await slot.free()
    again = await opened(engine, "a", "b", after=f)
    await again.until(lambda: again.rows["b"] == {1: (1, "w")})
    assert again.snapshots == {}
    assert all("a" not in batch.changes for batch in again.batches), "what it had does not come twice"


async def test_a_table_that_was_altered_meanwhile_is_read_again(slot: Slots) -> None:
    await slot.db.execute(TABLES)
    engine = slot.engine()
    f = await opened(engine, "a", "b")
    await f.stream.close()
    await slot.db.execute("ALTER TABLE a ALTER v TYPE text USING v || '!'")
    await slot.free()
    again = await opened(engine, "a", "b", after=f)
    await again.until(lambda: "a" in again.snapshots)
    assert again.rows["a"] == {1: (1, "x!"), 2: (2, "y!")}
    assert "b" not in again.snapshots


async def test_a_later_process_starts_in_the_past_as_far_as_old_rows_are_known(slot: Slots) -> None:
    await slot.db.execute(TABLES)
    f = await opened(slot.engine(), "a", "b")
    stood = f.positions["a"]
    await f.stream.close()
    await slot.free()
    await slot.db.execute("UPDATE a SET v = 'z' WHERE id = 1; INSERT INTO b VALUES (2, 'i')")
    await slot.db.execute("DELETE FROM a WHERE id = 2; UPDATE b SET v = 'j' WHERE id = 1")
    later = Follower(await (engine := slot.engine()).open())
    starts: dict[str, Any] = {}
    for name in "ab":
        row_type = await engine.describe(source(name))
        later.expect(row_type)
        await later.stream.add(row_type, source(name))
    take = later.take

    def watched(event) -> None:
        take(event)
        for name in set(later.snapshots) - set(starts):
            starts[name] = dict(later.rows[name])

    later.take = watched  # type: ignore[method-assign]
    await later.until(lambda: later.rows == {"a": {1: (1, "z")}, "b": {1: (1, "j"), 2: (2, "i")}})
    assert starts["a"] == {1: (1, "x"), 2: (2, "y")}, "with whole old rows it begins where the history does"
    assert later.snapshots["a"] <= stood, "and a client's cursor lies within"
    assert later.rows["b"] == {1: (1, "j"), 2: (2, "i")}
    assert starts["b"] == {1: (1, "j"), 2: (2, "i")}, "an update without the old row cannot be taken back"
    told = [change for batch in later.batches for change in batch.changes.get("a", ())]
    assert told == [Change(1, None, (1, "z")), Change(2, None, None)]


async def test_an_alteration_within_the_history_is_not_taken_back(slot: Slots) -> None:
    await slot.db.execute(TABLES)
    f = await opened(slot.engine(), "a", "b")
    await f.stream.close()
    await slot.free()
    await slot.db.execute("ALTER TABLE a ALTER v TYPE text USING v || '!'; INSERT INTO a VALUES (3, 'n')")
    later = await opened(slot.engine(), "a", "b")
    assert set(later.rows["a"].values()) == {(1, "x!"), (2, "y!"), (3, "n")}
    assert later.snapshots["a"] > f.positions["a"]


async def test_confirming_is_late_and_the_log_that_is_kept_is_told(slot: Slots, monkeypatch) -> None:
    monkeypatch.setattr(watch, "_EVERY_S", 0.05)
    await slot.db.execute(TABLES)
    events: list[Event] = []
    f = await opened(slot.engine(events.append, slot_warn=1), "a")
    before = await slot.confirmed()
    await slot.db.execute("INSERT INTO a VALUES (3, 'n')")
    await f.until(lambda: 3 in f.rows["a"] and any(isinstance(event, SlotKeepsLog) for event in events))
    assert await slot.confirmed() == before, "clients may be away for five minutes"
    told = [event for event in events if isinstance(event, SlotKeepsLog)]
    assert told[0].slot == slot.name
    assert told[0].bytes > 1
    assert [event.warn for event in told] == [True] + [False] * (len(told) - 1), "warned once"


async def test_the_log_that_is_kept_is_told_where_all_sources_are_views(slot: Slots, monkeypatch) -> None:
    monkeypatch.setattr(watch, "_EVERY_S", 0.05)
    await slot.db.execute(f"{TABLES}; CREATE VIEW w AS SELECT id FROM a")
    events: list[Event] = []
    f = await opened(slot.engine(events.append), "w")
    await f.until(lambda: any(isinstance(event, SlotKeepsLog) for event in events))


def test_what_may_be_forgotten_is_as_old_as_clients_may_be_away() -> None:
    confirmed = slots.Confirmed(10)
    assert [confirmed.note(t, lsn, 5.0) for t, lsn in [(0, 20), (2, 30), (4.9, 40), (5, 50), (7, 60)]] == [
        10, 10, 10, 20, 30,
    ]  # fmt: skip


async def test_one_process_at_a_time(slot: Slots) -> None:
    await slot.db.execute(TABLES)
    f = await opened(slot.engine(), "a")
    await f.until(lambda: bool(f.progress))  # it is streaming, no longer reading
    query = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s"
    (pid,) = (await (await slot.db.execute(query, [slot.name])).fetchall())[0]
    second = slot.engine()
    with pytest.raises(UpstreamError) as caught:
        await second.open()
    assert (caught.value.code, caught.value.action) == ("slot-active", Action.RETRY)
    assert caught.value.message == f"replication slot {slot.name} is active for PID {pid}"
    await f.stream.close()
    await slot.free()
    racing = [await second.open(), await slot.engine().open()]
    await racing[0].add(await second.describe(source("a")), source("a"))
    followers = [Follower(stream) for stream in racing]
    followers[0].expect(await second.describe(source("a")))
    await followers[0].until(lambda: "a" in followers[0].snapshots)
    with pytest.raises(UpstreamError, match=f"replication slot {slot.name} is active for PID"):
        await followers[1].until(lambda: False)


async def test_a_slot_that_is_missing_or_somebody_elses(slot: Slots) -> None:
    await slot.db.execute(TABLES + "; CREATE PUBLICATION tycostream_test FOR TABLE a")
    engine = slot.engine(manage=False)
    create = f"SELECT pg_create_logical_replication_slot('{slot.name}', 'pgoutput');"
    with pytest.raises(UpstreamError) as caught:
        await engine.open()
    assert (caught.value.code, caught.value.action) == ("slot-missing", Action.FAIL)
    assert caught.value.hint.startswith(create)
    found = [finding for finding in await engine.check([]) if not finding.ok and finding.fatal]
    assert [finding.hint for finding in found] == [caught.value.hint]
    await slot.db.execute(create)
    f = await opened(engine, "a")
    assert f.rows["a"] == {1: (1, "x"), 2: (2, "y")}
    await f.stream.close()
    await slot.free()
    await slot.db.execute(f"SELECT pg_drop_replication_slot('{slot.name}')")
    await slot.db.execute(f"SELECT pg_create_physical_replication_slot('{slot.name}')")
    with pytest.raises(UpstreamError, match="not a logical one of this database") as caught:
        await engine.open()
    assert caught.value.code == "slot-foreign"


async def test_cleanup_removes_the_slot_when_nobody_reads_it(slot: Slots) -> None:
    await slot.db.execute(TABLES)
    engine = slot.engine()
    f = await opened(engine, "a")
    await f.until(lambda: bool(f.progress))
    assert {(left.kind, left.in_use) for left in await engine.leftovers()} == {
        ("slot", True),
        ("publication", True),
    }
    await f.stream.close()
    await slot.free()
    removed = await engine.remove(await engine.leftovers())
    assert {left.sql for left in removed} == {
        f"SELECT pg_drop_replication_slot('{slot.name}');",
        "DROP PUBLICATION tycostream_test;",
    }
    assert await engine.leftovers() == []
