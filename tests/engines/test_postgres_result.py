"""The difference of two results of a query: by key, or as a multiset; undone, it never was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.engines.postgres import result as module
from tycostream.engines.postgres.catalogue import ColumnInfo
from tycostream.engines.postgres.computed import Computed
from tycostream.engines.postgres.inputs import Inputs
from tycostream.engines.postgres.result import Result, result_of
from tycostream.engines.postgres.tables import Mapper
from tycostream.errors import Action, UpstreamError
from tycostream.rows import Change, Column, Row, RowType
from tycostream.scalars import SCALARS, enum_scalar


def made(*types: str, key: tuple[int, ...]) -> tuple[Result, list[int]]:
    """An empty result over columns of these types; and where they stand in a line, the key first."""
    columns = tuple(
        Column(
            f"c{i}", enum_scalar("side", ["a", "b"], lambda label: None) if name == "enum" else SCALARS[name]
        )
        for i, name in enumerate(types)
    )
    infos = tuple(ColumnInfo(c.name, 0, c.scalar.name, False, None, False, "", None, True) for c in columns)
    order = [*key, *(i for i in range(len(types)) if i not in key)]
    places = [order.index(i) for i in range(len(types))]
    mapper = Mapper(RowType("v", columns, key), Computed("v", "a view", "v", infos, Inputs()))
    return result_of(mapper, places), order


def line(row: tuple[str | None, ...], order: list[int]) -> bytes:
    return "\t".join("\\N" if (cell := row[i]) is None else cell for i in order).encode() + b"\n"


def run(result: Result, lines: list[bytes]) -> list[Change]:
    changes: list[Change] = []
    result.begin()
    for start in range(0, len(lines), 3):
        result.take(lines[start : start + 3])
    for _ in result.settle(changes):
        pass
    return changes


def undone(steps: Iterator[None]) -> None:
    for _ in steps:
        pass


def applied(rows: Any, changes: list[Change], keyed: bool) -> Any:
    for key, old, new in changes:
        if keyed:
            assert (rows.pop(key, None) is not None) or new is not None
            if new is not None:
                rows[key] = new
        else:
            if old is not None:
                assert rows[old] > 0
            rows += Counter([new] if new is not None else [])
            rows -= Counter([old] if old is not None else [])
    return rows


CELLS = st.tuples(st.integers(0, 6), st.integers(0, 2), st.sampled_from([None, "x", "y\\t"]))
RUNS = st.lists(st.tuples(st.lists(CELLS, max_size=12), st.booleans()), min_size=1, max_size=12)


@given(RUNS, st.sampled_from([(0,), (0, 1), ()]))
def test_the_differences_add_up_to_the_last_result(runs: Any, key: tuple[int, ...]) -> None:
    result, order = made("int4", "int4", "text", key=key)
    held: Any = {} if key else Counter()
    for rows, fails in runs:
        unique = {tuple(row[i] for i in key): row for row in rows} if key else dict(enumerate(rows))
        texts = [(str(a), str(b), c) for a, b, c in unique.values()]
        lines = [line(text, order) for text in texts]
        if fails:  # in its middle
            result.begin()
            result.take(lines[: len(lines) // 2])
            undone(result.undo())
            continue
        changes = run(result, lines)
        parsed = [(a, b, c and c.replace("\\t", "\t")) for a, b, c in unique.values()]
        held = applied(held, changes, bool(key))
        if key:
            assert held == {row[0] if len(key) == 1 else (row[0], row[1]): row for row in parsed}
            assert not run(result, lines)  # the same again is no change
        else:
            assert held == Counter(parsed)


def test_the_first_rows_come_as_they_are_read() -> None:
    result, order = made("text", "int4", key=(1,))
    result.begin()
    result.take([line(("a", "1"), order), line(("b", "2"), order)])
    assert result.first() == [("a", 1), ("b", 2)]
    result.take([line(("c", "3"), order)])
    assert result.first() == [("c", 3)]
    assert run(result, [line(("b", "2"), order), line(("d", "3"), order)]) == [
        Change(1, None, None),
        Change(3, None, ("d", 3)),
    ]


@pytest.mark.parametrize(
    ("types", "texts"), [(("numeric", "int4"), ("1.0", "1.00")), (("enum", "int4"), ("x", "y"))]
)
def test_keys_are_compared_as_values_where_their_texts_say_too_little(
    types: tuple[str, ...], texts: tuple[str, str]
) -> None:
    result, order = made(*types, key=(0,))
    with pytest.raises(UpstreamError) as caught:
        run(result, [line((text, "1"), order) for text in texts])
    assert caught.value.code == "duplicate-key"
    result, order = made("numeric", "int4", key=(0,))
    run(result, [line(("1.0", "1"), order)])
    (change,) = run(result, [line(("1.00", "1"), order)])
    assert str(change.new and change.new[0]) == "1.00"


def test_a_second_row_of_a_key_is_refused_by_name() -> None:
    result, order = made("text", "text", "int4", key=(0, 2))
    with pytest.raises(UpstreamError) as caught:
        run(
            result,
            [line(("a", "x", "1"), order), line(("a\\t", "x", "1"), order), line(("a", "y", "1"), order)],
        )
    error = caught.value
    assert (error.code, error.action) == ("duplicate-key", Action.FAIL)
    assert error.detail == "several rows have c0, c2 = a, 1"


def test_more_than_a_run_may_give_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line((str(i), "x" * 50), [0, 1]) for i in range(100)]
    for limit, code, action in [
        ("RESULT_BYTES_MAX", "result-too-large", Action.FAIL),
        ("CHANGED_BYTES_MAX", "rerun-too-large", Action.RESYNC),
    ]:
        with monkeypatch.context() as patched:
            patched.setattr(module, limit, 1000)
            for key in ((0,), ()):
                result, _ = made("int4", "text", key=key)
                with pytest.raises(UpstreamError) as caught:
                    run(result, lines)
                assert (caught.value.code, caught.value.action) == (code, action)
                assert caught.value.hint


def test_runs_beyond_the_count_that_a_fingerprint_holds() -> None:
    result, order = made("int4", "int4", key=(0,))
    rows: list[Row] = [("1", "1"), ("2", "2")]
    run(result, [line(row, order) for row in rows])
    for _ in range(600):
        assert run(result, [line(row, order) for row in rows]) == []
    assert run(result, [line(rows[0], order)]) == [Change(2, None, None)]
