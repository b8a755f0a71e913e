"""From a live query's views to its bytes: windows are captured in one step, encoded in as many as it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tycostream.dataflow.aggregate import Accumulator, aggregated
from tycostream.dataflow.aggregation import Totals
from tycostream.dataflow.predicate import Bind, unbound
from tycostream.dataflow.veil import lens
from tycostream.dataflow.view import View
from tycostream.errors import RequestError
from tycostream.graphql.documents import gathered
from tycostream.graphql.limits import too_many_rows
from tycostream.graphql.plan import Mode, Plan, RootPlan, RowEncoder, StaticRoot, totals_of
from tycostream.live.arranged import Arranged
from tycostream.live.following import RootView
from tycostream.live.fragments import Allowance, Effort, Failed, Fragments, TooMuch
from tycostream.live.live_source import LiveSource
from tycostream.live.nested import PassingRows
from tycostream.live.pieces import Pieces
from tycostream.rows import Key, Row

ROWS_PER_STEP = 2000
_PASSES_MAX = 8  # over rows that others keep touching, before they are encoded in one step after all
_NESTED_BYTES_MAX = 256 * 2**20  # of rows with others in them, in a result that is not sent to a subscriber


@dataclass(frozen=True, slots=True, eq=False)
class LiveRoot:
    """One root field of a live query: its view and how its rows are encoded."""

    plan: RootPlan
    source: LiveSource
    encoder: RowEncoder | None  # of the rows; None: there are only aggregates over them
    view: RootView
    fragments: Fragments | None = None  # what is kept of a live query's rows
    passing: PassingRows | None = (
        None  # or, of a query that is answered once, what encodes rows with others in them
    )
    arranged: Arranged | None = None  # what the view of a live query is of
    bind: Bind = unbound  # for what aggregates over rows see of them
    failed: Failed | None = None  # and who is told that it can be told of its nested rows no more
    pieces: Pieces = field(default_factory=Pieces)

    @property
    def nested(self) -> bool:
        """Whether its rows have rows of other sources in them: they must be encoded in the step that captures them."""
        return self.encoder is not None and bool(self.encoder.nested)

    @property
    def followed(self) -> bool:
        """Whether its pieces are those of a moment from which on each edit is known, and cost no other sources' rows."""
        return (
            self.pieces.valid
            and isinstance(self.view, View)
            and self.view.tracked
            and not self.nested
            and self.view.length <= self.plan.rows_max
        )

    @property
    def effort(self) -> Effort | None:
        """What encodes its rows counts here."""
        rows = self.passing or self.fragments
        return None if rows is None else rows.effort

    def listen(self) -> None:
        """Let the view know when rows look different because of what is nested in them, until ``unlisten``."""
        if self.nested and self.fragments is not None and self.failed is not None:
            self.fragments.listen(self._touched, self.failed)

    def unlisten(self) -> None:
        """Undo ``listen``."""
        if self.fragments is not None:
            self.fragments.unlisten(self._touched)

    def _touched(self, keys: Sequence[Key]) -> None:
        assert self.arranged is not None
        self.arranged.touch(self.view, keys)


def payload_at_once(plan: Plan, roots: Sequence[LiveRoot], statics: Mapping[int, StaticRoot]) -> bytes | None:
    """The result, if that is little work: of aggregates, and of rows whose pieces are kept and only have to follow.

    None: it takes a rendering in steps, which costs more than these do.
    """
    values: list[Sequence[bytes]] = []
    for root in roots:
        if isinstance(root.view, Totals):
            values.append((totals_of(root.plan).value(root.view.cells(), ()),))
        elif root.followed and root.pieces.follow(root.view, root.fragments.of):  # type: ignore[union-attr]
            values.append(root.pieces.value())
        else:
            return None
    if statics:
        rest = iter(values)
        values = [(statics[n].value,) if n in statics else next(rest) for n in range(len(plan.roots))]
    return b"".join(plan.parts(values))


class Rendering:
    """One result: all roots as they are at the moment this is made, encoded by ``step``.

    A result that nobody could be sent, for it has more than ``bytes_max``, is given up (``too_large``), and so is one of
    more rows than its plan allows: ``refused`` says so. ``kept`` puts the encoded rows into the cache, for a live query that
    will need most of them again; where nothing is kept, ``passing`` bounds the rows nested in others, and more of them
    raise TooMuch.

    What is nested in a row is read when the row is encoded. So rows of that kind are encoded into the cache first, in
    as many steps as it takes, while whatever changes touches them there; when hardly any is left, all is captured. Until
    it is ``captured`` the views must be good.
    """

    def __init__(
        self,
        plan: Plan,
        roots: Sequence[LiveRoot],
        statics: Mapping[int, StaticRoot],
        *,
        kept: bool = True,
        bytes_max: int | None = None,
        passing: int | None = None,
    ) -> None:
        self._plan = plan
        self._statics = statics
        self.small = sum(root.view.length for root in roots) <= ROWS_PER_STEP
        self._encoding = _Encoding(
            roots, kept=kept, bytes_max=bytes_max, passing=passing, live=plan.subscription
        )
        # A generator that held this would be a cycle: a rendering given up halfway would wait for the collector.
        self._steps = self._encoding.work()

    @property
    def too_large(self) -> bool:
        """Whether it was given up because nobody could be sent it."""
        return self._encoding.too_large

    @property
    def refused(self) -> RequestError | None:
        """Why it was given up, if it has more rows than it may."""
        return self._encoding.refused

    @property
    def rows(self) -> int:
        """How many it has, those nested in others apart, once it is captured."""
        return self._encoding.rows

    @property
    def captured(self) -> bool:
        """Whether it needs the views no more."""
        return self._encoding.captured

    def capture(self) -> bool:
        """``step`` until it is ``captured``; gives that."""
        if not self.captured:
            next(self._steps, True)
        return self.captured

    def step(self) -> bool:
        """Encode the next rows; True when there are no more, or too many bytes."""
        return next(self._steps, True)

    def payload(self, stale: bool | None = None) -> bytes:
        """The result, once ``step`` is done."""
        return b"".join(self.parts(stale))

    def parts(self, stale: bool | None = None) -> list[bytes]:
        """What the result consists of, once ``step`` is done."""
        values = iter(self._encoding.values)
        statics = self._statics
        return self._plan.parts(
            [statics[i].text.pieces if i in statics else next(values) for i in range(len(self._plan.roots))],
            stale,
        )


class _Window(NamedTuple):
    keys: list[Key]
    rows: list[Row]


class _Encoding:
    """The values of a result's roots, as far as they are encoded."""

    def __init__(
        self,
        roots: Sequence[LiveRoot],
        *,
        kept: bool,
        bytes_max: int | None,
        passing: int | None,
        live: bool,
    ) -> None:
        self._live = live
        self.refused: RequestError | None = None
        nested = next((root for root in roots if root.nested), None)
        self._effort = None if nested is None else nested.effort
        rows = 0 if nested is None else nested.plan.rows_max
        bytes_most = _NESTED_BYTES_MAX if bytes_max is None else 2 * bytes_max
        at_most = rows if passing is None else min(rows, passing)
        self._allowed = Allowance(at_most, bytes_most, passing)
        self._allowance = replace(self._allowed)
        self._passing = passing is not None
        self._roots = list(roots)
        self._kept = kept
        self._bytes_max = bytes_max
        self._todo: list[Sequence[bytes] | _Window] = []  # per root its value, or what it is to be made of
        self.captured = False
        self.bytes = 0
        self.rows = 0
        self.too_large = False
        self.values: list[Sequence[bytes]] = []
        self._nested = [
            (root.view, root.fragments)
            for root in roots
            if root.nested and root.fragments is not None and isinstance(root.view, View)
            if not (kept and root.view.tracked and root.pieces.valid)
        ]  # of one that is tracked only what was touched is encoded
        if not self._nested:
            with self._paying():
                self._capture()

    def _capture(self) -> None:
        self.captured = True
        for root in self._roots:
            if root.plan.mode is not Mode.BY_PK and root.view.length > root.plan.rows_max:
                self._refuse(root)
                return
            self.rows += 1 if root.encoder is None else root.view.length  # aggregates alone are one result
            if isinstance(root.view, Totals):
                self._todo.append((totals_of(root.plan).value(root.view.cells(), ()),))
            elif self._followed(root, root.view):  # its pieces have all
                self._todo.append(root.pieces.value())
            elif root.nested:
                self._todo.append(self._whole(root, root.view.window()))
            else:
                self._todo.append(_Window(*root.view.window()))

    def _refuse(self, root: LiveRoot) -> None:
        path = f"$.selectionSet.{root.plan.response_key}"
        self.refused = too_many_rows(root.plan.rows_max, path, live=self._live)
        self.too_large = True

    @contextmanager
    def _paying(self) -> Iterator[None]:
        """Encode at the expense of this result; what is more than it may have ends it."""
        if self._effort is None:
            yield
            return
        before, self._effort.paid_by = self._effort.paid_by, self._allowance
        try:
            yield
        except TooMuch:
            if self._passing:
                raise
            if self._allowance.rows < 0:
                self._refuse(next(root for root in self._roots if root.nested))
            self.too_large = self.captured = True
        finally:
            self._effort.paid_by = before

    def _followed(self, root: LiveRoot, view: View) -> bool:
        if not self._kept or root.fragments is None or root.plan.mode is not Mode.LIST:
            return False
        return root.pieces.follow(view, root.fragments.of)

    def _warm_up(self) -> Iterator[bool]:
        """Have nested rows encoded; ends in a step in which hardly any was left to do."""
        for _ in range(_PASSES_MAX):
            steps = 0
            self._allowance = replace(self._allowed)  # what is encoded again is not more
            for view, fragments in self._nested:
                effort = fragments.effort
                enough = effort.rows + ROWS_PER_STEP
                keys, rows = view.window()
                at = 0
                while at < len(keys):
                    with self._paying():
                        at = fragments.until(enough, keys, rows, at)
                    if self.too_large:
                        return
                    if effort.rows > enough:
                        steps += 1
                        yield False
                        enough = effort.rows + ROWS_PER_STEP
            if not steps:
                return

    def work(self) -> Iterator[bool]:
        """Encode rows until the next one would be too many for a step."""
        if not self.captured:
            yield from self._warm_up()
            if not self.too_large:
                self._allowance = replace(
                    self._allowed
                )  # all that it holds is paid for now, encoded just now or kept
                with self._paying():
                    self._capture()
        if self.too_large:
            return
        budget = ROWS_PER_STEP
        for root, todo in zip(self._roots, self._todo, strict=True):
            if not isinstance(todo, _Window):
                self._add(todo)
            elif len(todo.keys) <= budget or root.plan.mode is Mode.BY_PK:
                budget -= len(todo.keys)
                self._add(self._whole(root, todo))
            elif root.plan.mode is Mode.AGGREGATE:
                yield from self._aggregated(root, todo)
                budget = 0
            else:
                # several rows in one piece, the commas between them included: a list of LIST's is only pieces
                pieces = [b"["]
                self.values.append(pieces)
                for at in range(0, len(todo.keys), ROWS_PER_STEP):
                    if at or budget < ROWS_PER_STEP:
                        yield False
                    budget = 0
                    end = at + ROWS_PER_STEP
                    if at:
                        pieces.append(b",")
                    encoded = self._encoded(root, todo.keys[at:end], todo.rows[at:end])
                    pieces.append(gathered(b",".join(encoded), encoded, first=at))
                    self.bytes += len(pieces[-1]) + 1
                    if self._over():
                        return
                pieces.append(b"]")
            if self._over():
                return

    def _add(self, value: Sequence[bytes]) -> None:
        self.values.append(value)
        self.bytes += sum(map(len, value))

    def _whole(self, root: LiveRoot, window: tuple[list[Key], list[Row]]) -> Sequence[bytes]:
        """The value of a root, in pieces, from all rows of its window."""
        keys, rows = window
        if root.plan.mode is Mode.AGGREGATE:
            encoder = totals_of(root.plan)
            specs, look = lens(encoder.aggregates, root.bind)
            cells = aggregated(specs, root.source.row_type, rows if look is None else map(look, rows))
            return (encoder.value(cells, self._encoded(root, keys, rows)),)
        assert root.encoder is not None
        if root.plan.mode is Mode.BY_PK:
            return (root.encoder.result(self._encoded(root, keys[:1], rows[:1])),)
        encoded = self._encoded(root, keys, rows)
        if not self._kept:
            return (root.encoder.result(encoded),)
        root.pieces.fill(encoded)
        return root.pieces.value()

    def _aggregated(self, root: LiveRoot, window: _Window) -> Iterator[bool]:
        """The value of a root that is aggregates over many rows, and maybe these."""
        encoder = totals_of(root.plan)
        specs, look = lens(encoder.aggregates, root.bind)
        accumulator = Accumulator(specs, root.source.row_type)
        nodes: list[bytes] = []
        for at in range(0, len(window.keys), ROWS_PER_STEP):
            yield False
            keys, rows = window.keys[at : at + ROWS_PER_STEP], window.rows[at : at + ROWS_PER_STEP]
            for row in rows:
                accumulator.add(row if look is None else look(row))
            encoded = self._encoded(root, keys, rows)
            nodes += encoded
            self.bytes += sum(map(len, encoded))
            if self._over():
                return
        self.values.append((encoder.value(accumulator.cells(), nodes),))

    def _encoded(self, root: LiveRoot, keys: Sequence[Key], rows: Sequence[Row]) -> list[bytes]:
        if root.encoder is None:
            return []
        if root.passing is not None:
            return root.passing.all(keys, rows)
        if root.fragments is not None and (self._kept or root.nested):
            return root.fragments.all(keys, rows)
        row = root.encoder.row
        return [row(each) for each in rows]

    def _over(self) -> bool:
        self.too_large |= self._bytes_max is not None and self.bytes > self._bytes_max
        return self.too_large
