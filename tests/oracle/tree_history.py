"""A history of a tree of tables, over the App: what the hub alone shows of it (``tree_world.py``), through replication."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from hypothesis import strategies as st

from tests.oracle.clients import Client, Past
from tests.oracle.history import Draw, History
from tests.oracle.questions import Feed, Question, Questions
from tests.oracle.shapes import insert_sql
from tests.oracle.trees import Node, Tree, first_rows, tree_statements, trees


class TreeHistory(History[Question | Feed]):
    """Tables whose rows lead to each other's."""

    def __init__(self, draw: Draw, connection: psycopg.AsyncConnection[Any], url: str) -> None:
        super().__init__(draw, connection, url)
        self.tree: Tree = draw(trees(), label="tree")
        self._questions = Questions(self.tree)

    @property
    def sources(self) -> Sequence[Node]:
        """See History."""
        return list(self.tree.values())

    def statement(self) -> str:
        """See History."""
        table = self.draw(st.sampled_from(self.sources))
        statement: str = self.draw(tree_statements(table, self.schema), label="SQL")
        return statement

    async def fill(self) -> None:
        """Some rows for each table, to begin with."""
        for table in self.sources:
            await self.execute(insert_sql(self.draw(first_rows(table)), table, self.schema))

    async def join(self) -> None:
        """See History."""
        asked = self._questions
        question = self.draw(st.one_of(asked.questions(), asked.questions(), asked.feeds()), label="question")
        room = self.draw(st.sampled_from([None, None, 1, 300]), label="room")
        past = Past(await self.expected(question), self.level)
        self.clients.append(Client(self.app, question, room, past=past))
