"""Random edits, transactions, losses and clients that come and go: in the end everybody shows what the tables hold.

The oracle is brute force: the rows of the table that the configuration of now names for a source, in its columns. On
the way, an operation may end only for a reason that the edits gave, and one that goes on is never told to start again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st

from tests.reloading.harness import INT, TEXT, Client, Database, World, configuration, feed, live, world
from tycostream.config.model import Config, SourceConfig
from tycostream.errors import Action, RequestError, UpstreamError
from tycostream.graphql.execute import InvalidRequest
from tycostream.rows import Column, Position, Row, RowType
from tycostream.testing.scripted import ScriptedStream

NAMES = ("p", "q", "r")
COLUMNS = (("id", "n"), ("id", "n", "note"), ("id", "note", "n"), None)
ALL = ("id", "n", "note")
LOST = UpstreamError("connection-lost", "nobody there", action=Action.RETRY)


class ProjectingStream(ScriptedStream):
    """Reads the table and the columns that the configuration names."""

    projecting: ProjectingDatabase

    async def add(self, row_type: RowType, source: SourceConfig, after: Position | None = None) -> None:
        self.projecting.reads[source.name] = source.table, tuple(source.columns or ALL)
        self.projecting.row_types[source.name] = row_type
        self.projecting.tables[source.name] = self.projecting.projected(source.name)
        await super().add(row_type, source, after)


class ProjectingDatabase(Database):
    """Tables of rows (id, n, note), read by sources under names of their own."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.physical: dict[str, dict[int, dict[str, Any]]] = {"x": {}, "y": {}}
        self.reads: dict[str, tuple[str, tuple[str, ...]]] = {}
        for table in self.physical:  # no two tables hold the same
            self.write(table, [(1, ord(url[13]) * 10 + ord(table)), (2 if table == "x" else 3, 5)])

    async def describe(self, source: SourceConfig) -> RowType:
        self.described.append(source.name)
        if source.table not in self.physical:
            raise UpstreamError("source-missing", f"no table {source.table}", action=Action.FAIL)
        kinds = {"id": INT, "n": INT, "note": TEXT}
        columns = tuple(Column(name, kinds[name], nullable=name != "id") for name in source.columns or ALL)
        return RowType(source.name, columns, (0,), source.comment)

    async def open(self) -> ScriptedStream:
        if self.refuse is not None:
            raise self.refuse
        self.opened += 1
        self.stream = stream = ProjectingStream(self)
        stream.projecting = self
        return stream

    def projected(self, source: str) -> list[Row]:
        table, columns = self.reads[source]
        return [tuple(row[name] for name in columns) for row in self.physical[table].values()]

    def write(self, table: str, changes: Sequence[tuple[int, int | None]]) -> None:
        """A transaction: each key's new number, or None to delete it."""
        made: dict[str, list[tuple[Row | None, Row | None]]] = {}
        for key, number in changes:
            old = self.physical[table].pop(key, None)
            new = (
                None
                if number is None
                else {"id": key, "n": number, "note": f"{self.incarnation}{table}{number}"}
            )
            if new is not None:
                self.physical[table][key] = new
            for source, (read, columns) in self.reads.items():
                if read == table and old != new:
                    pair = [
                        None if row is None else tuple(row[name] for name in columns) for row in (old, new)
                    ]
                    made.setdefault(source, []).append((pair[0], pair[1]))
        if made:
            self.commit(made)


@dataclass(frozen=True)
class Source:
    database: str
    table: str  # z does not exist
    columns: tuple[str, ...] | None
    comment: str
    coalesce: str

    @property
    def yaml(self) -> str:
        columns = "" if self.columns is None else f"columns: [{', '.join(self.columns)}], "
        live = f"live: {{coalesce: {self.coalesce}}}"
        return f"{{database: {self.database}, table: {self.table}, {columns}comment: {self.comment}, {live}}}"


@dataclass(frozen=True)
class Edit:
    sources: Mapping[str, Source]
    url: str  # of database a: another one is another database
    stringify: bool

    @property
    def config(self) -> Config:
        sources = ", ".join(f"{name}: {source.yaml}" for name, source in self.sources.items())
        more = f"server: {{stringify_numbers: {str(self.stringify).lower()}}}"
        config = configuration(sources, databases="ab", more=more)
        a = config.databases["a"].model_copy(update={"url": f"postgresql://{self.url}/x"})
        return config.model_copy(update={"databases": {**config.databases, "a": a}})

    def url_of(self, source: str) -> str:
        database = self.sources[source].database
        return f"postgresql://{self.url if database == 'a' else database}/x"


@dataclass
class Watched:
    """A client, and why it may end or be told to start again."""

    client: Client
    source: str
    query: str
    kind: str
    resumed: bool
    may_end: set[str] = field(default_factory=set)
    done: bool = False


SOURCE = st.builds(
    Source,
    database=st.sampled_from("ab"),
    table=st.sampled_from("xxyyz"),
    columns=st.sampled_from(COLUMNS),
    comment=st.sampled_from(["one", "two"]),
    coalesce=st.sampled_from(["0ms", "50ms"]),
)
EDIT = st.builds(
    Edit,
    sources=st.dictionaries(st.sampled_from(NAMES), SOURCE, min_size=1),
    url=st.sampled_from(["a", "a", "a", "c"]),
    stringify=st.sampled_from([False, False, True]),
)
WRITES = st.lists(st.tuples(st.integers(1, 4), st.none() | st.integers(0, 9)), min_size=1, max_size=4)
# One thing about one source: what people do, and what leaves most clients where they are.
TWEAK = st.tuples(
    st.just("tweak"),
    st.sampled_from(NAMES),
    st.one_of(
        st.none(),
        st.fixed_dictionaries({"table": st.sampled_from("xyxyxyz")}),
        st.fixed_dictionaries({"database": st.sampled_from("ab")}),
        st.fixed_dictionaries({"columns": st.sampled_from(COLUMNS)}),
        st.fixed_dictionaries({"comment": st.sampled_from(["one", "two"])}),
        st.fixed_dictionaries({"coalesce": st.sampled_from(["0ms", "50ms"])}),
    ),
)
STEP = st.one_of(
    st.tuples(st.just("edit"), EDIT),
    TWEAK,
    TWEAK,
    st.tuples(st.just("write"), st.sampled_from("abc"), st.sampled_from("xy"), WRITES),
    st.tuples(st.just("write"), st.sampled_from("abc"), st.sampled_from("xy"), WRITES),
    st.tuples(st.just("join"), st.sampled_from(NAMES), st.sampled_from(["feed", "feed", "live"])),
    st.tuples(st.just("join"), st.sampled_from(NAMES), st.sampled_from(["feed", "feed", "live"])),
    st.tuples(st.just("return"), st.integers(0, 20)),
    st.tuples(st.just("leave"), st.integers(0, 20)),
    st.tuples(st.just("cut"), st.sampled_from("abc")),
    st.tuples(st.just("away"), st.sampled_from("abc")),
    st.tuples(st.just("settle")),
)


class Run:
    """One history of steps over one world."""

    def __init__(self, served: World, edit: Edit) -> None:
        self.world = served
        self.edit = edit
        self.watched: list[Watched] = []

    def database(self, url: str) -> ProjectingDatabase:
        found = self.world.databases[url]
        assert isinstance(found, ProjectingDatabase)
        return found

    @property
    def at_work(self) -> list[Watched]:
        return [one for one in self.watched if not one.done]

    async def step(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("edit", edit):
                await self._reload(edit)
            case ("tweak", name, what):
                known = self.edit.sources.get(name, Source("a", "x", None, "one", "0ms"))
                left = {key: source for key, source in self.edit.sources.items() if key != name}
                if what is not None:
                    left[name] = replace(known, **what)
                if left:
                    await self._reload(Edit(left, self.edit.url, self.edit.stringify))
            case ("write", letter, table, changes):
                self.database(f"postgresql://{letter}/x").write(table, changes)
            case ("join", name, kind):
                self._join(name, kind)
            case ("return", number) if gone := [one for one in self.watched if one.kind == "feed"]:
                self._return(gone[number % len(gone)])
            case ("leave", number) if at_work := self.at_work:
                one = at_work[number % len(at_work)]
                one.client.read()
                one.client.close()
                one.done = True
            case ("cut", letter):
                self.database(f"postgresql://{letter}/x").cut()
            case ("away", letter):
                database = self.database(f"postgresql://{letter}/x")
                database.refuse = None if database.refuse else LOST
                database.cut()
            case ("settle",):
                await self.settle()
        for one in self.at_work:
            self._judge(one)

    async def _reload(self, edit: Edit) -> None:
        before, self.edit = self.edit, edit
        for one in self.at_work:
            now = edit.sources.get(one.source)
            was = before.sources.get(one.source)
            if now is None:
                one.may_end.add("source-removed")
            elif was is not None and (was.columns or ALL) != (now.columns or ALL):
                one.may_end.add("source-changed")
            if now is not None and now.table == "z":
                one.may_end.add("source-failed")
        await self.world.reload(edit.config)

    def _subscribe(self, query: str, rows: Mapping[int, Any] | None = None) -> Client | None:
        try:
            return self.world.client(query, rows=rows)
        except (InvalidRequest, RequestError):
            return None  # not described yet, or failed, or without that column

    def _join(self, name: str, kind: str) -> None:
        query = feed(name) if kind == "feed" else live(name)
        if (client := self._subscribe(query)) is not None:
            self._watch(Watched(client, name, query, kind, resumed=False))

    def _return(self, gone: Watched) -> None:
        """A client that was there before comes back with what it had."""
        gone.client.read()
        if gone.client.cursor is None or gone.client._coming is not None:
            return
        if not gone.done:
            gone.client.close()
            gone.done = True
        query = feed(gone.source, f'after: "{gone.client.cursor}"')
        if (client := self._subscribe(query, gone.client.rows)) is not None:
            self._watch(Watched(client, gone.source, query, "feed", resumed=True))

    def _watch(self, one: Watched) -> None:
        """It may have been planned by a schema that the last edit is about to change."""
        source = self.edit.sources.get(one.source)
        live_source = self.world.app.hub.sources.get(one.source)
        if source is None or live_source is None:
            one.may_end.add("source-removed")
        else:
            if tuple(c.name for c in live_source.row_type.columns) != (source.columns or ALL):
                one.may_end.add("source-changed")
            if source.table == "z":
                one.may_end.add("source-failed")
        self.watched.append(one)

    def _judge(self, one: Watched) -> None:
        code = one.client.ended
        if code is not None:
            one.done = True
            assert code in one.may_end, f"{one.source} ended with {code}"
        if one.kind == "feed" and not one.resumed:
            assert "reset" not in one.client.phases, "who is there is never told to start again"

    def _followed(self) -> bool:
        """Whether every database that is read has its stream.

        /readyz alone does not say so: it says live for the few turns of the loop in which a feed learns of a cut, and
        whoever trusts that looks at operations in the middle of the backoff, when they are rightly told stale.
        """
        urls = {self.edit.url_of(name) for name in self.edit.sources}
        return all(self.database(url).stream is not None for url in urls)

    async def settle(self) -> None:
        """Everybody is back; then every operation shows what the tables hold."""
        for database in self.world.databases.values():
            database.refuse = None
        wanted = {
            name: "failed" if source.table == "z" else "live" for name, source in self.edit.sources.items()
        }
        await self.world.until(lambda: self._followed() and self.world.states() == wanted, 0.25)
        for _ in range(20):
            await self.world.turn(0.1)
        assert self.world.states() == wanted, "nothing was lost since"
        for one in self.at_work:
            self._judge(one)
            if not one.done:
                source = self.edit.sources[one.source]
                table = self.database(self.edit.url_of(one.source)).physical[source.table]
                rows = {key: {"id": key, "n": row["n"]} for key, row in table.items()}
                shown = (
                    one.client.rows
                    if one.kind == "feed"
                    else {row["id"]: row for row in one.client.shown or []}
                )
                assert shown == rows, f"{one.kind} of {one.source}"
                assert not one.client.stale


async def history(first: Edit, steps: Sequence[tuple[Any, ...]], turns: Sequence[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.reloading.harness.Database", ProjectingDatabase)
        async with world(first.config, patch, {"a": {}, "b": {}, "c": {}}) as served:
            for letter in "abc":
                url = f"postgresql://{letter}/x"
                served.databases.setdefault(url, ProjectingDatabase(url))
            run = Run(served, first)
            for number, step in enumerate(steps):
                note(f"{number}: {step}")
                await run.step(step)
                for _ in range(turns[number % len(turns)]):
                    await served.turn(0.02)
            await run.settle()


def examine(first: Edit, steps: list[tuple[Any, ...]], turns: list[int]) -> None:
    with asyncio.Runner() as runner:
        runner.run(history(first, steps, turns))


CASES = given(
    first=EDIT,
    steps=st.lists(STEP, min_size=3, max_size=25),
    turns=st.lists(st.sampled_from([0, 1, 2, 5, 40]), min_size=1, max_size=5),
)


# A database that was away for long, and so backs off for long, is lost in the moment before everybody is looked at.
LOST_AT_THE_END = example(
    first=Edit({"p": Source("b", "x", ("id", "n"), "one", "0ms")}, "a", stringify=False),
    steps=[
        ("settle",),
        ("join", "p", "feed"),
        ("join", "p", "live"),
        ("away", "b"),
        *[("cut", "b")] * 3,
        ("settle",),
        ("cut", "b"),
        ("write", "b", "x", [(1, 7)]),
    ],
    turns=[*[40] * 8, 0, 2],
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@CASES
@LOST_AT_THE_END
def test_any_edits(first: Edit, steps: list[tuple[Any, ...]], turns: list[int]) -> None:
    examine(first, steps, turns)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@CASES
def test_many_edits(first: Edit, steps: list[tuple[Any, ...]], turns: list[int]) -> None:
    examine(first, steps, turns)
