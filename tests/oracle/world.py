"""A history of random tables, and of what PostgreSQL computes from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
from hypothesis import strategies as st

from tests.oracle.clients import Client, Past, Question
from tests.oracle.derived import Derived, deriveds
from tests.oracle.history import Draw, History
from tests.oracle.shapes import Table, insert_sql, orders, pages, rows, statements, tables, wheres


class World(History[Question]):
    """Tables and views, each asked by itself."""

    def __init__(self, draw: Draw, connection: psycopg.AsyncConnection[Any], url: str) -> None:
        super().__init__(draw, connection, url)
        self.tables: list[Table] = []
        self.views: list[Derived] = []

    def draw_tables(self) -> None:
        """Random tables."""
        count = self.draw(st.integers(2, 3), label="tables")
        self.tables = [self.draw(tables(f"t{i}")) for i in range(count)]

    def draw_views(self, most: int) -> None:
        """Random views, queries and custom fields over them, and over each other."""
        for i in range(self.draw(st.integers(1, most), label="views")):
            self.views.append(self.draw(deriveds(f"d{i}", self.sources, self.schema), label="view"))

    @property
    def sources(self) -> list[Table]:
        """See History."""
        return [*self.tables, *self.views]

    def may_lag(self, question: Question) -> bool:
        """What is computed, or has partitions that come and go: it is asked again whenever something happened."""
        return isinstance(question.table, Derived) or question.table.parted

    def statement(self) -> str:
        """See History."""
        table = self.draw(st.sampled_from(self.tables))
        statement: str = self.draw(statements(table, self.schema), label="SQL")
        return statement

    async def fill(self) -> None:
        """Some rows for each table, to begin with."""
        for table in self.tables:
            filled = self.draw(st.lists(rows(table), min_size=5, max_size=9), label="rows")
            await self.execute(insert_sql(filled, table, self.schema))

    async def join(self) -> None:
        """See History."""
        draw = self.draw
        table = draw(st.sampled_from(self.views if self.views and draw(st.integers(0, 3)) else self.tables))
        columns = list(table.columns)
        selection = draw(st.lists(st.sampled_from(columns), min_size=1, unique=True))
        kind = draw(st.sampled_from(["feed", "feed", "list", "list", "list", *["row"] * bool(table.key)]))
        coalesce = draw(st.one_of(st.none(), st.integers(1, 20)))
        where = draw(wheres(table), label="where")
        if kind == "feed":
            question = Question(table, tuple(selection), where, feed=True, coalesce_ms=coalesce)
        elif kind == "row":
            key = tuple(draw(st.sampled_from(table.constants(column))) for column in table.key)
            question = Question(table, tuple(selection), {}, key=key, coalesce_ms=coalesce)
        else:
            limit, offset = draw(st.one_of(st.none(), st.integers(0, 4))), draw(st.integers(0, 3))
            order = draw(orders(table))
            if draw(st.booleans(), label="page"):
                where = {"_and": [where, draw(pages(table, order))]}
            distinct = draw(st.sampled_from([0, 0, 1, len(order)]))
            question = Question(
                table,
                tuple(selection),
                where,
                order,
                limit,
                offset,
                coalesce_ms=coalesce,
                distinct=distinct,
            )
        if "jsonb" in table.columns.values():
            question = replace(question, step=draw(st.sampled_from([None, "a", "b"])))
        room = draw(st.sampled_from([None, None, 1, 300]), label="room")
        past = None
        if isinstance(table, Derived):
            past = Past(await self.expected(question), self.level)
        self.clients.append(Client(self.app, question, room, past=past))

    async def check(self) -> None:
        """See History; and every view as a whole."""
        await super().check()
        for view in self.views:
            await self.answer(Question(view, tuple(view.columns), {}, [(next(iter(view.columns)), "asc")]))
