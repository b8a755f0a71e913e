"""Tables and what they are called: Hasura's rules, and the sources of a configuration that they make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tycostream.config.table_name import parts, written
from tycostream.metadata.ledger import malformed

PUBLIC = "public"


class TableName(NamedTuple):
    """A table of one database."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def default(self) -> str:
        """What Hasura calls it in GraphQL if nothing else is said."""
        return self.name if self.schema == PUBLIC else f"{self.schema}_{self.name}"

    @property
    def written(self) -> str:
        """As ``table:`` of a source."""
        return written(self.name) if self.schema == PUBLIC else written(self.schema, self.name)

    @property
    def metadata(self) -> dict[str, Any]:
        """As metadata writes it."""
        return {"schema": self.schema, "name": self.name}


def table_of(value: object, where: str) -> TableName:
    """A table in metadata: a mapping, or in old ones a name alone, which is of the schema public."""
    if isinstance(value, str):
        return TableName(PUBLIC, value)
    if not isinstance(value, Mapping) or set(value) - {"schema", "name"}:
        raise malformed(where, value, "a table, such as {schema: public, name: users}")
    schema, name = value.get("schema", PUBLIC), value.get("name")
    if not isinstance(schema, str) or not isinstance(name, str):
        raise malformed(where, value, "a table, such as {schema: public, name: users}")
    return TableName(schema, name)


def table_read_by(source: str, table: str) -> TableName | None:
    """The table that a source of a configuration reads; None if its name has three parts, as only Materialize has."""
    names = parts(table) if table else (source,)
    if len(names) > 2:
        return None
    return TableName(PUBLIC, names[0]) if len(names) == 1 else TableName(*names)


def title_of(table: object) -> str | None:
    """What to call a table in a list, whatever is there."""
    if isinstance(table, str):
        return f"{PUBLIC}.{table}"
    if isinstance(table, Mapping):
        return f"{table.get('schema', PUBLIC)}.{table.get('name')}"
    return None
