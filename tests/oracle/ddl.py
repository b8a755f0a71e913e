"""Statements that alter the tables and views of a world while it is followed."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from tests.oracle.derived import Derived
from tests.oracle.shapes import Table, where_sql, wheres
from tests.oracle.world import World

_ADDED = ["integer", "text DEFAULT 'd'", "uuid DEFAULT gen_random_uuid()", "numeric NOT NULL DEFAULT 1.50"]
_OTHERWISE = ["text USING 'a'", "integer USING 7", "jsonb USING NULL"]


class AlteredWorld(World):
    """A world whose tables have columns that nobody selects, and whose first table with a key has partitions."""

    spare: dict[str, list[str]]
    detached: dict[str, str]
    _made = 0

    def draw_tables(self) -> None:
        """See World."""
        super().draw_tables()
        self.spare = {table.name: [] for table in self.tables}
        self.detached = {}
        for i, table in enumerate(self.tables):
            if table.key and self.draw(st.booleans(), label="parted"):
                self.tables[i] = replace(table, parted=True)
                break

    async def alter(self) -> None:
        """One statement, of a kind that leaves every source readable."""
        if self.views and self.draw(st.integers(0, 3), label="a view") == 0:
            await self._another_condition()
        else:
            table = self.draw(st.sampled_from(self.tables))
            await self.execute(self._statement(table))
        await self.record()

    async def _another_condition(self) -> None:
        views = [i for i, view in enumerate(self.views) if view.kind == "view"]
        if views:
            i = self.draw(st.sampled_from(views))
            view = self.views[i]
            self.views[i] = replace(view, where=where_sql(self.draw(wheres(view)), view))
            for statement in self.views[i].create(self.schema):
                await self.execute(statement)

    def _statement(self, table: Table) -> str:
        name, spare = f"{self.schema}.{table.name}", self.spare[table.name]
        alter = f"ALTER TABLE {name}"
        if part := self.detached.pop(table.name, None):
            return f"{alter} ATTACH PARTITION {self.schema}.{part} {table.bounds(part)}"
        kinds = ["add", "add", "vacuum", "default"]
        kinds += ["drop", "rename", "type", "type"] * bool(spare)
        kinds += ["identity"] * bool(table.key)
        kinds += ["detach", "detach", "truncate"] if table.parted else ["cluster"] * bool(table.key)
        part = self.draw(st.sampled_from(table.parts))
        match self.draw(st.sampled_from(kinds), label="DDL"):
            case "add":
                spare.append(self._new_name())
                return f"{alter} ADD {spare[-1]} {self.draw(st.sampled_from(_ADDED))}"
            case "drop":
                return f"{alter} DROP {spare.pop()}"
            case "rename":
                old, spare[-1] = spare[-1], self._new_name()
                return f"{alter} RENAME {old} TO {spare[-1]}"
            case "type":
                how = self.draw(st.sampled_from(_OTHERWISE))
                column = f"ALTER {spare[-1]}"
                return f"{alter} {column} DROP DEFAULT, {column} DROP NOT NULL, {column} TYPE {how}"
            case "default":
                column = next(reversed(table.columns))
                return f"{alter} ALTER {column} SET DEFAULT NULL"
            case "identity":
                how = self.draw(st.sampled_from(["FULL", "DEFAULT"]))
                return f"ALTER TABLE {self.schema}.{part} REPLICA IDENTITY {how}"
            case "detach":
                self.detached[table.name] = part
                return f"{alter} DETACH PARTITION {self.schema}.{part}"
            case "truncate":
                return f"TRUNCATE {self.schema}.{part}"
            case "cluster":
                return f"CLUSTER {name} USING {table.name}_pkey"
        return f"VACUUM FULL {name}"

    def _new_name(self) -> str:
        self._made += 1
        return f"x{self._made}"

    async def break_one(self) -> None:
        """Drop a column that is selected: who reads it is told and ends, and all others are right as before."""
        table = self.draw(st.sampled_from(self.tables))
        loose = [column for column in table.columns if column not in table.key] or list(table.columns)
        column = self.draw(st.sampled_from(loose), label="dropped")
        if table.parted and column in table.key:
            return  # PostgreSQL drops none by which the partitions are told apart
        await self.execute(f"ALTER TABLE {self.schema}.{table.name} DROP {column} CASCADE")
        views = await self.execute(f"SELECT viewname FROM pg_views WHERE schemaname = '{self.schema}'")
        alive = {name for (name,) in views}
        lost = {view.name for view in self.views if view.name not in alive} | {table.name}
        self.tables = [one for one in self.tables if one.name not in lost]
        self.views = [view for view in self.views if view.name in alive]
        self.away = [client for client in self.away if client.question.table.name not in lost]
        ending = [client for client in self.clients if client.question.table.name in lost]
        self.clients = [client for client in self.clients if client.question.table.name not in lost]
        for client in ending:
            client.doomed = True
        for client in ending:
            (error,) = await client.ends(30)
            derived = isinstance(client.question.table, Derived)
            # a query that still runs gives other columns: whichever is found first, its operations end and say so
            codes = ("source-failed", "source-changed") if derived else ("source-failed",)
            assert error["extensions"]["code"] in codes, error
            assert client.question.table.name in error["message"]
            assert error["extensions"].get("hint") or derived
