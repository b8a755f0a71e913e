"""RisingWave's catalogue through the engine: what a source may be, its subscription, its types, and every refusal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

import psycopg
import pytest

from tests.engines.fake_upstream import TYPES
from tests.engines.risingwave_upstream import make_engine, risingwave
from tests.engines.stream_contract import Follower
from tycostream.config.model import FieldConfig, SourceConfig
from tycostream.engines.control import Control
from tycostream.engines.meanings import ServerError
from tycostream.engines.risingwave import RisingWaveEngine
from tycostream.engines.risingwave.errors import meaning
from tycostream.engines.risingwave.subscriptions import LOG, Subscription, load, over, view_name
from tycostream.errors import Action, UpstreamError
from tycostream.observe.events import EnumLabelUnlisted
from tycostream.rows import RowType
from tycostream.testing.risingwave import FakeRisingWave


@pytest.fixture
async def fake() -> AsyncIterator[FakeRisingWave]:
    async with risingwave() as made:
        yield made


@pytest.fixture
async def engine(fake: FakeRisingWave) -> AsyncIterator[RisingWaveEngine]:
    made = make_engine(fake.url, enums={"side": ("buy", "sell")})
    yield made
    await made.close()
    await fake.until(lambda: fake.connections == 0)


def source(name: str = "t", **more: Any) -> SourceConfig:
    return SourceConfig(name=name, **more)


def shown(row_type: RowType) -> list[tuple[str, str]]:
    return [(column.name, column.scalar.name) for column in row_type.columns]


async def refused(engine: RisingWaveEngine, config: SourceConfig) -> UpstreamError:
    """What describing a source says."""
    with pytest.raises(UpstreamError) as caught:
        await engine.describe(config)
    assert caught.value.action is Action.FAIL
    assert caught.value.hint
    return caught.value


async def failed(engine: RisingWaveEngine, config: SourceConfig) -> UpstreamError:
    """What following a source says."""
    row_type = await engine.describe(config)
    follower = Follower(await engine.open(), row_type)
    await follower.stream.add(row_type, config)
    await follower.until(lambda: config.name in follower.failed)
    await follower.stream.close()
    return follower.failed[config.name].error


# describing


async def test_tables_and_views_with_the_keys_that_can_be_seen(
    fake: FakeRisingWave, engine: RisingWaveEngine
) -> None:
    fake.create_table("t", TYPES, key=("tag", "id"))
    fake.create_materialized_view("v", TYPES, lambda tables: tables["public.t"], key=("id",), schema="s")
    fake.create_materialized_view("h", TYPES, lambda tables: tables["public.t"], key=("id",), hidden=True)
    t = await engine.describe(source())
    assert [t.columns[i].name for i in t.key] == ["id", "tag"]
    assert [column.nullable for column in t.columns] == [False, True, False]
    v = await engine.describe(source("v", table="s.v"))
    assert (v.key, v.watched) == ((0,), False)
    assert (await engine.describe(source("h"))).key == ()
    narrow = await engine.describe(source(columns=["id", "n"]))
    assert narrow.key == (), "the key is not shown"
    more = await engine.describe(source("v", table="s.v", primary_key=("id", "n")))
    assert (more.key, more.watched) == ((0, 1), False)


async def test_what_cannot_be_a_source_says_why(fake: FakeRisingWave, engine: RisingWaveEngine) -> None:
    fake.create_table("trades", TYPES, key=("id",))
    fake.create_table("feed", TYPES, kind="source")
    missing = await refused(engine, source("trade"))
    assert missing.message == "source trade: there is no table or materialized view public.trade"
    assert missing.detail == "what exists: public.trades"
    assert missing.hint == "did you mean public.trades?"
    kind = await refused(engine, source("feed"))
    assert kind.message == "source feed: public.feed is a source, which has no subscriptions"
    assert "CREATE MATERIALIZED VIEW" in kind.hint
    other = await refused(engine, source("x", table="db.public.trades"))
    assert "names a database" in other.message
    column = await refused(engine, source("trades", columns=["id", "tagg"]))
    assert (column.code, column.hint) == ("column-missing", "did you mean tag?")
    field = await refused(engine, source("trades", fields={"n": FieldConfig(sql="1")}))
    assert field.message == "source trades: field n has the name of a column of public.trades"
    fake.revoke("trades")
    assert "GRANT SELECT" in (await refused(engine, source("trades"))).hint


async def test_a_query_is_described_without_being_made(
    fake: FakeRisingWave, engine: RisingWaveEngine
) -> None:
    text = "SELECT id, sum(n) AS total FROM t GROUP BY id"
    fake.create_table("t", TYPES, key=("id",))
    fake.register_query(text, {"id": "bigint", "total": "numeric"}, lambda tables: [], key=("id",))
    query = source("q", query=f"{text} ;")
    shape = await engine.describe(query)
    assert shown(shape) == [("id", "int8"), ("total", "numeric")]
    assert shape.key == ()
    named = await engine.describe(query.model_copy(update={"primary_key": ("id",)}))
    assert (named.key, named.watched) == ((0,), True)
    fake.register_query("SELECT 1 AS a, 2 AS a", {"a": "int", "b": "int"}, lambda tables: [])
    wrong = await refused(engine, source("q", query="SELECT nothing FROM t"))
    assert wrong.code in ("column-missing", "query-failed", "source-dropped")


async def test_every_type_comes_as_it_is_printed(fake: FakeRisingWave) -> None:
    enums = {"side": ("buy", "sell")}
    told: list[object] = []
    engine = make_engine(fake.url, enums=enums, emit=told.append, manage=True)
    columns = {
        "id": "bigint", "ok": "boolean", "small": "smallint", "whole": "int", "real": "real", "double": "double precision",
        "exact": "numeric", "text": "varchar", "bytes": "bytea", "day": "date", "clock": "time", "moment": "timestamp",
        "instant": "timestamptz", "span": "interval", "doc": "jsonb", "big": "rw_int256", "list": "int[]", "texts": "text[]",
        "pair": "struct<a int, b varchar>", "pairs": "struct<a int, b varchar>[]", "map": "map(varchar,int)", "side": "varchar",
    }  # fmt: skip
    row = (
        "1", "t", "-2", "3", "1.5", "1e-7", "1.00", "a\\N\tb", "\\x00ff", "2024-02-29", "23:59:59.5", "2024-01-01 00:00:00",
        "2024-01-01 00:00:00.25+00:00", "1 mon 2 days 03:00:00", '{"a": 1}', str(2**200), "{1,NULL,3}", '{a,"b c"}',
        "(1,abc)", '{"(1,abc)","(2,)"}', "{k:1}", "hold",
    )  # fmt: skip
    fake.create_table("t", columns, key=("id",))
    fake.insert("t", row, ("2", *[None] * (len(columns) - 1)))
    fake.checkpoint()
    config = source(columns={**dict.fromkeys(columns), "side": "side"})
    shape = await engine.describe(config)
    follower = Follower(await engine.open(), shape)
    await follower.stream.add(shape, config)
    await follower.until(lambda: bool(follower.snapshots))
    cells = dict(zip(columns, follower.rows["t"][1], strict=True))
    texts = {c.name: None if cells[c.name] is None else c.scalar.text(cells[c.name]) for c in shape.columns}
    assert (cells["ok"], cells["exact"], cells["big"]) == (True, Decimal("1.00"), Decimal(2**200))
    assert texts["text"] == "a\\N\tb", "a text is nothing that is unescaped"
    assert texts["instant"] == "2024-01-01 00:00:00.25+00"
    assert (texts["pair"], texts["map"], texts["list"]) == ("(1,abc)", "{k:1}", "{1,NULL,3}")
    assert texts["pairs"] == '{"(1,abc)","(2,)"}'
    assert (texts["exact"], texts["bytes"], texts["day"]) == ("1.00", "\\x00ff", "2024-02-29")
    assert cells["side"] is None
    assert told == [EnumLabelUnlisted("side", "hold")]
    assert follower.rows["t"][2][1:] == (None,) * (len(columns) - 1)
    await engine.close()


# subscriptions


async def test_a_source_without_a_subscription_is_told_the_statement(
    fake: FakeRisingWave, engine: RisingWaveEngine
) -> None:
    fake.create_table("t", TYPES, key=("id",))
    error = await failed(engine, source())
    assert (error.code, error.action) == ("no-subscription", Action.FAIL)
    assert error.hint == (
        "CREATE SUBSCRIPTION public.t_changes FROM public.t WITH (retention = '3600 seconds'); "
        "Or set `manage: true` of the database"
    )
    fake.create_subscription("mine", "t")
    assert (await failed(engine, source())).hint.startswith(
        "there is public.mine: name it in `subscription:` of the source"
    )
    assert fake.subscriptions() == 1, "nothing was made"


async def test_a_subscription_must_be_there_and_over_the_table(
    fake: FakeRisingWave, engine: RisingWaveEngine
) -> None:
    for name in ("t", "other"):
        fake.create_table(name, TYPES, key=("id",))
        fake.create_subscription(f"{name}_s", name)
    missing = await failed(engine, source(subscription="t_ss"))
    assert missing.message == "source t: there is no subscription public.t_ss"
    assert missing.detail == "subscriptions over public.t: public.t_s"
    assert missing.hint == "did you mean public.t_s?"
    other = await failed(engine, source(subscription="other_s"))
    assert other.message == "source t: subscription public.other_s reads other, not public.t"
    assert other.hint == "name another: public.t_s"


@pytest.mark.parametrize(
    ("reads", "fits"),
    [
        ("t", True),
        ("public.t", True),
        ('"public"."t"', True),
        ("s.t", False),
        ("T", True),
        ("tt", False),
        ("", True),
    ],
)
async def test_a_definition_names_its_table_in_many_ways(
    fake: FakeRisingWave, engine: RisingWaveEngine, reads: str, fits: bool
) -> None:
    fake.create_table("t", TYPES, key=("id",))
    await engine.describe(source())
    relation = await engine.relation_of(source())
    assert over(Subscription("1", "public", "s", 60, reads), relation) is fits


async def test_a_catalogue_that_tells_no_retention_counts_as_the_least() -> None:
    asked: list[str] = []

    class Old:
        """Older than the column."""

        async def run(self, statement: str) -> list[tuple[Any, ...]]:
            asked.append(statement)
            if "retention_seconds" in statement:
                raise psycopg.errors.InternalError_("Invalid column: retention_seconds")
            return [(7, "public", "s", "CREATE SUBSCRIPTION s FROM t WITH (retention = '1D')", None)]

    assert await load(cast("Control", Old()), "public", "s") == [Subscription("7", "public", "s", 60, "t")]
    assert all(statement.endswith("s.name = 's' AND n.name = 'public'") for statement in asked)


async def test_a_view_of_our_name_and_another_shape_is_not_taken_for_ours(fake: FakeRisingWave) -> None:
    fake.create_table("t", TYPES, key=("id",))
    fake.register_expression("n + 1", "bigint", lambda row: "1")
    engine = make_engine(fake.url, manage=True)
    config = source(fields={"m": FieldConfig(sql="n + 1")})
    await engine.describe(config)
    name = view_name("test", config, await engine.relation_of(config))
    fake.create_materialized_view(name, {**TYPES, "m": "int"}, lambda tables: [], key=("id",))
    error = await failed(engine, config)
    assert (error.code, error.action) == ("view-other", Action.FAIL)
    assert error.message == f"source t: the columns of public.{name} are not those of its definition"
    assert "m int4 (23), where" in error.detail
    assert "cast what has no clear type" in error.hint
    assert f'DROP MATERIALIZED VIEW public."{name}" CASCADE' in error.hint
    await engine.close()


async def test_a_subscription_of_our_name_that_reads_another_table_is_not_read(fake: FakeRisingWave) -> None:
    """As after a rename or ALTER TABLE … SWAP WITH: the subscription stays with the table that it was made for."""
    for table in ("t", "was_t"):
        fake.create_table(table, TYPES, key=("id",))
    engine = make_engine(fake.url, manage=True)
    await engine.describe(source())
    name = view_name("test", source(), await engine.relation_of(source())) + LOG
    fake.create_subscription(name, "was_t")
    error = await failed(engine, source())
    assert (error.code, error.action) == ("subscription-other", Action.FAIL)
    assert error.message == f"source t: our subscription public.{name} reads was_t, not public.t"
    assert error.detail == "a table keeps its subscription when it is renamed or swapped"
    assert error.hint == f'DROP SUBSCRIPTION public."{name}"; it is made anew'
    said = [finding.message for finding in await engine.check([source()]) if not finding.ok]
    assert said == [error.message]
    fake.drop_subscription(name)
    row_type = await engine.describe(source())
    follower = Follower(await engine.open(), row_type)
    await follower.stream.add(row_type, source())
    await follower.until(lambda: "t" in follower.positions)
    await engine.close()


# the operator's view


async def test_check_says_what_is_there_and_what_is_missing(
    fake: FakeRisingWave, engine: RisingWaveEngine
) -> None:
    fake.create_table("t", TYPES, key=("id",))
    fake.create_table("loose", TYPES)
    fake.create_subscription("s", "t", retention_s=30)
    fake.create_subscription("l", "loose")
    fake.insert("loose", ("1", "1", "x"), ("1", "2", "y"))
    fake.checkpoint()
    found = await engine.check([source(subscription="s"), source("loose", subscription="l"), source("none")])
    said = [(finding.subject, finding.ok, finding.message) for finding in found]
    assert said[0][:2] == ("database main", True)
    assert said[0][2] == "RisingWave 3.2.0"
    assert ("source t", True, "key id, the primary key of public.t") in said
    assert ("source t", False, "subscription public.s keeps 30 s, so that its cursors hardly live") in said
    assert ("source loose", False, "has no key that can be seen") in said
    assert ("source loose", True, "subscription public.l keeps 86400 s") in said
    assert ("source none", False, "source none: there is no table or materialized view public.none") in said
    (twice,) = [
        f for f in await engine.check([source("loose", subscription="l", primary_key=("id",))]) if not f.ok
    ]
    assert twice.message == "its key is not unique: 2 rows have id = 1"


async def test_check_makes_nothing_and_says_what_will_be_made(fake: FakeRisingWave) -> None:
    fake.create_table("t", TYPES, key=("id",))
    fake.register_expression("n + 1", "bigint", lambda row: "1")
    engine = make_engine(fake.url, manage=True)
    found = await engine.check([source(), source("f", table="t", fields={"m": FieldConfig(sql="n + 1")})])
    assert all(finding.ok for finding in found)
    messages = [finding.message for finding in found]
    assert "a subscription that keeps 3600 s will be created when the server starts" in messages
    assert any("the materialized view tycostream_test$f$" in message for message in messages)
    assert fake.subscriptions() == 0
    await engine.close()


async def test_another_version_or_product_is_refused(fake: FakeRisingWave) -> None:
    async with risingwave(version="2.0.1") as old:
        engine = make_engine(old.url)
        with pytest.raises(UpstreamError) as caught:
            await engine.open()
        assert (caught.value.code, caught.value.action) == ("version", Action.FAIL)
        assert caught.value.message == "RisingWave 2.0 is too old: its cursors cannot wait for changes"
        (finding,) = await engine.check([source()])
        assert (finding.ok, finding.hint) == (False, "upgrade it to 2.1 or later")
        await engine.close()


async def test_init_is_offered_tables_and_views_less_ours(
    fake: FakeRisingWave, engine: RisingWaveEngine
) -> None:
    fake.create_table("t", TYPES, key=("id",))
    fake.create_table("feed", TYPES, kind="source")
    fake.create_materialized_view("v", TYPES, lambda tables: [], schema="s")
    fake.create_materialized_view("tycostream_x$q$12345678", TYPES, lambda tables: [])
    offered = [(table.schema, table.name, table.primary_key) for table in await engine.catalogue()]
    assert offered == [("public", "t", ("id",)), ("s", "v", ())]


@pytest.mark.parametrize(
    ("state", "text", "code", "action"),
    [
        ("XX000", " No data found for rw_timestamp 1, data may have been recycled", "history-gone", Action.RESYNC),
        ("XX000", "rw_timestamp is too small, need to be large than", "history-gone", Action.RESYNC),
        ("XX000", "rw_timestamp is too large, need to be less than", "clocks-differ", Action.RETRY),
        ("XX000", "The cursor has exceeded its maximum lifetime, please", "cursor-expired", Action.RETRY),
        ("XX000", "Cursor is in invalid state. Please close and", "cursor-lost", Action.RETRY),
        ("XX000", "Cannot find cursor `c`", "cursor-lost", Action.RETRY),
        ("XX000", "Fetch Cursor don't support read uncommitted", "session-settings", Action.FAIL),
        ("XX000", "table id 5 has been dropped", "source-dropped", Action.FAIL),
        ("42704", 'subscription "s" does not exist', "source-dropped", Action.FAIL),
        ("XX000", "Permission denied: Do not have the privilege", "no-rights", Action.FAIL),
        ("XX000", "sql parser error: expected FROM", "query-failed", Action.FAIL),
        ("XX000", "Barrier read is unavailable for now. Likely the cluster is recovering", "connection-lost", Action.RETRY),
        ("", "server closed the connection unexpectedly", "connection-lost", Action.RETRY),
        ("22012", "division by zero", "query-failed", Action.FAIL),
    ],
)  # fmt: skip
def test_what_an_error_means(state: str, text: str, code: str, action: Action) -> None:
    error = meaning(ServerError(state, f"Failed to run the query\n\nCaused by:\n  {text}"), "t", "", "me")
    assert (error.code, error.action) == (code, action)
    assert error.message.startswith("source t: ")
    assert text.strip() in error.detail
    if code == "no-rights":
        assert error.hint.endswith("TO me;")


async def test_a_server_that_does_not_answer_is_lost_in_time(fake: FakeRisingWave) -> None:
    engine = make_engine(
        fake.url, statement_timeout=timedelta(seconds=0.2), connect_timeout=timedelta(seconds=1)
    )
    fake.stall(silent=True)
    with pytest.raises(UpstreamError) as caught:
        await engine.probe()
    assert caught.value.action is Action.RETRY
    fake.resume()
    await engine.probe()
    await engine.close()
