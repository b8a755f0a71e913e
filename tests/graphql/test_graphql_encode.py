"""Encoders against graphql-core's own execution of the same document."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from graphql import execute, parse
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graphql.graphql_tables import PLANNER, TRADES, root
from tycostream.graphql.encode import Cells, Rows, Selection
from tycostream.graphql.plan import Phase
from tycostream.rows import Row

CELLS = (
    st.integers(-(2**53), 2**53),
    st.none() | st.text(max_size=8),
    st.none() | st.sampled_from([Decimal("1"), Decimal("1.0"), Decimal("2.50")]),
    st.none() | st.integers(-5, 5),
    st.none() | st.integers(0, 1),
    st.none() | st.sampled_from([0.5, 1.5, -2.25]),
    st.none() | st.sampled_from(["{}", '{"a": [1, null]}', '"x"']),
)
ROWS = st.tuples(*CELLS)


def decoded(row: Row | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {
        column.field: None if cell is None else json.loads(column.scalar.json(cell))
        for column, cell in zip(TRADES.columns, row, strict=True)
    }


def text_of(place: int, cell: Any) -> str | None:
    return None if cell is None else TRADES.columns[place].scalar.text(cell)


def changed(old: Row | None, new: Row | None) -> list[str]:
    if old is None or new is None:
        return []
    return [c.field for i, c in enumerate(TRADES.columns) if text_of(i, old[i]) != text_of(i, new[i])]


@st.composite
def row_selections(draw: st.DrawFn, type_name: str, depth: int = 2) -> str:
    """Fields with aliases, inside inline fragments, under conditions, repeated."""
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        flag = draw(st.sampled_from(["", "@include(if: $t)", "@skip(if: $f)"]))
        name = draw(st.sampled_from([*(c.field for c in TRADES.columns), "__typename"]))
        alias = draw(st.sampled_from(["", f"x_{name}: ", f"y_{name}: "]))
        parts.append(f"{alias}{name} {flag}")
        if depth and draw(st.booleans()):
            parts.append(f"... on {type_name} {flag} {{{draw(row_selections(type_name, depth - 1))}}}")
    return " ".join(parts)


@st.composite
def change_selections(draw: st.DrawFn) -> str:
    parts = ["operation", "kind: operation", "changed", "__typename", "...f"]
    chosen = draw(st.lists(st.sampled_from(parts), min_size=1, max_size=5))
    for field, type_name in (("row", "trades"), ("old", "trades_old"), ("also: row", "trades")):
        if draw(st.booleans()):
            chosen.append(f"{field} {{{draw(row_selections(type_name))}}}")
    return " ".join(draw(st.permutations(chosen)))


@settings(max_examples=150, deadline=None)
@given(
    change_selections(),
    row_selections("trades"),
    st.booleans(),
    st.booleans(),
    st.lists(st.tuples(st.none() | ROWS, st.none() | ROWS).filter(any), min_size=1, max_size=3),
    st.sampled_from(list(Phase)),
    st.booleans(),
    st.none() | st.just("c2VhbGVk"),
)
def test_change_sets_are_what_graphql_core_would_send(
    selection: str,
    fragment: str,
    t: bool,
    f: bool,
    images: list[tuple[Row | None, Row | None]],
    phase: Phase,
    flag: bool,
    cursor: str | None,
) -> None:
    query = (
        "subscription($t: Boolean!, $f: Boolean!) {trades_changes {p: phase complete @include(if: $t) resync "
        f"__typename cursor @skip(if: $f) list: changes {{{selection}}} list: changes {{...f}}}}}} "
        f"fragment f on trades_change {{operation row {{z: id}} row {{{fragment}}}}}"
    )
    variables: dict[str, object] = {"t": t, "f": f}
    encoder = root(query, variables).encoder
    entries = [encoder.change(old, new) for old, new in images]
    ours = json.loads(encoder.result(phase, entries, complete=flag, resync=not flag, cursor=cursor))
    value = {
        "phase": phase.value,
        "complete": flag,
        "resync": not flag,
        "cursor": cursor,
        "changes": [
            {
                "operation": "insert" if old is None else "delete" if new is None else "update",
                "changed": changed(old, new),
                "row": decoded(new),
                "old": decoded(old),
            }
            for old, new in images
        ],
    }
    result: Any = execute(PLANNER.schema, parse(query), {"trades_changes": value}, variable_values=variables)
    assert result.errors is None
    assert json.dumps(ours) == json.dumps(result.data["trades_changes"])
    assert encoder.wants_cursor is not f


@given(ROWS, ROWS, st.lists(st.integers(0, 6), max_size=3, unique=True))
def test_differs_compares_the_text_of_what_is_selected(old: Row, new: Row, places: list[int]) -> None:
    names = " ".join(TRADES.columns[i].field for i in places) or "__typename"
    encoder = root(f"subscription {{trades_changes {{changes {{changed old {{{names}}}}}}}}}").encoder
    compared = places or range(7)
    expected = any(text_of(i, old[i]) != text_of(i, new[i]) for i in compared)
    assert bool(encoder.differs(old, new)) is expected
    assert not encoder.differs(old, (*old[:1], *old[1:]))


def test_only_names_become_code() -> None:
    with pytest.raises(ValueError, match="no GraphQL name"):
        Rows(Selection("trades", (('a":{row}', 0),)), Cells(TRADES, stringify_numbers=False), single=False)
    with pytest.raises(ValueError, match="no GraphQL name"):
        Rows(Selection("trades'''", (("a", -1),)), Cells(TRADES, stringify_numbers=False), single=False)


def test_results() -> None:
    rows, single = root("{trades {id}}").encoder, root("{trades_by_pk(id: 1) {id}}").encoder
    assert rows.result([b"1", b"2"]) == b"[1,2]"
    assert rows.result([]) == b"[]"
    assert (single.result([b"{}"]), single.result([])) == (b"{}", b"null")
    assert root("{trades {id @skip(if: true)}}").encoder.row((1,) * 7) == b"{}"
    without = root("subscription {trades_changes {phase}}").encoder
    assert (
        without.result(Phase.READY, [b""], complete=True, resync=False, cursor=None) == b'{"phase":"ready"}'
    )


def test_equal_selections_share_their_encoder() -> None:
    assert (
        root("{trades {id}}").encoder
        is root("{trades(limit: 3) {...f}} fragment f on trades {id id}").encoder
    )
