"""A reload while clients are there: what it leaves alone goes on without a snapshot, a gap or a new stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.reloading.harness import Client, World, configuration, feed, live, table, world
from tycostream.auth.session import Session
from tycostream.config.model import Config, EngineName
from tycostream.errors import Action, RequestError, UpstreamError
from tycostream.graphql.execute import InvalidRequest
from tycostream.rows import Column, RowType
from tycostream.scalars import array_of, enum_scalar, scalar_for

ITEMS, OTHERS, MORE = table("items"), table("others"), table("more")
BOTH = configuration("items: {}, others: {}")


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    tables = {"a": {ITEMS: [(1, 1), (2, 2)], OTHERS: [(1, 10)], MORE: [(5, 50)]}, "b": {MORE: [(6, 60)]}}
    async with world(BOTH, monkeypatch, tables) as made:
        await made.live("items", "others")
        yield made


class Untouched:
    """Operations on ``items`` that a reload must not disturb."""

    def __init__(self, served: World) -> None:
        self.world = served
        self.database = served.databases["postgresql://a/x"]
        self.feed, self.query = served.client(feed("items")), served.client(live("items"))
        self.feed.read()
        self.phases = list(self.feed.phases)
        self.stream, self.store = self.database.stream, served.app.hub.sources["items"].store
        self.cursor, self.rows = self.feed.cursor, dict(self.feed.rows)
        assert self.phases == ["snapshot", "ready"]

    def hold(self, number: int) -> None:
        """They still follow: on the same stream, into the same store, from the same cursor."""
        assert self.database.stream is self.stream
        assert self.world.app.hub.sources["items"].store is self.store
        ((_, old),) = [row for row in self.database.tables["items"] if row[0] == 1]
        self.database.commit({"items": [((1, old), (1, number))]})

    async def held(self, number: int) -> None:
        """A change after the reload reached them, and nothing else did."""
        self.hold(number)
        await self.world.until(lambda: self.feed.read().rows[1]["n"] == number)
        self.phases.append("live")
        assert self.feed.phases == self.phases
        self.world.clock.advance(1)
        assert (self.query.read().shown or [])[0]["n"] == number
        assert self.feed.ended is self.query.ended is None
        assert not self.feed.stale
        resumed = self.world.client(feed("items", f'after: "{self.cursor}"'), rows=self.rows).read()
        assert resumed.phases == ["live"], "a cursor from before the reload is good"
        resumed.close()


async def test_a_source_is_added(served: World) -> None:
    same = Untouched(served)
    with pytest.raises(InvalidRequest):
        served.client(feed("more"))
    changes = await served.reload(configuration("items: {}, others: {}, more: {}"))
    assert changes.sources.added == ("more",)
    await served.live("more")
    assert served.client(feed("more")).read().rows == {5: {"id": 5, "n": 50}}
    assert same.database.described.count("items") == 1, "what did not change is not spoken of"
    await same.held(100)


async def test_a_source_is_removed(served: World) -> None:
    same, gone = Untouched(served), served.client(feed("others"))
    gone_query = served.client(live("others"))
    await served.reload(configuration("items: {}"))
    assert (gone.ended, gone_query.ended) == ("source-removed", "source-removed")
    assert served.states() == {"items": "live"}
    assert "others" not in served.app.hub.sources
    with pytest.raises(InvalidRequest, match="others_changes"):
        served.client(feed("others"))
    same.database.commit({"others": [((1, 10), None)], "items": [((2, 2), (2, 3))]})
    same.phases.append("live")
    await same.held(100)


async def test_a_source_with_other_columns_starts_anew(served: World) -> None:
    same, old = Untouched(served), served.client(feed("others"))
    same.database.has(table("others", "note"), (1, 10, "x"))
    await served.reload(configuration("items: {}, others: {columns: [id, n, note]}"))
    await served.until(lambda: old.ended is not None)
    assert old.ended == "source-changed"
    await served.live("others")
    client = served.client(feed("others", columns="id n note")).read()
    assert client.rows == {1: {"id": 1, "n": 10, "note": "x"}}
    await same.held(100)


async def test_columns_named_otherwise_that_are_the_same_disturb_nobody(served: World) -> None:
    same = Untouched(served)
    await served.reload(configuration("items: {columns: {id: Integer, n: Integer}}, others: {}"))
    await served.until(lambda: same.database.described.count("items") == 2)
    await same.held(100)
    assert same.database.opened == 1


async def test_a_comment_is_in_the_schema_and_disturbs_nobody(served: World) -> None:
    same = Untouched(served)
    await served.reload(configuration("items: {comment: things}, others: {}"))

    def described() -> bool:
        return "things" in str(served.app.planner.schema.type_map["items"].description)

    await served.until(described)
    await same.held(100)


async def test_root_fields_have_other_names_at_once(served: World) -> None:
    same = Untouched(served)
    await served.reload(configuration("items: {custom_root_fields: {select: things}}, others: {}"))
    client = served.client("subscription {things(where: {id: {_eq: 2}}) {n}}")
    assert client.read().shown == [{"n": 2}]
    with pytest.raises(InvalidRequest, match="field 'items' not found in type: 'subscription_root'"):
        served.client(live("items"))
    assert same.database.described.count("items") == 1, "its database has nothing to say to that"
    await same.held(100)


async def test_rows_of_another_table_are_told_as_the_difference(served: World) -> None:
    same, client = Untouched(served), served.client(feed("others"))
    query, cursor = served.client(live("others")), client.read().cursor
    same.database.tables["others"] = [(1, 10), (7, 70)]  # what the other table holds
    await served.reload(configuration("items: {}, others: {table: elsewhere}"))
    await served.until(lambda: client.read().stale or len(client.rows) == 2)
    await served.live("others")
    served.now()
    assert client.read().rows == {1: {"id": 1, "n": 10}, 7: {"id": 7, "n": 70}}
    served.clock.advance(1)
    assert [row["id"] for row in query.read().shown or []] == [1, 7]
    assert client.ended is query.ended is None
    assert client.phases.count("snapshot") == 1
    assert not client.stale
    again = served.client(feed("others", f'after: "{cursor}"')).read()
    assert again.phases[0] == "reset", "a cursor is good for the rows that it was made over"
    await same.held(100)


async def test_a_new_source_that_cannot_be_read_fails_alone_and_heals(served: World) -> None:
    same = Untouched(served)
    await served.reload(configuration("items: {}, others: {}, nonsense: {}"))
    await served.until(lambda: served.states()["nonsense"] == "failed")
    await served.app.settled()
    assert served.states() == {"items": "live", "others": "live", "nonsense": "failed"}
    await same.held(100)
    same.database.has(table("nonsense"), (1, 1))
    await served.live("nonsense", step_s=1)
    assert served.client(feed("nonsense")).read().rows == {1: {"id": 1, "n": 1}}


async def test_mending_a_failed_source_in_the_file_tries_it_at_once(served: World) -> None:
    await served.reload(configuration("items: {}, others: {}, nonsense: {}"))
    await served.until(lambda: served.states()["nonsense"] == "failed")
    database = served.databases["postgresql://a/x"]
    database.has(table("nonsense"), (1, 1))
    await served.reload(configuration("items: {}, others: {}, nonsense: {table: public.nonsense}"))
    await served.live("nonsense", step_s=0)


async def test_a_database_is_added_and_removed(served: World) -> None:
    same = Untouched(served)
    both = "items: {database: a}, others: {database: a}"
    await served.reload(configuration(f"{both}, more: {{database: b}}", databases="ab"))
    await served.live("more")
    client = served.client(feed("more"))
    assert client.read().rows == {6: {"id": 6, "n": 60}}
    await same.held(100)
    await served.reload(configuration(both, databases="a"))
    assert client.ended == "source-removed"
    assert served.databases["postgresql://b/x"].closed == 1
    assert served.databases["postgresql://b/x"].stream is None
    await same.held(101)


async def test_a_source_moves_to_another_database_with_its_readers(served: World) -> None:
    first = "items: {database: a}, others: {database: a}"
    await served.reload(configuration(f"{first}, more: {{database: a}}", databases="ab"))
    await served.live("more")
    same, client = Untouched(served), served.client(feed("more"))
    assert client.read().rows == {5: {"id": 5, "n": 50}}
    await served.reload(configuration(f"{first}, more: {{database: b}}", databases="ab"))
    await served.until(lambda: 6 in client.read().rows)
    assert client.rows == {6: {"id": 6, "n": 60}}
    served.databases["postgresql://b/x"].commit({"more": [((6, 60), (6, 61))]})
    served.databases["postgresql://a/x"].commit({"more": [((5, 50), (5, 51))]})
    await served.until(lambda: client.read().rows == {6: {"id": 6, "n": 61}})
    assert client.ended is None
    await same.held(100)


async def test_a_changed_database_is_connected_anew_and_its_operations_stay(served: World) -> None:
    database = served.databases["postgresql://a/x"]
    await served.reload(configuration("items: {database: a}, more: {database: b}", databases="ab"))
    await served.live("items", "more")
    client, untouched = served.client(feed("items")), served.client(feed("more"))
    config = configuration("items: {database: a}, more: {database: b}", databases="ab")
    changed = config.databases["a"].model_copy(update={"reconnect_delay_max": config.live.linger})
    changes = await served.reload(config.model_copy(update={"databases": {**config.databases, "a": changed}}))
    assert changes.databases.revised == {"a": ("reconnect_delay_max",)}
    await served.live("items")
    assert database.opened == 2
    database.commit({"items": [((1, 1), (1, 9))]})
    await served.until(lambda: client.read().rows[1]["n"] == 9)
    assert client.ended is untouched.ended is None
    assert client.phases.count("snapshot") == 1
    assert untouched.read().phases == ["snapshot", "ready"]
    assert served.databases["postgresql://b/x"].opened == 1


async def test_another_engine_that_cannot_be_made_changes_nothing(served: World) -> None:
    same, config = Untouched(served), configuration("items: {}")
    other = config.databases["a"].model_copy(update={"engine": EngineName.RISINGWAVE})
    wrong = config.model_copy(update={"databases": {"a": other}})
    with pytest.raises(UpstreamError, match="not yet"):
        await served.app.reload(wrong)
    assert served.states() == {"items": "live", "others": "live"}
    await same.held(100)


async def test_how_a_source_is_delivered_changes_without_asking_the_database(served: World) -> None:
    same = Untouched(served)
    config = configuration("items: {live: {linger: 5s, log: {keep: 30s}}}, others: {}")
    await served.reload(config)
    assert served.app.hub.sources["items"].config.linger.total_seconds() == 5
    await same.held(100)
    assert same.database.described.count("items") == 1
    served.clock.advance(16)  # the new log's keep gives a cursor more often
    assert len(same.feed.read().phases) > len(same.phases)


async def test_another_rhythm_is_asked_of_the_database_and_keeps_operations_and_cursors(
    served: World,
) -> None:
    database, client = served.databases["postgresql://a/x"], served.client(feed("others"))
    cursor, rows = client.read().cursor, dict(client.rows)
    await served.reload(configuration("items: {}, others: {live: {interval: 2s}}"))
    await served.until(lambda: database.described.count("others") == 2)
    await served.live("others")
    database.commit({"others": [((1, 10), (1, 11))]})
    await served.until(lambda: client.read().rows[1]["n"] == 11)
    assert "reset" not in client.phases
    assert client.phases.count("snapshot") == 1
    again = served.client(feed("others", f'after: "{cursor}"'), rows=rows).read()
    assert "reset" not in again.phases, "they are the same rows"
    assert again.rows == client.rows


async def test_numbers_as_texts_are_for_operations_that_start_now(served: World) -> None:
    database = served.databases["postgresql://a/x"]
    old = served.client(feed("others"))
    await served.reload(configuration("items: {}, others: {}", more="server: {stringify_numbers: true}"))
    new = served.client(feed("others"))
    database.commit({"others": [((1, 10), (1, 11))]})
    await served.until(lambda: old.read().rows[1]["n"] == 11)
    assert new.read().rows[1]["n"] == 11, "an int is one either way"
    keys = {cohort.key for cohort in served.app.hub._cohorts.sources}
    assert len(keys) == 2, "they do not share bytes"


async def test_what_needs_another_process_is_named_and_stays(served: World) -> None:
    changes = await served.reload(configuration("items: {}, others: {}", more="server: {port: 4999}"))
    assert changes.restart == ("server.port",)
    assert served.app.config.server.port == 4000
    again = await served.reload(configuration("items: {}, others: {}", more="server: {port: 4999}"))
    assert again.restart == ("server.port",), "it is said again until it is so"


async def test_other_cursor_secrets_open_what_they_list(served: World) -> None:
    await served.reload(
        configuration("items: {}, others: {}", more="server: {cursor_key: [one]}")
    )  # the random one is gone
    cursor = served.client(feed("items")).read().cursor
    await served.reload(configuration("items: {}, others: {}", more="server: {cursor_key: [two, one]}"))
    assert served.client(feed("items", f'after: "{cursor}"')).read().phases == ["live"]
    await served.reload(configuration("items: {}, others: {}", more="server: {cursor_key: [two]}"))
    assert served.client(feed("items", f'after: "{cursor}"')).read().phases[0] == "reset"


# races


async def test_edits_one_after_the_other_while_the_first_is_on_its_way(served: World) -> None:
    same, database = Untouched(served), served.databases["postgresql://a/x"]
    database.held = asyncio.Event()
    await served.reload(configuration("items: {}, others: {}, more: {}"))
    await served.until(lambda: "more" in database.described)
    await served.reload(configuration("items: {}, others: {}"))
    await served.reload(configuration("items: {}, others: {}, more: {table: again}"))
    await served.reload(configuration("items: {}, others: {}, more: {table: at_last}"))
    database.held.set()
    await served.live("more")
    assert served.client(feed("more")).read().rows == {5: {"id": 5, "n": 50}}
    await same.held(100)


async def test_a_source_removed_while_it_is_described_stays_away(served: World) -> None:
    same, database = Untouched(served), served.databases["postgresql://a/x"]
    database.held = asyncio.Event()
    await served.reload(configuration("items: {}, others: {}, more: {}"))
    await served.until(lambda: "more" in database.described)
    await served.reload(BOTH)
    database.held.set()
    for _ in range(50):
        served.clock.advance(0.1)
        await asyncio.sleep(0)
    assert "more" not in served.app.hub.sources
    assert set(served.states()) == {"items", "others"}
    await same.held(100)


async def test_a_source_removed_and_added_again_at_once_has_its_rows_once(served: World) -> None:
    same, database = Untouched(served), served.databases["postgresql://a/x"]
    for turn in range(3):
        await served.app.reload(configuration("items: {}"))
        database.commit({"others": [((1, 10 + turn), (1, 11 + turn))]})
        await served.app.reload(BOTH)
        await served.live("others")
        assert served.client(feed("others")).read().rows == {1: {"id": 1, "n": 11 + turn}}
    await same.held(100)


async def test_a_source_is_removed_while_its_snapshot_is_being_sent(served: World) -> None:
    same, database = Untouched(served), served.databases["postgresql://a/x"]
    database.has(MORE, *[(n, n) for n in range(20_000)])
    await served.reload(configuration("items: {}, others: {}, more: {}"))
    await served.live("more")
    slow = served.client(feed("more"), room=1000)
    assert slow.read().phases == ["snapshot"], "the socket is full after the first part"
    await served.reload(BOTH)
    slow.sink.drain()
    served.now()
    assert slow.ended == "source-removed"
    assert set(slow.phases) == {"snapshot"}
    await same.held(100)


async def test_a_reload_while_the_database_is_away_holds_when_it_is_back(served: World) -> None:
    database = served.databases["postgresql://a/x"]
    client, gone = served.client(feed("items")), served.client(feed("others"))
    database.refuse = UpstreamError("connection-lost", "nobody there", action=Action.RETRY)
    database.cut()
    await served.until(lambda: served.states()["items"] == "stale")
    await served.reload(configuration("items: {}, more: {}"))
    assert gone.ended == "source-removed"
    database.commit({"items": [(None, (9, 9))]})
    database.refuse = None
    await served.live("items", "more", step_s=0.1)
    served.now()
    assert 9 in client.read().rows
    assert client.phases.count("snapshot") == 1
    assert client.ended is None


async def test_a_source_is_redefined_while_it_is_being_resynced(served: World) -> None:
    database = served.databases["postgresql://a/x"]
    client = served.client(feed("others"))
    database.cut()
    await served.until(lambda: served.states()["others"] == "stale")
    database.tables["others"] = [(3, 30)]
    await served.reload(configuration("items: {}, others: {table: elsewhere}"))
    await served.live("items", "others", step_s=0.05)
    served.now()
    await served.until(lambda: client.read().rows == {3: {"id": 3, "n": 30}})
    assert client.ended is None


async def test_an_edit_during_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {"a": {ITEMS: [(1, 1)], OTHERS: [(1, 10)], MORE: [(5, 50)]}}
    async with world(BOTH, monkeypatch, tables) as served:
        database = served.databases["postgresql://a/x"]
        database.held = asyncio.Event()
        await served.until(lambda: len(database.described) == 2)
        await served.reload(configuration("items: {table: x}, more: {}"))
        database.held.set()
        await served.live("items", "more")
        assert set(served.states()) == {"items", "more"}
        assert "others" not in served.app.hub.sources
        assert served.client(feed("items")).read().rows == {1: {"id": 1, "n": 1}}


async def test_an_operation_that_waits_for_a_first_snapshot_ends_with_its_source(served: World) -> None:
    database = served.databases["postgresql://a/x"]
    database.stall()
    await served.reload(configuration("items: {}, others: {}, more: {}"))
    await served.until(lambda: "more" in served.app.hub.sources)
    waiting: Client = served.client(feed("more"))
    assert not waiting.read().phases
    await served.reload(BOTH)
    assert waiting.ended == "source-removed"


async def test_a_query_planned_before_a_reload_is_refused_rather_than_misread(served: World) -> None:
    plan = served.app.prepare("{ others { id n } }", None, None, Session())
    served.databases["postgresql://a/x"].has(table("others", "note"), (1, 10, "x"))
    await served.reload(configuration("items: {}, others: {columns: [id, n, note]}"))
    await served.until(lambda: len(served.app.hub.sources["others"].row_type.columns) == 3)
    await served.live("others")
    with pytest.raises(RequestError, match="other columns now") as refused:
        await served.app.query(plan)
    assert refused.value.code == "source-changed"


async def test_enums_that_change_touch_the_sources_that_use_them(served: World) -> None:
    same, database = Untouched(served), served.databases["postgresql://a/x"]
    await served.reload(configuration("items: {}, others: {}", more="enums: {side: [buy, sell]}"))
    assert dict(database.enums) == {"side": ("buy", "sell")}
    assert database.described.count("items") == database.described.count("others") == 1
    await same.held(100)


async def test_a_source_moves_while_its_first_snapshot_is_arriving(served: World) -> None:
    first = "items: {database: a}, others: {database: a}"
    database = served.databases["postgresql://a/x"]
    await served.reload(configuration(first, databases="ab"))
    await served.live("items", "others")
    database.stall()  # what comes now waits unread
    await served.reload(configuration(f"{first}, more: {{database: a}}", databases="ab"))
    await served.until(lambda: "more" in served.app.hub.sources)
    waiting = served.client(feed("more"))
    served.app.hub.fill("more", [(5, 50)])  # half of a snapshot
    served.app._feeds["a"].sources["more"].filling = True
    await served.reload(configuration(f"{first}, more: {{database: b}}", databases="ab"))
    database.resume()
    await served.live("more")
    assert waiting.read().rows == {6: {"id": 6, "n": 60}}
    assert waiting.phases == ["snapshot", "ready"]


async def test_what_an_old_subscription_still_brings_is_not_taken_for_the_new(served: World) -> None:
    database = served.databases["postgresql://a/x"]
    client = served.client(feed("others"))
    database.stall()
    database.commit({"others": [((1, 10), (1, 11))]})  # unread
    await served.app.reload(configuration("items: {}"))
    assert client.ended == "source-removed"
    database.commit({"others": [((1, 11), (1, 12)), (None, (2, 20))]})
    await served.app.reload(BOTH)
    await served.until(lambda: database.described.count("others") == 2)
    database.commit({"others": [((2, 20), (2, 21))]})
    database.resume()
    await served.live("others")
    database.commit({"others": [((2, 21), (2, 22))]})
    again = served.client(feed("others"))
    await served.until(lambda: again.read().rows == {1: {"id": 1, "n": 12}, 2: {"id": 2, "n": 22}})


async def test_a_redefinition_drops_a_difference_that_is_held_for_the_others(served: World) -> None:
    """Sources of one history come back together; one that is redefined meanwhile must not bring its old rows."""
    database = served.databases["postgresql://a/x"]
    client = served.client(feed("others"))
    held = served.app._feeds["a"]._intake.resync
    held.expect(["items", "others"])
    held.arrived("others", database.position, [])
    await served.reload(configuration("items: {}, others: {table: elsewhere}"))
    await served.until(lambda: database.described.count("others") == 2)
    await served.live("others")
    assert "others" not in held
    assert client.ended is None


@pytest.mark.parametrize("inside", ["an array", "a document"])
async def test_an_enum_that_changes_touches_what_holds_it(
    monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    def sides(*labels: str) -> Config:
        typed = "items: {columns: {id: Integer, n: Integer, more: order}}" if inside == "a document" else ""
        return configuration(
            typed or "items: {}",
            more=f"enums: {{side: [{', '.join(labels)}]}}\n"
            + ("types: {order: {side: side}}" if typed else ""),
        )

    enum = array_of(enum_scalar("side", ("buy",), lambda label: None))
    column = Column("more", enum if inside == "an array" else scalar_for("jsonb"))
    items = RowType("items", (*ITEMS.columns, column), key=(0,))
    async with world(sides("buy"), monkeypatch, {"a": {items: []}}) as served:
        await served.live("items")
        database = served.databases["postgresql://a/x"]
        assert database.described == ["items"]
        await served.reload(sides("buy", "sell"))
        await served.until(lambda: database.described == ["items", "items"])
