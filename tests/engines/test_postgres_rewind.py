from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.engines.postgres.rewind import Held, Prior, rewound
from tycostream.engines.postgres.tables import UNKNOWN, Seen, fold
from tycostream.errors import Action, UpstreamError
from tycostream.rows import TRUNCATE, UNCHANGED, Change, Column, Row, RowType
from tycostream.scalars import SCALARS

COLUMNS = (Column("id", SCALARS["int8"]), Column("v", SCALARS["text"]), Column("w", SCALARS["text"]))
KEYED, LOOSE = RowType("t", COLUMNS, (0,)), RowType("t", COLUMNS)
ALL = Seen(10**9, 10**9, frozenset())


def seen_of(xids: list[int], unseen: set[int]) -> Seen:
    top = max(xids, default=0) + 1
    return Seen(min(unseen, default=top), top, frozenset(unseen))


@st.composite
def histories(draw: st.DrawFn, full: bool) -> tuple[list[Row], list[Held], list[list[Row]]]:
    """Rows at the start, transactions as the stream tells them, and the rows after each."""
    text = st.sampled_from(["a", "b", "c"])
    store: dict[int, Row] = {
        i: (i, draw(text), draw(text)) for i in draw(st.sets(st.integers(0, 4), max_size=4))
    }
    start, held, after = list(store.values()), [], []
    for n in range(draw(st.integers(0, 6))):
        changes: list[tuple[Change | UpstreamError, Prior]] = []
        for _ in range(draw(st.integers(1, 4))):
            kind = draw(st.sampled_from(["insert", "update", "move", "delete", "truncate"]))
            if kind == "truncate":
                store.clear()
                changes.append((TRUNCATE, UNKNOWN))
            elif kind == "insert":
                key = draw(st.integers(0, 6))
                if key in store:
                    continue
                store[key] = row = (key, draw(text), draw(text))
                changes.append((Change(key, None, row), None))
            elif store:
                key = draw(st.sampled_from(sorted(store)))
                old = store.pop(key)
                prior: Prior = old if full else UNKNOWN
                if kind == "delete":
                    changes.append((Change(key, None, None), prior))
                    continue
                to = draw(st.integers(10, 12)) if kind == "move" else key
                if to in store:
                    store[key] = old
                    continue
                keeps = draw(st.booleans())
                new = (to, draw(text), old[2] if keeps else draw(text))
                store[to] = new
                told = (to, new[1], UNCHANGED) if keeps else new
                changes.append((Change(key, None, told), prior))
        if changes:
            held.append(Held(100 + n, 1000 + n, changes))
            after.append(list(store.values()))
    return start, held, after


def same(a: list[Row], b: list[Row]) -> bool:
    return Counter(a) == Counter(b)


@pytest.mark.parametrize("full", [True, False])
@given(data=st.data())
def test_rows_and_the_changes_told_again_are_what_was_read(full: bool, data: st.DataObject) -> None:
    start, held, after = data.draw(histories(full))
    states = [start, *after]
    rows, left = rewound(KEYED, states[-1], held, ALL)
    assert same(rows, states[left]), "the rows are those of that moment"
    replayed = fold(KEYED, rows, [change for one in held[left:] for change in one.told()])
    assert same(replayed, states[-1])
    if full and not any(change == TRUNCATE for one in held for change, _ in one.changes):
        assert left == 0, "with whole old rows all of it can be taken back"


@given(st.data())
def test_a_transaction_that_the_read_did_not_see_is_told_or_folded_in(data: st.DataObject) -> None:
    """Such a one touched no row that a later one, which was seen, touched: that would have waited for it."""
    start, held, _ = data.draw(histories(True))
    own = (77, "x", "y")
    unseen = Held(50, 500, [(Change(77, None, own), None)])
    place = data.draw(st.integers(0, len(held)))
    with_it = [*held[:place], unseen, *held[place:]]
    read = fold(KEYED, start, [change for one in held for change in one.told()])
    rows, left = rewound(KEYED, read, with_it, seen_of([one.xid for one in with_it], {50}))
    if any(change == TRUNCATE for one in held for change, _ in one.changes):
        return  # a TRUNCATE waits for every writer: none could be unseen before it
    assert left == 0
    assert same(rows, start)


def test_a_multiset_is_taken_back_by_its_rows() -> None:
    a, b = (1, "a", "a"), (1, "b", "b")
    held = [
        Held(1, 10, [(Change(None, None, a), UNKNOWN), (Change(None, a, b), UNKNOWN)]),
        Held(2, 20, [(Change(None, b, None), UNKNOWN)]),
    ]
    rows, left = rewound(LOOSE, [a], held, ALL)
    assert (rows, left) == ([a], 0)
    truncated = [held[0], Held(3, 30, [(TRUNCATE, UNKNOWN)]), held[0]]
    rows, left = rewound(LOOSE, [b, a], truncated, ALL)
    assert (rows, left) == ([a], 2)


def test_what_could_not_be_understood_is_not_taken_back_and_not_skipped() -> None:
    error = UpstreamError("value", "no number", action=Action.FAIL)
    row = (1, "a", "a")
    held = [Held(1, 10, [(error, UNKNOWN)]), Held(2, 20, [(Change(1, None, row), None)])]
    assert rewound(KEYED, [row], held, ALL) == ([], 1)
    with pytest.raises(UpstreamError):
        rewound(KEYED, [row], [*held[:1], Held(3, 30, [(TRUNCATE, UNKNOWN)])], seen_of([1, 3], {1}))
