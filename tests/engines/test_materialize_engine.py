"""Materialize's catalogue through the engine: what a source may be, its columns, types and keys, and every refusal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.engines.fake_upstream import TYPES
from tests.engines.materialize_upstream import make_engine, materialize
from tests.engines.stream_contract import Follower
from tycostream.config.model import ColumnConfig, FieldConfig, SourceConfig
from tycostream.engines.base import Finding
from tycostream.engines.control import Control
from tycostream.engines.libpq import Connection
from tycostream.engines.materialize import MaterializeEngine
from tycostream.engines.materialize.errors import meaning
from tycostream.engines.meanings import ServerError
from tycostream.errors import Action, UpstreamError
from tycostream.observe.events import EnumLabelUnlisted
from tycostream.rows import RowType
from tycostream.testing.materialize import FakeMaterialize


@pytest.fixture
async def fake() -> AsyncIterator[FakeMaterialize]:
    async with materialize() as made:
        yield made


@pytest.fixture
async def engine(fake: FakeMaterialize) -> AsyncIterator[MaterializeEngine]:
    made = make_engine(fake.url, enums={"side": ("buy", "sell")})
    yield made
    await made.close()
    await fake.until(lambda: fake.connections == 0)


def shown(row_type: RowType) -> list[tuple[str, str]]:
    return [(column.name, column.scalar.name) for column in row_type.columns]


def key(row_type: RowType) -> list[str]:
    return [row_type.columns[i].name for i in row_type.key]


async def rows(engine: MaterializeEngine, source: SourceConfig) -> Any:
    """What a stream of one source holds at first."""
    row_type = await engine.describe(source)
    follower = Follower(await engine.open(), row_type)
    await follower.stream.add(row_type, source)
    await follower.until(lambda: bool(follower.snapshots or follower.failed))
    assert not follower.failed, follower.failed
    await follower.stream.close()
    return follower.multiset(source.name)


async def refused(engine: MaterializeEngine, source: SourceConfig) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await engine.describe(source)
    error = caught.value
    assert error.action is Action.FAIL
    assert error.message.startswith(f"source {source.name}: ") or error.code == "source-name"
    return error


# what a source may be


async def test_tables_views_materialized_views_and_sources_in_schemas(
    fake: FakeMaterialize, engine: MaterializeEngine
) -> None:
    fake.create_table("t", TYPES, key=("id",), comment="a table", comments={"n": "a number"})
    fake.create_table("ext", TYPES, schema="raw", kind="source")
    fake.create_view("v", TYPES, lambda held: held["t"])
    fake.create_view("mv", TYPES, lambda held: held["raw.ext"], schema="raw", kind="materialized-view")
    fake.insert("t", ("1", "2", "x"))
    fake.insert("raw.ext", ("3", "4", None))
    expected = {
        "t": (1, 2, "x"),
        "v": (1, 2, "x"),
        "raw.ext": (3, 4, None),
        "materialize.raw.mv": (3, 4, None),
    }
    for table, row in expected.items():
        source = SourceConfig(name="s", table=table)
        row_type = await engine.describe(source)
        assert shown(row_type) == [("id", "int8"), ("n", "int8"), ("tag", "text")]
        assert list(await rows(engine, source)) == [row]
    row_type = await engine.describe(SourceConfig(name="t"))
    assert (key(row_type), row_type.watched) == (["id"], True), (
        "a key that EXPLAIN knows, and nothing enforces"
    )
    assert row_type.comment == "a table"
    assert [column.comment for column in row_type.columns] == [None, "a number", None]
    assert [column.nullable for column in row_type.columns] == [False, True, True]
    assert key(await engine.describe(SourceConfig(name="v"))) == []


@pytest.mark.parametrize("name", ['qu"ote', "Ünïcødé ✓", "select", "UPPER", "it's", "with space", "a$b"])
async def test_names_of_any_letters(fake: FakeMaterialize, engine: MaterializeEngine, name: str) -> None:
    fake.create_table(name, {name: "int8", f"{name}2": "text"}, key=(name,), schema=f"s {name}")
    fake.insert(f"s {name}.{name}", ("1", "x"))
    source = SourceConfig(name="s", table=f"s {name}.{name}", columns={f"{name}2": None, name: None})
    row_type = await engine.describe(source)
    assert shown(row_type) == [(f"{name}2", "text"), (name, "int8")]
    assert key(row_type) == [name]
    assert list(await rows(engine, source)) == [("x", 1)]


async def test_columns_subset_order_and_custom_fields(
    fake: FakeMaterialize, engine: MaterializeEngine
) -> None:
    fake.create_table("t", TYPES, key=("id",))
    fake.insert("t", ("1", "2", "x"), ("2", "3", "y"))
    fake.register_expression("upper(tag) -- loud", "text", lambda row: (row["tag"] or "").upper())
    fake.register_expression("n * 2", "bigint", lambda row: str(int(row["n"] or 0) * 2))
    plain = SourceConfig(name="s", table="t", columns={"tag": None, "id": "BigInt"})
    row_type = await engine.describe(plain)
    assert shown(row_type) == [("tag", "text"), ("id", "int8")]
    assert key(row_type) == ["id"]
    assert set(await rows(engine, plain)) == {("x", 1), ("y", 2)}
    computed = SourceConfig(
        name="s",
        table="t",
        columns={"tag": None, "id": None},
        fields={
            "loud": FieldConfig(sql="upper(tag) -- loud", comment="shouted"),
            "twice": FieldConfig(sql="n * 2", type="BigInt"),
        },
    )
    row_type = await engine.describe(computed)
    assert shown(row_type) == [("tag", "text"), ("id", "int8"), ("loud", "text"), ("twice", "int8")]
    assert row_type.columns[2].comment == "shouted"
    assert key(row_type) == ["id"]
    assert set(await rows(engine, computed)) == {("x", 1, "X", 4), ("y", 2, "Y", 6)}
    keyless = await engine.describe(SourceConfig(name="s", table="t", columns={"tag": None}))
    assert key(keyless) == [], "a key of which a column is left out is none"


@pytest.mark.parametrize("end", ["", ";", " ; ", "\n-- done", "; "])
async def test_queries_with_any_end(fake: FakeMaterialize, engine: MaterializeEngine, end: str) -> None:
    fake.create_table("t", TYPES, key=("id",))
    fake.insert("t", ("1", "2", "x"))
    source = SourceConfig(name="q", query=f'SELECT id, tag AS "t a g" FROM t{end}', primary_key=("id",))
    row_type = await engine.describe(source)
    assert shown(row_type) == [("id", "int8"), ("t a g", "text")]
    assert (key(row_type), row_type.watched) == (["id"], True)
    assert list(await rows(engine, source)) == [(1, "x")]


async def test_queries_with_fields_and_their_identity(
    fake: FakeMaterialize, engine: MaterializeEngine
) -> None:
    fake.create_table("t", TYPES, key=("id",))
    fake.insert("t", ("1", "2", "x"))
    fake.register_expression("n + 1", "bigint", lambda row: str(int(row["n"] or 0) + 1))
    source = SourceConfig(name="q", query="SELECT n, id FROM t", fields={"more": FieldConfig(sql="n + 1")})
    row_type = await engine.describe(source)
    assert shown(row_type) == [("n", "int8"), ("id", "int8"), ("more", "int8")]
    assert list(await rows(engine, source)) == [(2, 1, 3)]
    before = (await engine.relation_of(source)).identity
    fake.recreate("t")
    await engine.describe(source)
    assert (await engine.relation_of(source)).identity != before, "another table under it is another history"


async def test_a_constant_view(fake: FakeMaterialize, engine: MaterializeEngine) -> None:
    fake.create_constant_view("c", TYPES, [("1", "1", "x"), ("1", "1", "x")])
    assert (await rows(engine, SourceConfig(name="c")))[1, 1, "x"] == 2


# types by configuration


async def test_types_that_agree_and_enums(fake: FakeMaterialize, engine: MaterializeEngine) -> None:
    told: list[Any] = []
    engine.emit = told.append
    fake.create_table("t", {"id": "int8", "side": "text", "at": "timestamp with time zone"}, key=("id",))
    columns = {"id": "BigInt", "side": "side", "at": "TimestampTZ"}
    source = SourceConfig(
        name="t", columns=columns, column_config={"at": ColumnConfig(name="when", comment="then")}
    )
    row_type = await engine.describe(source)
    assert [c.field for c in row_type.columns] == ["id", "side", "when"]
    assert row_type.columns[2].comment == "then"
    assert row_type.columns[1].scalar.enum == ("buy", "sell")
    fake.insert("t", ("1", "hold", "2026-01-01 00:00:00+00"))
    await rows(engine, source)
    assert told == [EnumLabelUnlisted("side", "hold")] * len(told)


@pytest.mark.parametrize(
    ("column", "wanted", "message", "hint"),
    [
        ("id", "String", "column id is bigint in the database, and String in the configuration", "BigInt"),
        ("id", "side", "and side in the configuration", "an enum needs a text or enum column"),
        ("tag", "Integer", "column tag is text in the database, and Integer in the configuration", "String"),
    ],
)
async def test_types_that_disagree(
    fake: FakeMaterialize, engine: MaterializeEngine, column: str, wanted: str, message: str, hint: str
) -> None:
    fake.create_table("t", TYPES, key=("id",))
    error = await refused(engine, SourceConfig(name="t", columns={"id": None, column: wanted}))
    assert error.code == "column-type"
    assert message in error.message
    assert hint in error.hint


# refusals


async def test_what_is_missing_is_named_with_what_exists(
    fake: FakeMaterialize, engine: MaterializeEngine
) -> None:
    error = await refused(engine, SourceConfig(name="trades"))
    assert "nothing" in error.detail
    fake.create_table("trades", TYPES, key=("id",))
    fake.create_view("totals", TYPES, lambda held: [], schema="sums")
    error = await refused(engine, SourceConfig(name="trade"))
    assert error.code == "source-missing"
    assert "there is no table, source or view public.trade" in error.message
    assert "public.trades, sums.totals" in error.detail
    assert error.hint == "did you mean public.trades?"
    far = await refused(engine, SourceConfig(name="zzz", table="other.zzz"))
    assert "starts by itself once it is there" in far.hint
    await refused(engine, SourceConfig(name="x", table="elsewhere.public.trades"))
    assert (await refused(engine, SourceConfig(name="x", table="a.b.c.d"))).code == "source-name"
    column = await refused(engine, SourceConfig(name="trades", columns={"id": None, "tog": None}))
    assert column.code == "column-missing"
    assert column.detail == "columns that exist: id, n, tag"
    assert column.hint == "did you mean tag?"
    lacking = await refused(engine, SourceConfig(name="trades", primary_key=("n",), columns={"id": None}))
    assert lacking.code == "key-column-left-out"
    nothing = await refused(engine, SourceConfig(name="trades", primary_key=("no",)))
    assert nothing.code == "column-missing"


@pytest.mark.parametrize("kind", ["sink", "connection", "secret"])
async def test_kinds_that_cannot_be_followed(
    fake: FakeMaterialize, engine: MaterializeEngine, kind: str
) -> None:
    fake.create_other("thing", kind)
    error = await refused(engine, SourceConfig(name="thing"))
    assert error.code == "source-kind"
    assert f"materialize.public.thing is a {kind}" in error.message


async def test_rights_fields_and_sql(fake: FakeMaterialize, engine: MaterializeEngine) -> None:
    fake.create_table("t", TYPES, key=("id",))
    fake.revoke("t")
    denied = await refused(engine, SourceConfig(name="t"))
    assert denied.code == "no-rights"
    assert denied.hint.endswith("TO materialize;")
    fake.grant("t")
    taken = await refused(engine, SourceConfig(name="t", fields={"n": FieldConfig(sql="1")}))
    assert taken.code == "field-name"
    wrong = await refused(engine, SourceConfig(name="t", fields={"m": FieldConfig(sql='"nothing" + 1')}))
    assert wrong.code == "column-missing"
    twice = await refused(engine, SourceConfig(name="q", query="SELECT id, n AS id FROM t"))
    assert twice.code == "column-twice"
    assert "AS" in twice.hint
    gone = await refused(engine, SourceConfig(name="q", query="SELECT id FROM nowhere"))
    assert gone.code == "source-dropped"
    syntax = await refused(engine, SourceConfig(name="q", query="SELEKT id FROM t"))
    assert syntax.code == "query-failed"
    assert "`query` or `fields`" in syntax.hint


# check, catalogue, probe, renew


def problems(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if not finding.ok]


async def test_check_says_what_is_right(fake: FakeMaterialize, engine: MaterializeEngine) -> None:
    fake.create_table("t", TYPES, key=("id",))
    fake.retain_history("t", 600)
    fake.insert("t", ("1", "2", "x"))
    findings = list(await engine.check([SourceConfig(name="t")]))
    assert not problems(findings)
    texts = [finding.message for finding in findings]
    assert texts[0] == "Materialize v26.39.0, database materialize"
    assert "cluster quickstart has 1 replicas" in texts
    assert "max_result_size is 1GB" in texts
    assert "table materialize.public.t, 3 columns" in texts
    assert "key id, which Materialize knows to be unique" in texts
    assert "Materialize keeps 600 s of its history" in texts


async def test_check_names_each_problem_with_its_remedy(
    fake: FakeMaterialize, engine: MaterializeEngine
) -> None:
    fake.create_table("t", TYPES)
    fake.insert("t", ("1", "2", "x"), ("1", "3", "y"))
    keyless, doubled = SourceConfig(name="t"), SourceConfig(name="t", primary_key=("id",))
    (warning,) = problems(list(await engine.check([keyless])))
    assert (warning.subject, warning.fatal) == ("source t", False)
    assert "`primary_key:`" in warning.hint
    (double,) = problems(list(await engine.check([doubled])))
    assert "its key is not unique: 2 rows have id = 1" in double.message
    assert double.fatal
    history = [f for f in await engine.check([keyless]) if "history" in f.message]
    assert history[0].hint.endswith(
        """: ALTER TABLE "materialize"."public"."t" SET (RETAIN HISTORY FOR '300s');"""
    )
    (missing,) = problems(list(await engine.check([SourceConfig(name="no")])))
    assert "there is no table" in missing.message
    fake.revoke("t")
    (denied,) = problems(list(await engine.check([keyless])))
    assert "GRANT" in denied.hint
    fake.create_cluster("quickstart", replicas=0)
    (idle,) = problems(list(await engine.check([])))
    assert idle.hint == 'ALTER CLUSTER "quickstart" SET (REPLICATION FACTOR 1);'
    fake.drop_cluster()
    (cluster,) = problems(list(await engine.check([])))
    assert "there is no cluster quickstart" in cluster.message
    assert "CREATE CLUSTER" in cluster.hint
    fake.restart()
    fake.refuse()
    (down,) = problems(list(await engine.check([keyless])))
    assert (down.subject, down.fatal) == ("database main", True)
    assert "is Materialize reachable" in down.hint


async def test_a_table_too_large_to_look_through_is_a_warning_beside_the_other_findings(
    fake: FakeMaterialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.create_table("t", TYPES)
    engine = make_engine(fake.url, statement_timeout=timedelta(seconds=0.5))
    execute = Control._on

    async def slow(control: Control, connection: Connection, statement: str) -> Any:
        if "HAVING" not in statement:
            return await execute(control, connection, statement)
        never = "SUBSCRIBE (SELECT id FROM t)"  # what the fake takes for ever to answer
        return await execute(control, connection, never)

    monkeypatch.setattr(Control, "_on", slow)
    findings = list(await engine.check([SourceConfig(name="t", primary_key=("id",))]))
    (late,) = problems(findings)
    assert (late.subject, late.fatal) == ("source t", False)
    assert "not found out in time" in late.message
    assert "`statement_timeout`" in late.hint
    texts = [finding.message for finding in findings if finding.subject == "source t"]
    assert [text.split()[0] for text in texts] == ["table", "key", "whether", "Materialize"]
    await engine.close()


@pytest.mark.parametrize(
    ("state", "text", "code", "action"),
    [
        ("42704", "cluster 'my c' was dropped", "cluster-dropped", Action.FAIL),
        (
            "XX000",
            'query could not complete because cluster "c" was dropped',
            "cluster-dropped",
            Action.FAIL,
        ),
        ("42704", "relation 'd.cluster.t' was dropped", "source-dropped", Action.FAIL),
        ("XX000", "target replica failed or was dropped", "replica-gone", Action.RETRY),
    ],
)
def test_what_was_dropped_is_told_apart(state: str, text: str, code: str, action: Action) -> None:
    error = meaning(ServerError(state, text), "t", "")
    assert (error.code, error.action, error.detail) == (code, action, text)


async def test_what_init_may_offer(fake: FakeMaterialize, engine: MaterializeEngine) -> None:
    fake.create_table("t", TYPES, key=("id",), comment="a table")
    fake.create_view("v", {"n": "numeric"}, lambda held: [], schema="s")
    fake.create_other("out", "sink")
    made = {f"{t.schema}.{t.name}": t for t in await engine.catalogue()}
    assert set(made) == {"public.t", "s.v"}
    assert made["public.t"].primary_key == ("id",)
    assert made["public.t"].columns == (("id", "bigint"), ("n", "bigint"), ("tag", "text"))
    assert made["public.t"].comment == "a table"
    assert made["s.v"].primary_key == ()


async def test_a_lost_control_connection_is_only_an_old_one(
    fake: FakeMaterialize, engine: MaterializeEngine
) -> None:
    fake.create_table("t", TYPES, key=("id",))
    await engine.describe(SourceConfig(name="t"))
    fake.restart()
    await fake.until(lambda: fake.connections == 0)
    await engine.describe(SourceConfig(name="t"))
    fake.refuse()
    fake.restart()
    with pytest.raises(UpstreamError) as caught:
        await engine.describe(SourceConfig(name="t"))
    assert caught.value.action is Action.RETRY
    with pytest.raises(UpstreamError) as caught:
        await engine.probe()
    assert caught.value.action is Action.RETRY
    fake.refuse(False)
    await engine.probe()


async def test_renewed_credentials_are_used_from_then_on() -> None:
    async with materialize(password="new") as fake:
        fake.create_table("t", TYPES, key=("id",))
        engine = make_engine(fake.url.replace(":new@", ":old@"))
        with pytest.raises(UpstreamError) as caught:
            await engine.describe(SourceConfig(name="t"))
        assert (caught.value.code, caught.value.action) == ("auth", Action.FAIL)
        engine.renew(fake.url)
        await engine.probe()
        assert list(await rows(engine, SourceConfig(name="t"))) == []
        await engine.close()
