"""SUBSCRIBE's lines against a model: random histories of multisets, in Materialize's order, progress at random places."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.engines.decode.test_copytext import encode
from tycostream.engines.decode.subscribe import Closed, Frontier, Item, Rows, SnapshotEnd, SubscribeDecoder
from tycostream.errors import Action, UpstreamError
from tycostream.rows import Change, Column, Row, RowType, Unread
from tycostream.scalars import SCALARS

FOREVER = 2**64 - 1

# The relation has the columns k, hidden, n, note; a row type sees some of them, in its own order.
WIDTH = 4
KEYED = RowType(
    "view",
    (Column("note", SCALARS["text"]), Column("k", SCALARS["int4"]), Column("n", SCALARS["numeric"])),
    key=(1,),
    watched=True,
)
PAIRED = replace(KEYED, key=(1, 0))
COPIES = RowType("view", (Column("n", SCALARS["numeric"]), Column("note", SCALARS["text"])))
PLACES = {"keyed": (3, 0, 2), "paired": (3, 0, 2), "copies": (2, 3)}
TYPES = {"keyed": KEYED, "paired": PAIRED, "copies": COPIES}

TEXTS = tuple[str, str, str, str | None]
ROWS = st.tuples(
    st.sampled_from(["1", "2", "3"]),
    st.sampled_from(["x", "y"]),
    st.sampled_from(["1", "1.0", "2"]),  # 1 and 1.0 are equal cells, and not the same text
    st.sampled_from([None, "a", "tab\tand\\back"]),
)
CHANGES = st.dictionaries(ROWS, st.integers(-3, 3).filter(bool), max_size=6)


@dataclass
class History:
    """A relation's life: ``start`` at AS OF, then what changed at later timestamps; never below zero."""

    start: Counter[TEXTS] = field(default_factory=Counter)
    steps: list[tuple[int, dict[TEXTS, int]]] = field(default_factory=list)


@st.composite
def histories(draw: st.DrawFn) -> History:
    made = History(Counter(draw(st.dictionaries(ROWS, st.integers(1, 3)))))
    now, at = Counter(made.start), draw(st.sampled_from([0, 10, FOREVER - 1000]))
    made.steps.append((at, {}))
    for changes in draw(st.lists(CHANGES, max_size=6)):
        at += draw(st.integers(1, 3))
        fitting = {row: max(diff, -now[row]) for row, diff in changes.items() if max(diff, -now[row])}
        now.update(fitting)
        made.steps.append((at, fitting))
    return made


def projected(bag: Mapping[TEXTS, int], kind: str) -> dict[Hashable, int]:
    """The rows that the row type sees, by text (1 and 1.0 are told apart); different ones may have become equal."""
    made: Counter[Hashable] = Counter()
    for row, count in bag.items():
        cells = [row[place] for place in PLACES[kind]]
        parsed = tuple(
            None if text is None else column.scalar.parse(text)
            for text, column in zip(cells, TYPES[kind].columns, strict=True)
        )
        made[TYPES[kind].identity(parsed)] += count
    return {name: count for name, count in made.items() if count}


class Model:
    """Folds items, and refuses what breaks their promises."""

    def __init__(self, row_type: RowType, start: Mapping[Hashable, int] | None = None) -> None:
        self.row_type = row_type
        self.rows = dict(start or {})
        self.complete = start is not None
        self.at = -1

    def take(self, items: list[Item]) -> None:
        for item in items:
            match item:
                case Rows(rows):
                    assert not self.complete, "rows of a snapshot after its end"
                    for row in rows:
                        self._add(row, 1)
                case SnapshotEnd(timestamp):
                    assert not self.complete, "one end"
                    self.complete, self.at = True, timestamp
                case Closed(timestamp, changes):
                    assert self.complete
                    assert changes, "nothing is said of nothing"
                    assert timestamp > self.at, "in order, and never after its frontier"
                    self.at = timestamp
                    for change in changes:
                        self._change(change)
                    assert all(count > 0 for count in self.rows.values())
                case Frontier(timestamp):
                    assert self.complete
                    assert timestamp >= self.at, "forwards only"
                    self.at = timestamp

    def _add(self, row: Row, count: int) -> None:
        name = self.row_type.identity(row)
        self.rows[name] = self.rows.get(name, 0) + count
        if not self.rows[name]:
            del self.rows[name]

    def _change(self, change: Change) -> None:
        assert change.old is not None or change.new is not None
        for row, count in ((image(change), -1), (change.new, 1)):
            if row is not None:
                if self.row_type.keyed:
                    assert change.key == self.row_type.key_of(row), "both images have the change's key"
                else:
                    assert change.key is None
                self._add(row, count)
        assert change.old is None or change.new is None or change.old is not change.new


def line(timestamp: int, row: TEXTS, diff: int) -> bytes:
    return encode([str(timestamp), "f", str(diff), *row])


def progress(timestamp: int) -> bytes:
    return encode([str(timestamp), "t", None, *[None] * WIDTH])


def lines_of(history: History, told: list[bool], shuffled: st.DataObject, *, resumed: bool) -> list[bytes]:
    """As Materialize sends it: the first progress repeats AS OF; within a timestamp any order of distinct rows."""
    first = history.steps[0][0]
    found = [progress(first)]

    def updates(at: int, bag: dict[TEXTS, int]) -> list[bytes]:
        return shuffled.draw(st.permutations([line(at, row, diff) for row, diff in bag.items()]))

    if not resumed:
        found += updates(first, dict(history.start))
    for (at, bag), tell in zip(history.steps[1:], told, strict=True):
        if tell:
            found.append(progress(at))  # everything before is closed, more may come at it
        found += updates(at, bag)
    return found


@given(histories(), st.data(), st.sampled_from([*TYPES]), st.booleans(), st.integers(1, 30))
def test_the_items_fold_to_the_model_at_every_closed_timestamp(
    history: History, data: st.DataObject, kind: str, resumed: bool, size: int
) -> None:
    row_type, first, last = TYPES[kind], history.steps[0][0], history.steps[-1][0]
    told = data.draw(
        st.lists(st.booleans(), min_size=len(history.steps) - 1, max_size=len(history.steps) - 1)
    )
    end = data.draw(st.sampled_from(["progress", "finish"]))
    lines = lines_of(history, told, data, resumed=resumed)
    if end == "progress":
        lines.append(progress(last + 1))
    states: dict[int, dict[Hashable, int]] = {}  # what the rows are at each timestamp
    now = Counter(history.start)
    for at, bag in history.steps:
        now.update(bag)
        states[at] = projected(now, kind)

    decoder = SubscribeDecoder(row_type, WIDTH, PLACES[kind], resumed=first if resumed else None)
    model = Model(row_type, projected(history.start, kind) if resumed else None)
    closed = first if resumed else first - 1  # what may be given by now
    seen_first = False
    for start in range(0, len(lines), size):  # what is asked for after any number of lines
        decoder.feed(lines[start : start + size])
        for text in lines[start : start + size]:
            head, progressed, _ = text.split(b"\t", 2)
            if progressed == b"t":
                closed, seen_first = (max(closed, int(head) - 1), True) if seen_first else (closed, True)
        model.take(decoder.take())
        assert model.at <= closed, "nothing is given before it is closed"
        if model.complete and closed >= first:
            assert model.rows == states[max(at for at in states if at <= closed)]
    if end == "finish":
        decoder.finish()
    model.take(decoder.take())
    assert model.complete
    assert model.rows == states[last]
    assert decoder.take() == []


def decoder_of(kind: str = "copies", **more: int) -> SubscribeDecoder:
    return SubscribeDecoder(TYPES[kind], WIDTH, PLACES[kind], **more)


def fed(decoder: SubscribeDecoder, *lines: bytes) -> list[Item]:
    decoder.feed(lines)
    return [read(item) for item in decoder.take()]


def read(item: Item) -> Item:
    """The item with its unread rows read."""
    if isinstance(item, Closed):
        return replace(item, changes=[change._replace(old=image(change)) for change in item.changes])
    return item


def image(change: Change) -> Row | None:
    old: object = change.old
    return old.row() if isinstance(old, Unread) else change.old


A, B = ("1", "x", "1", "a"), ("1", "y", "2", "b")
ROW_A, ROW_B = (SCALARS["numeric"].parse("1"), "a"), (SCALARS["numeric"].parse("2"), "b")


def test_rows_of_a_snapshot_come_as_they_are_read_and_its_end_when_it_is_known() -> None:
    decoder = decoder_of()
    assert fed(decoder, progress(10)) == []
    assert fed(decoder, line(10, A, 2)) == [Rows([ROW_A, ROW_A])]
    assert fed(decoder, line(11, B, 1)) == [], "a later row does not close an earlier timestamp"
    assert fed(decoder, progress(10)) == []
    assert fed(decoder, progress(11)) == [SnapshotEnd(10)]
    assert fed(decoder, progress(12)) == [Closed(11, [Change(None, None, ROW_B)]), Frontier(11)]
    assert fed(decoder, progress(12), progress(11)) == [], "progress repeats, or is late: no news"


def test_an_insert_before_the_delete_that_it_replaces_is_an_update() -> None:
    decoder = decoder_of("keyed")
    fed(decoder, progress(10), line(10, A, 1), progress(11))
    items = fed(decoder, line(11, B, 1), line(11, A, -1), progress(12))
    old, new = (("a", 1, ROW_A[0])), (("b", 1, ROW_B[0]))
    assert items == [Closed(11, [Change(1, old, new)]), Frontier(11)]


def test_a_change_that_the_projection_hides_is_no_change() -> None:
    for kind in ("keyed", "copies"):
        decoder = decoder_of(kind)
        fed(decoder, progress(10), line(10, A, 1), progress(11))
        hidden = (A[0], "y", *A[2:])
        if kind == "copies":
            assert fed(decoder, line(11, hidden, 1), line(11, A, -1), progress(12)) == [Frontier(11)]
        else:  # of a key one image each way: the store drops what changes no text
            model = Model(KEYED, projected({A: 1}, kind))
            model.take(fed(decoder, line(11, hidden, 1), line(11, A, -1), progress(12)))
            assert model.rows == projected({A: 1}, kind)


def test_a_key_with_several_rows_keeps_its_multiset() -> None:
    decoder, model = decoder_of("keyed"), Model(KEYED)
    model.take(fed(decoder, progress(5), line(5, A, 3), line(5, B, 1), progress(6)))
    model.take(fed(decoder, line(6, A, -2), line(6, B, 2), progress(7)))
    assert model.rows == projected({A: 1, B: 3}, "keyed")


def test_a_constant_view_is_complete_at_the_end_of_its_stream() -> None:
    decoder = decoder_of()
    assert fed(decoder, progress(FOREVER), line(FOREVER, A, 1)) == [Rows([ROW_A])]
    decoder.finish()
    assert decoder.take() == [SnapshotEnd(FOREVER)]


def test_an_empty_constant_view_has_a_snapshot_too() -> None:
    decoder = decoder_of()
    fed(decoder, progress(FOREVER))
    decoder.finish()
    assert decoder.take() == [SnapshotEnd(FOREVER)]


def test_the_end_of_a_stream_closes_what_is_open() -> None:
    decoder = decoder_of()
    fed(decoder, progress(1), line(1, A, 1), line(3, B, 1))
    decoder.finish()
    assert decoder.take() == [SnapshotEnd(1), Closed(3, [Change(None, None, ROW_B)]), Frontier(3)]


def test_a_resumed_stream_begins_with_no_news_and_no_snapshot() -> None:
    decoder = decoder_of(resumed=10)
    assert fed(decoder, progress(10)) == []
    assert fed(decoder, progress(11)) == [], "10 was known"
    assert fed(decoder, line(11, A, 1), progress(15)) == [
        Closed(11, [Change(None, None, ROW_A)]),
        Frontier(14),
    ]
    decoder.finish()
    assert decoder.take() == []


@pytest.mark.parametrize(
    "lines",
    [
        [line(1, A, 1)],  # data before the first progress
        [progress(5), line(4, A, 1)],  # before AS OF
        [progress(5), progress(9), line(8, A, 1)],  # closed
        [b"no tabs\n"],
        [b"x\tt\t\\N\t\\N\t\\N\t\\N\t\\N\n"],  # no timestamp
        [progress(5), b"6\tf\t\\N\t1\tx\t1\ta\n"],  # an update without a multiplicity
        [progress(5), b"6\tf\t1\t1\tx\t1\n"],  # a cell too few
        [progress(5), b"6\tf\t1\t1\tx\t1\ta\tz\n"],
        [progress(5), b"6\tf\t1\t1\tx\t1\t\xff\n"],  # not UTF-8
        [progress(5), line(6, A, 1)[:-1]],  # half a row
    ],
)
def test_what_does_not_read_as_subscribe_is_read_again(lines: list[bytes]) -> None:
    with pytest.raises(UpstreamError) as caught:
        fed(decoder_of(), *lines)
    assert (caught.value.code, caught.value.action) == ("protocol", Action.RESYNC)
    assert caught.value.detail
    assert "proxy or pooler" in caught.value.hint


def test_a_resumed_stream_may_not_repeat_what_was_known() -> None:
    decoder = decoder_of(resumed=10)
    with pytest.raises(UpstreamError, match="does not read"):
        fed(decoder, progress(10), line(10, A, 1))


def test_an_end_before_the_beginning_is_an_error() -> None:
    with pytest.raises(UpstreamError) as caught:
        decoder_of().finish()
    assert "before it began" in caught.value.detail


def test_a_value_that_does_not_read_is_named() -> None:
    decoder = decoder_of("keyed")
    long = "z" * 200
    with pytest.raises(UpstreamError) as caught:
        fed(decoder, progress(1), line(1, (long, "x", "1", None), 1))
    error = caught.value
    assert (error.code, error.action) == ("value", Action.FAIL)
    assert error.message == "source view: column k holds a value that is not a int4", "its clients see it"
    assert error.detail.startswith("'zzz")
    assert "…'" in error.detail
    assert len(error.detail) < 300
    assert "`columns:`" in error.hint


def test_a_row_that_goes_is_read_when_somebody_asks() -> None:
    decoder = decoder_of("keyed")
    fed(decoder, progress(1), line(1, A, 1), progress(2))
    decoder.feed([line(2, (A[0], A[1], "no number", r"tab\tand"), -1), progress(3)])
    (closed, _) = decoder.take()
    assert isinstance(closed, Closed)
    assert [(change.key, change.new) for change in closed.changes] == [(1, None)]
    with pytest.raises(UpstreamError) as caught:
        image(closed.changes[0])
    assert (caught.value.code, caught.value.action) == ("value", Action.FAIL)
    assert caught.value.message == "source view: column n holds a value that is not a numeric"


def test_a_timestamp_may_come_in_many_reads_and_a_read_hold_many_timestamps() -> None:
    rows = [(str(key), "x", str(key), "a" if key % 2 else None) for key in range(20)]
    decoder, model = decoder_of("keyed"), Model(KEYED)
    first = [progress(10), *[line(10, row, 1) for row in rows], progress(11)]
    gone = [text for at, row in enumerate(rows) for text in (line(11 + at, row, -1), progress(12 + at))]
    model.take(fed(decoder, *first, *gone[:7]))
    assert model.rows == projected(dict.fromkeys(rows[3:], 1), "keyed"), "the fourth is not closed"
    model.take(fed(decoder, *gone[7:]))
    assert model.rows == {}
    back = [line(50, row, count) for row in rows for count in (1, -1, 1)]
    for start in range(0, len(back), 4):
        assert fed(decoder, *back[start : start + 4]) == []
    model.take(fed(decoder, progress(51)))
    assert model.rows == projected(dict.fromkeys(rows, 1), "keyed")


def test_a_negative_snapshot_is_the_views_fault() -> None:
    with pytest.raises(UpstreamError) as caught:
        fed(decoder_of(), progress(1), line(1, A, -2))
    assert (caught.value.code, caught.value.action) == ("negative-count", Action.FAIL)
    assert "holds a row -2 times" in caught.value.message


@pytest.mark.parametrize("kind", ["keyed", "copies"])
@pytest.mark.parametrize("at", [1, 2])
def test_ten_million_equal_rows_are_a_mistake(kind: str, at: int) -> None:
    with pytest.raises(UpstreamError) as caught:
        fed(decoder_of(kind), progress(1), line(at, A, 10_000_000), progress(3))
    assert (caught.value.code, caught.value.action) == ("copies", Action.FAIL)
    assert "10000000 equal rows" in caught.value.message


def test_one_timestamp_has_a_bound_of_bytes() -> None:
    decoder = decoder_of(open_bytes_max=2**20)
    fed(decoder, progress(1), line(1, A, 1), progress(2))
    wide = ("1", "x", "1", "w" * 100_000)
    with pytest.raises(UpstreamError) as caught:
        fed(decoder, *[line(2, wide, 1)] * 11)
    assert (caught.value.code, caught.value.action) == ("transaction-too-large", Action.RESYNC)
    assert "one timestamp holds more than 1 MiB" in caught.value.message


def test_many_small_cells_count_about_what_they_weigh() -> None:
    numbers = [Column(f"n{place}", SCALARS["numeric"]) for place in range(30)]
    row_type = RowType("wide", (Column("k", SCALARS["int4"]), *numbers), key=(0,), watched=True)
    decoder, progressed = SubscribeDecoder(row_type, 31, range(31)), "t\t" + "\t".join([r"\N"] * 32) + "\n"
    decoder.feed([f"{at}\t{progressed}".encode() for at in (1, 2)])
    numbered = "\t12.34" * 30
    lines = [f"2\tf\t{count}\t{key}{numbered}\n".encode() for key in range(200) for count in (-1, 1)]
    tracemalloc.start()
    try:
        decoder.feed(lines)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    decoder.feed([f"3\t{progressed}".encode()])
    (closed,) = [item for item in decoder.take() if isinstance(item, Closed)]
    assert held / 3 < closed.size < held * 3


def test_what_is_closed_counts_no_more_though_something_is_always_open() -> None:
    decoder, wide = decoder_of(open_bytes_max=2**20), ("1", "x", "1", "w" * 400_000)
    fed(decoder, progress(1), line(2, wide, 1))
    for at in range(3, 20):
        closed, _ = fed(decoder, line(at, wide, 1), progress(at))[-2:]
        assert isinstance(closed, Closed)
        assert 400_000 < closed.size < 401_000
    with pytest.raises(UpstreamError) as caught:
        fed(decoder, line(20, wide, 1), line(21, wide, 1))
    assert "3 timestamps that are not complete hold more than 1 MiB" in caught.value.message


@given(st.binary(max_size=60))
@example(b"1\tf\t1\t1\tx\t1\ta\\\n")
def test_garbage_is_an_upstream_error_and_nothing_else(garbage: bytes) -> None:
    decoder = decoder_of()
    fed(decoder, progress(0))
    for text in garbage.splitlines(keepends=True):
        try:
            decoder.feed([text])
        except UpstreamError:
            break
    decoder.take()
