"""A history in which a role sees some columns and some rows, by a condition that reads a variable of the session."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from tests.oracle.clients import Client, Question
from tests.oracle.shapes import Table, Where, comparison_sql, graphql_value, orders, where_sql, wheres
from tests.oracle.world import World
from tycostream.auth.session import Session
from tycostream.config.access import PermissionConfig
from tycostream.config.model import Config, SourceConfig

ROLE = "reader"
_VARIABLE = "X-Hasura-Mine"
_OPERATORS = ["_eq", "_neq", "_lt", "_gte"]


@dataclass(eq=False)
class Permit:
    """What the role sees of a table. ``where`` may become another one while clients are there.

    Rows that meet ``where``, or those too (``joint`` is ``_or``), whose ``column`` compares with the user's own value.
    """

    table: Table
    columns: tuple[str, ...]
    where: Where
    joint: str
    column: str
    operator: str

    @property
    def seen(self) -> Table:
        """The table as its users may ask for it."""
        columns = {name: sql_type for name, sql_type in self.table.columns.items() if name in self.columns}
        key = self.table.key if set(self.table.key) <= set(columns) else ()
        return replace(self.table, columns=columns, key=key)

    @property
    def config(self) -> PermissionConfig:
        """The same for a configuration."""
        where = {self.joint: [self.where, {self.column: {self.operator: _VARIABLE}}]}
        return PermissionConfig.model_validate({"columns": list(self.columns), "where": where})

    def sql(self, value: str) -> str:
        """The same as SQL, for a user whose value that is."""
        sql_type = self.table.columns[self.column]
        mine = comparison_sql(self.column, sql_type, self.operator, graphql_value(value, sql_type))
        return f"({where_sql(self.where, self.table)} {self.joint[1:].upper()} {mine})"


@dataclass(frozen=True)
class Entitled(Question):
    """A question of one user of the role."""

    permit: Permit | None = None
    mine: str = ""

    @property
    def session(self) -> Session:
        """See Asking."""
        return Session(ROLE, {"mine": self.mine})

    @property
    def ordered(self) -> Table:
        """See Question: what is hidden tells nothing by the order of what is seen, but for a key."""
        assert self.permit is not None
        return self.table if self.table.key else self.permit.seen

    def condition_sql(self) -> str:
        """See Question."""
        assert self.permit is not None
        return f"{super().condition_sql()} AND {self.permit.sql(self.mine)}"


@st.composite
def permits(draw: st.DrawFn, table: Table) -> Permit:
    """Random rights on a table."""
    plain = [name for name, sql_type in table.columns.items() if sql_type not in ("jsonb", "text[]", "real")]
    columns = draw(st.lists(st.sampled_from(list(table.columns)), min_size=1, unique=True))
    return Permit(
        table,
        tuple(name for name in table.columns if name in columns),
        draw(wheres(table)),
        draw(st.sampled_from(["_and", "_or"])),
        draw(st.sampled_from(plain)) if plain else "",
        draw(st.sampled_from(_OPERATORS)),
    )


class EntitledWorld(World):
    """Clients of the role, each with a value of its own, and of the admin."""

    def draw_permits(self) -> None:
        """Random rights on every table that has a column for a variable."""
        drawn = [self.draw(permits(table), label="permit") for table in self.tables]
        self.permits = [permit for permit in drawn if permit.column]

    def _config(self, log_bytes: int) -> Config:
        return self._permitted(super()._config(log_bytes))

    def _permitted(self, config: Config) -> Config:
        sources: dict[str, SourceConfig] = dict(config.sources)
        for permit in self.permits:
            name = permit.table.name
            sources[name] = sources[name].model_copy(update={"permissions": {ROLE: permit.config}})
        return config.model_copy(update={"sources": sources})

    async def alter(self) -> None:
        """A reload: the role sees other rows, and clients that are there move by the difference."""
        if self.permits:
            permit = self.draw(st.sampled_from(self.permits))
            permit.where = self.draw(wheres(permit.table), label="other where")
            self.level = False
            await self.app.reload(self._permitted(self.app.config))

    async def join(self) -> None:
        """See History."""
        draw = self.draw
        if not self.permits or not draw(st.integers(0, 3)):
            await super().join()
            return
        permit = draw(st.sampled_from(self.permits))
        table, seen = permit.table, permit.seen
        selection = tuple(draw(st.lists(st.sampled_from(list(seen.columns)), min_size=1, unique=True)))
        mine = draw(st.sampled_from(table.constants(permit.column)), label="mine")
        where = draw(wheres(seen), label="where")
        room = draw(st.sampled_from([None, None, 1, 300]), label="room")
        question: Entitled
        match draw(st.sampled_from(["feed", "feed", "list", "list", *["row"] * bool(seen.key)])):
            case "feed":
                question = Entitled(table, selection, where, feed=True, permit=permit, mine=mine)
            case "row":
                key = tuple(draw(st.sampled_from(table.constants(column))) for column in table.key)
                question = Entitled(table, selection, {}, key=key, permit=permit, mine=mine)
            case _:
                limit, offset = draw(st.one_of(st.none(), st.integers(0, 4))), draw(st.integers(0, 3))
                question = Entitled(
                    table, selection, where, draw(orders(seen)), limit, offset, permit=permit, mine=mine
                )
        self.clients.append(Watched(self.app, question, room))


class Watched(Client[Question]):
    """A client in whose bytes nothing may be that its role does not see: names of columns, to begin with."""

    def read(self) -> None:
        """See Client."""
        super().read()
        assert isinstance(self.question, Entitled)
        permit = self.question.permit
        assert permit is not None
        hidden = set(permit.table.columns) - set(permit.columns)
        said = bytes(self.sink.data).decode()
        assert not [name for name in hidden if json.dumps(name) in said]
