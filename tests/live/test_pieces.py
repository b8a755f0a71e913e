"""A result that follows its view edit by edit, against the view's window; and how little of it is made again."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.live.live_harness import ITEMS
from tycostream.dataflow import members, view
from tycostream.dataflow.arrangement import Arrangement
from tycostream.dataflow.order import OrderBy
from tycostream.dataflow.predicate import TRUE
from tycostream.dataflow.store import Store
from tycostream.dataflow.view import View
from tycostream.live import pieces as pieces_module
from tycostream.live.pieces import Pieces
from tycostream.rows import Change, Key, Row


class Followed:
    """A store, a view of it, and the view's result."""

    def __init__(self, rows: list[Row], *, limit: int | None = None, offset: int = 0) -> None:
        self.store = Store(ITEMS)
        self.store.fill(rows)
        self.arrangement = Arrangement(self.store, TRUE, (OrderBy(1),))
        self.view = View(self.arrangement, limit=limit, offset=offset)
        self.view.attach()
        self.arrangement.hydrate()
        self.pieces = Pieces()
        self.encoded = self.filled = 0

    def put(self, *changes: Change) -> None:
        self.arrangement.push(self.store.apply(changes))

    def encode(self, key: Key, row: Row) -> bytes:
        self.encoded += 1
        return repr(row).encode()

    def render(self) -> bytes:
        if not self.pieces.follow(self.view, self.encode):
            self.filled += 1
            self.pieces.fill([self.encode(*each) for each in zip(*self.view.window(), strict=True)])
        return b"".join(self.pieces.value())

    def expected(self) -> bytes:
        return b"[" + b",".join(repr(row).encode() for row in self.view.window()[1]) + b"]"


@given(st.data())
def test_it_is_always_the_window(data: st.DataObject) -> None:
    with (
        patch.object(members, "BLOCK_ROWS", data.draw(st.sampled_from([2, 1000]))),
        patch.object(pieces_module, "_BLOCK", 2),
        patch.object(view, "_EDITS_MAX", data.draw(st.sampled_from([6, 1000]))),
        patch.object(view, "_PLACES_MAX", data.draw(st.sampled_from([8, 1000]))),
    ):
        followed = Followed(
            [(n, n % 3, "") for n in range(data.draw(st.integers(0, 12)))],
            limit=data.draw(st.one_of(st.none(), st.integers(0, 6))),
            offset=data.draw(st.sampled_from([0, 0, 0, 2])),
        )
        for _ in range(data.draw(st.integers(1, 8))):
            for _ in range(data.draw(st.integers(0, 5))):
                key = data.draw(st.integers(0, 15))
                n = data.draw(st.one_of(st.none(), st.integers(0, 4)))
                row = None if data.draw(st.booleans()) else (key, n, data.draw(st.sampled_from("ab")))
                followed.put(Change(key, None, row))
            if data.draw(st.integers(0, 9)) == 0:
                followed.arrangement.hydrate()
            assert followed.render() == followed.expected()


def test_one_change_of_a_thousand_rows_encodes_one() -> None:
    followed = Followed([(n, n, "") for n in range(1000)])
    followed.render()
    followed.encoded = 0
    for change in (
        Change(500, None, (500, 500, "new")),
        Change(500, None, (500, -1, "moved")),
        Change(2000, None, (2000, 700, "comes")),
    ):
        followed.put(change)
        assert followed.render() == followed.expected()
    followed.put(Change(3, None, None))
    assert followed.render() == followed.expected()
    assert (followed.encoded, followed.filled) == (3, 1)


def test_a_window_that_slides_encodes_what_comes_in() -> None:
    followed = Followed([(n, n, "") for n in range(100)], limit=50)
    followed.render()
    followed.encoded = 0
    for n in range(20):
        followed.put(Change(-n - 1, None, (-n - 1, -n, "")))
        assert followed.render() == followed.expected()
    for n in range(20):
        followed.put(Change(-n - 1, None, None))
        assert followed.render() == followed.expected()
    assert (followed.encoded, followed.filled) == (40, 1)


@pytest.mark.parametrize("many", [view._EDITS_MAX - 1, view._EDITS_MAX + 2])
def test_more_than_can_be_followed_is_looked_at_as_a_whole(many: int) -> None:
    followed = Followed([(n, n, "") for n in range(1000)])
    followed.render()
    for n in range(many):
        followed.put(Change(n, None, (n, n, "x")))
    assert followed.render() == followed.expected()
    assert followed.filled == (1 if many < view._EDITS_MAX else 2)
