"""Plans: what a compiled operation is. ``compile.py`` makes them; ``live`` runs them.

A plan is bound: variables, session and permissions are already in its predicate. Two plans with the same ``key``
compute the same rows and the same bytes, whoever asks, so that their subscribers form one cohort.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, NamedTuple, Protocol, cast

from tycostream.auth.session import Session
from tycostream.dataflow.order import Term
from tycostream.dataflow.predicate import Predicate
from tycostream.dataflow.relation import Aggregate, Join, Veil
from tycostream.graphql.documents import Flawed, errors_of
from tycostream.graphql.trusted import DocumentId
from tycostream.rows import Cell, Row, RowType


class Mode(Enum):
    """What a root field asks for."""

    LIST = "list"  # T: rows in an order, a window of them
    BY_PK = "by_pk"  # T_by_pk: one row or null; an object relationship too
    AGGREGATE = "aggregate"  # T_aggregate: aggregates over rows, and the rows
    CHANGES = "changes"  # T_changes: a change feed
    STREAM = "stream"  # T_stream: rows in batches, each when its cursor value rises


class Phase(Enum):
    """Where a change set stands in its feed (design 6.2)."""

    SNAPSHOT = "snapshot"
    READY = "ready"
    LIVE = "live"
    RESET = "reset"


class Strategy(Enum):
    """How ``@coalesce`` spends its milliseconds."""

    THROTTLE = "throttle"
    WINDOW = "window"
    DEBOUNCE = "debounce"


@dataclass(frozen=True, slots=True)
class Coalesce:
    """A delivery policy: not part of a plan's key, since it is a timer over the same log."""

    ms: int
    strategy: Strategy = Strategy.THROTTLE


class RowEncoder(Protocol):
    """A selection set on a row, compiled: the projection of a list or a row by key."""

    key: Hashable
    nested: tuple[Nested | Condition, ...]  # the relationships selected on the row, and on what they lead to

    def row(self, row: Row, *related: bytes) -> bytes:
        """The row as a JSON object: its fragment. ``related``: the values of ``nested``, in order.

        Of a condition the value is empty where it does not hold.
        """

    def result(self, fragments: Sequence[bytes]) -> bytes:
        """The value of the root field: a JSON list of the fragments, or for BY_PK the one fragment or ``null``."""


class AggregateEncoder(Protocol):
    """A selection set on ``T_aggregate``, compiled."""

    key: Hashable
    aggregates: tuple[Aggregate, ...]  # what must be computed; empty if only nodes are selected
    nodes: RowEncoder | None  # how the rows are written; None if they are not selected

    def value(self, cells: Sequence[Cell], nodes: Sequence[bytes]) -> bytes:
        """The value of the field, from the aggregates and the rows' fragments, both in order."""


class ChangeEncoder(Protocol):
    """A selection set on a change set, compiled."""

    key: Hashable
    wants_cursor: bool  # whether the selection holds ``cursor``: sealing one costs

    def differs(self, old: Row, new: Row) -> bool:
        """Whether the two images differ after projection; if not there is nothing to tell."""

    def same(self, row: Row) -> Hashable:
        """Equal for two images that do not differ after projection, and only for those."""

    def change(self, old: Row | None, new: Row | None) -> bytes:
        """One entry of ``changes``: an insert (no old), a delete (no new) or an update."""

    def result(
        self, phase: Phase, changes: Sequence[bytes], *, complete: bool, resync: bool, cursor: str | None
    ) -> bytes:
        """The value of the root field: one change set."""


Way = tuple[Join, bool]  # where rows lead, and whether to many: a relationship without its name


class Step(NamedTuple):
    """A source, and where its rows lead: to one row or to ``many``; None where it makes no difference."""

    source: str
    join: Join
    many: bool | None = None


@dataclass(frozen=True, slots=True)
class Nested:
    """A relationship selected on a row: which of the related rows, and how they are written."""

    join: Join
    mode: Mode  # BY_PK of an object relationship, LIST or AGGREGATE of an array relationship
    predicate: Predicate
    encoder: RowEncoder | AggregateEncoder = field(compare=False)  # its key is part of ours
    order: tuple[Term, ...] = ()
    limit: int | None = None
    offset: int = 0
    distinct_on: tuple[int, ...] = ()
    key: Hashable = None  # all the rest


@dataclass(frozen=True, slots=True)
class Condition:
    """Whether some cells of a row are seen, where that reads other sources."""

    predicate: Predicate


@dataclass(frozen=True, slots=True)
class Stream:
    """What a stream asks for besides rows in an order: batches of at most so many, and where to begin."""

    batch_size: int
    initial: Cell = None  # only rows beyond this value of the order's first column; None: all
    now: bool = False  # nothing of what is there: only what happens from now on


@dataclass(frozen=True, slots=True)
class RootPlan:
    """One root field over a source."""

    response_key: str
    source: str
    mode: Mode
    predicate: Predicate
    encoder: RowEncoder | AggregateEncoder | ChangeEncoder
    order: tuple[Term, ...] = ()
    limit: int | None = None
    offset: int = 0
    after: str | None = None  # CHANGES: the cursor to resume from
    snapshot: bool = True  # CHANGES: whether to send a snapshot when there is no cursor
    key: Hashable = None  # all the rest but response_key, and where a feed or a stream begins; with the role
    row_type: RowType | None = None  # what it was compiled for: rows of another layout would be misread
    distinct_on: tuple[int, ...] = ()  # LIST: of rows equal in these places only the first, before the window
    reads: tuple[RowType, ...] = ()  # of the other sources that it reads, each once
    steps: frozenset[Step] = frozenset()  # the relationships that it follows
    # The most rows of its result, with those nested in it; more are refused with ``limits.too_many_rows``. Not part of
    # the key: it is the server's, and all of a role have it.
    rows_max: int = 1_000_000
    stream: Stream | None = None  # STREAM
    veil: Veil = ()  # CHANGES, STREAM: which cells are seen; the encoder of changes is of rows that were looked at
    # CHANGES, STREAM: where rows have no key that may be told, the places of all that may be; who is equal in these is
    # the same row
    alike: tuple[int, ...] | None = None


def totals_of(plan: RootPlan | Nested) -> AggregateEncoder:
    """How aggregates are written, of what is of Mode.AGGREGATE."""
    assert plan.mode is Mode.AGGREGATE
    return cast(AggregateEncoder, plan.encoder)


def rows_of(plan: RootPlan | Nested) -> RowEncoder | None:
    """How the rows themselves are written, of what is no change feed; None if only aggregates over them are."""
    if plan.mode is Mode.AGGREGATE:
        return totals_of(plan).nodes
    assert plan.mode is not Mode.CHANGES
    return cast(RowEncoder, plan.encoder)


class Text(Protocol):
    """JSON that is written step by step."""

    @property
    def key(self) -> Hashable:
        """Equal to that of another only if the text is the same."""

    def step(self) -> bool:
        """Write some more, a few milliseconds' worth; True when all is there. RequestError if it is too much."""

    @property
    def pieces(self) -> Sequence[bytes]:
        """What to join for the whole, once ``step`` is done."""


@dataclass(frozen=True, slots=True)
class Written:
    """A text that is there at once. See Text."""

    text: bytes

    @property
    def key(self) -> Hashable:
        """See Text."""
        return self.text

    def step(self) -> bool:
        """See Text."""
        return True

    @property
    def pieces(self) -> Sequence[bytes]:
        """See Text."""
        return (self.text,)


@dataclass(frozen=True, slots=True)
class StaticRoot:
    """A root field that no row decides: ``__typename``, introspection."""

    response_key: str
    text: Text

    @property
    def key(self) -> Hashable:
        """What two roots of one value have in common."""
        return self.text.key

    @property
    def value(self) -> bytes:
        """All of it as JSON, whatever is still missing written now."""
        while not self.text.step():
            pass
        return b"".join(self.text.pieces)


@dataclass(frozen=True, slots=True)
class Request:
    """An operation as it was asked for: what it takes to plan it again, where what it may see is something else."""

    query: str | DocumentId
    operation_name: str | None
    variables: Mapping[str, object] | None
    session: Session
    after: str | None = (
        None  # where its transport says that a change feed is to go on, whatever the document says
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled, bound operation."""

    subscription: bool
    roots: tuple[RootPlan | StaticRoot, ...]
    key: Hashable
    coalesce: Coalesce | None = None
    for_admin: bool = True  # who may be told what a database says of an error
    role: str = "admin"  # whom it was made for
    permissions: int = 0  # App's count of permissions that it was made under
    # What it read of its session: names of variables, without prefix, with their texts. Not part of the key, for what came
    # of them is.
    variables: Mapping[str, str] = field(default_factory=dict, compare=False)
    request: Request | None = field(default=None, compare=False)
    # What stands before each root's value.
    _heads: tuple[bytes, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        starts = [b"," if n else b'{"data":{' for n in range(len(self.roots))]
        heads = [
            b'%b"%b":' % (start, root.response_key.encode())
            for start, root in zip(starts, self.roots, strict=True)
        ]
        object.__setattr__(self, "_heads", tuple(heads))

    def holds_for(self, session: Session) -> bool:
        """Whether another session of the same client would have been given the same plan."""
        asked = self.request.session if self.request is not None else session
        return asked.role == session.role and all(
            session.variables.get(name) == text for name, text in self.variables.items()
        )

    @property
    def cohort_key(self) -> Hashable:
        """What a query and a subscription have in common if they give the same result."""
        return tuple([(root.response_key, root.key) for root in self.roots])

    @property
    def statics(self) -> dict[int, StaticRoot]:
        """The roots that no row decides, by place."""
        return {n: root for n, root in enumerate(self.roots) if isinstance(root, StaticRoot)}

    @property
    def lengthy(self) -> bool:
        """Whether what no row decides is more than can be copied at once."""
        return any(len(root.text.pieces) > 1 for root in self.statics.values())

    def payload(self, values: Sequence[bytes], stale: bool | None = None) -> bytes:
        """The whole execution result, ``{"data":{…}}``, from one JSON value per root, in order.

        ``stale`` adds ``"extensions":{"stale":…}``: whether the upstream is away, where that is news.
        """
        return b"".join(self.parts([(value,) for value in values], stale))

    def parts(self, values: Sequence[Sequence[bytes]], stale: bool | None = None) -> list[bytes]:
        """What to join for ``payload``, of values in pieces: a large result is copied once, not at every bracket.

        What is told of pieces (``Flawed``) becomes the result's ``errors``.
        """
        parts = [] if self.roots else [b'{"data":{']
        flawed: list[tuple[str, Flawed]] = []
        for root, head, pieces in zip(self.roots, self._heads, values, strict=True):
            parts.append(head)
            parts += pieces
            if Flawed in map(type, pieces):
                flawed += [(root.response_key, piece) for piece in pieces if isinstance(piece, Flawed)]
        parts.append(b'},"errors":%b' % errors_of(flawed) if flawed else b"}")
        parts.append(b"}" if stale is None else _STALE[stale])
        return parts


def kind_of(plan: Plan) -> str:
    """What it is called where operators look: query, live, feed or stream."""
    if not plan.subscription:
        return "query"
    modes = {root.mode for root in plan.roots if isinstance(root, RootPlan)}
    return "feed" if Mode.CHANGES in modes else "stream" if Mode.STREAM in modes else "live"


def sources_of(plan: Plan) -> tuple[str, ...]:
    """The sources of its root fields, each once."""
    return tuple(dict.fromkeys(root.source for root in plan.roots if isinstance(root, RootPlan)))


_STALE: Final = {True: b',"extensions":{"stale":true}}', False: b',"extensions":{"stale":false}}'}


class Resumable(bytes):
    """A payload that knows where its client stands once it has it: ``cursor`` goes on from there."""

    cursor: str

    def __new__(cls, payload: bytes, cursor: str) -> Resumable:
        """``cursor``: as in a change set."""
        self = super().__new__(cls, payload)
        self.cursor = cursor
        return self


def with_stale(payload: bytes, stale: bool) -> bytes:
    """A payload that was made without it, with ``extensions.stale``."""
    told = payload[:-1] + _STALE[stale]
    return Resumable(told, payload.cursor) if isinstance(payload, Resumable) else told


def resumed(plan: Plan, after: str) -> Plan:
    """A change feed's plan, from ``after`` on instead of where it says itself; any other plan as it is."""
    if len(plan.roots) == 1:
        root = plan.roots[0]
        if isinstance(root, RootPlan) and root.mode is Mode.CHANGES:
            return replace(plan, roots=(replace(root, after=after),))
    return plan
