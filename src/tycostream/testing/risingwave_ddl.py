"""The statements of a fake RisingWave that make and drop objects: subscriptions and materialized views."""

from __future__ import annotations

from collections.abc import Callable

from tycostream.testing.risingwave_catalog import modern
from tycostream.testing.risingwave_data import Relation
from tycostream.testing.risingwave_errors import Caused, exists, internal, not_found, permission
from tycostream.testing.risingwave_sql import CreateText, parse_create, whole_seconds
from tycostream.testing.risingwave_state import State
from tycostream.testing.sql_text import Reader, syntax_error

Action = Callable[[], None]
_SUBSCRIBED = ("table", "materialized view")


class Objects:
    """Reads CREATE, DROP and ALTER."""

    def __init__(self, state: State) -> None:
        self._state = state

    def plan(self, reader: Reader) -> tuple[str, Action]:
        """The command tag of a statement, and what it does; each is a barrier, which commits the open epoch."""
        verb = reader.next().text
        if verb == "create" and reader.words("subscription"):
            text, definition = parse_create(reader), reader.sql.strip()
            return self._running("CREATE_SUBSCRIPTION", lambda: self._create_subscription(text, definition))
        if verb == "create" and reader.words("materialized", "view"):
            return self._create_view(reader)
        for words in (("subscription",), ("materialized", "view"), ("table",)):
            if verb == "drop" and reader.words(*words):
                return self._drop(reader, " ".join(words))
        if verb == "alter" and reader.words("subscription"):
            return self._alter(reader)
        raise syntax_error(reader.sql.strip()[:40])

    def _running(self, tag: str, action: Action) -> tuple[str, Action]:
        def run() -> None:
            self._state.check_running()
            action()
            self._state.changed()

        return tag, run

    # -- subscriptions --------------------------------------------------------------------------------------------

    def _create_subscription(self, text: CreateText, definition: str) -> None:
        state = self._state
        schema, name = state.full(text.name)
        if f"{schema}.{name}" in state.data.subscriptions:
            if text.if_not_exists:
                return
            raise exists("subscription", name)
        if text.retention_s is None:
            raise internal("Subscription retention time not set.")
        relation = state.find(text.relation)
        if text.relation[-1].startswith("__internal_"):
            raise Caused(
                "XX000", f'CREATE SUBSCRIPTION does not support internal table "{text.relation[-1]}"'
            )
        if relation is None or relation.kind not in _SUBSCRIBED:
            raise not_found("table", text.relation[-1])
        if not relation.granted:
            raise permission()
        if relation.schema != schema:
            raise internal("subscription and its dependent table must be in the same database and schema")
        state.data.subscribe(schema, name, relation, text.retention_s, definition)
        state.wake()

    def _alter(self, reader: Reader) -> tuple[str, Action]:
        path = reader.path()
        if reader.words("rename", "to"):
            fresh = reader.name()
            reader.end()
            return self._running("ALTER_SUBSCRIPTION", lambda: self._rename(path, fresh))
        if not modern(self._state.version):
            raise syntax_error("set retention")
        reader.expect("set", "retention")
        if not reader.words("to"):
            reader.expect("=")
        retention_s = whole_seconds(reader.next().text)
        reader.end()

        def action() -> None:
            self._state.subscription(path).retention_s = retention_s

        return self._running("ALTER_SUBSCRIPTION", action)

    def _rename(self, path: tuple[str, ...], fresh: str) -> None:
        found, known = self._state.subscription(path), self._state.data.subscriptions
        if f"{found.schema}.{fresh}" in known:
            raise exists("subscription", fresh)
        del known[f"{found.schema}.{found.name}"]
        found.name = fresh
        known[f"{found.schema}.{fresh}"] = found

    # -- views and drops ------------------------------------------------------------------------------------------

    def _create_view(self, reader: Reader) -> tuple[str, Action]:
        state = self._state
        if_not_exists = reader.words("if", "not", "exists")
        path = reader.path()
        reader.expect("as")
        first = reader.peek()
        if first is None:
            raise syntax_error("the end")
        query_text, definition = reader.sql[first.start :].strip().rstrip(";"), reader.sql.strip()
        query = state.query(query_text)

        def action() -> None:
            schema, name = state.full(path)
            if f"{schema}.{name}" in state.data.relations:
                if if_not_exists:
                    return
                raise exists("materialized view", name)
            state.data.checkpoint()
            state.data.create(
                schema,
                name,
                query.columns,
                kind="materialized view",
                key=query.key,
                hidden=not query.key,
                definition=definition,
                compute=query.view,
            )
            state.wake()

        return self._running("CREATE_MATERIALIZED_VIEW", action)

    def _drop(self, reader: Reader, kind: str) -> tuple[str, Action]:
        if_exists = reader.words("if", "exists")
        path = reader.path()
        cascade = reader.words("cascade")
        reader.end()

        def action() -> None:
            if kind == "subscription":
                if not if_exists or ".".join(self._state.full(path)) in self._state.data.subscriptions:
                    self._state.data.unsubscribe(self._state.subscription(path))
            elif (relation := self._state.find(path)) is not None and relation.kind == kind:
                self._drop_relation(relation, cascade)
            elif not if_exists:
                raise not_found(kind, path[-1])
            self._state.wake()

        return self._running(f"DROP_{kind.replace(' ', '_').upper()}", action)

    def _drop_relation(self, relation: Relation, cascade: bool) -> None:
        others = [
            other
            for other in self._state.data.relations.values()
            if other is not relation and other.depends_on(relation)
        ]
        if others and not cascade:
            names = ", ".join(f"{other.kind} {other.title}" for other in others)
            raise Caused(
                "XX000",
                f"Permission denied: PermissionDenied: {relation.kind} used by {len(others)} other objects. "
                f"\nDETAIL: {names} depends on it\n"
                "HINT: Use DROP ... CASCADE to drop the dependent objects too.",
            )
        self._state.data.drop(relation)
