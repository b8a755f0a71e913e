"""A source as the hub holds it: its rows, its history, who is routed to, and who waits for it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from tycostream.clock import Timer
from tycostream.config.model import LiveConfig
from tycostream.dataflow.log import Log
from tycostream.dataflow.predicate import Predicate
from tycostream.dataflow.router import Router
from tycostream.dataflow.store import Store
from tycostream.errors import RequestError, TycoError
from tycostream.graphql.plan import Plan
from tycostream.live.arrangements import Arrangements
from tycostream.live.fragments import FragmentCaches
from tycostream.live.indexes import Indexes
from tycostream.live.log_subscriber import LogSubscriber
from tycostream.live.query_subscriber import QuerySubscriber
from tycostream.live.standing import Images, Snapshots
from tycostream.live.targets import Push
from tycostream.rows import Key, RowType

WAITING_MIN: Final = 64  # so many may wait before those that have ended are looked for
Subscriber = LogSubscriber | QuerySubscriber


class SourceState(Enum):
    """Where a source stands for those who read it."""

    STARTING = "starting"  # no snapshot yet: operations wait
    LIVE = "live"
    STALE = "stale"  # the upstream is away: readable, as it was
    FAILED = "failed"  # only a person can mend it: operations end with the reason


@dataclass(eq=False)
class LiveSource:
    """A source in the hub."""

    row_type: RowType
    config: LiveConfig
    store: Store
    log: Log
    indexes: Indexes
    router: Router[Push]
    fragments: FragmentCaches
    arrangements: Arrangements = field(init=False)  # made with the source itself
    state: SourceState = SourceState.STARTING
    error: TycoError | None = None
    crowded: bool = False  # FAILED because a watched key is not unique
    waiting: dict[Subscriber, Callable[[], None]] = field(default_factory=dict)
    waiting_max: int = WAITING_MIN
    definition: Hashable = (
        None  # which rows it has: another one is another history, whatever the positions say
    )
    heartbeat: Timer | None = None
    _snapshots: Snapshots = field(default_factory=Snapshots)

    def images(self) -> Images:
        """See Logged."""
        return self._snapshots.at(self.store.version, self.store.rows)

    def given(self, predicate: Predicate) -> list[Key] | None:
        """See Logged."""
        return self.store.given(predicate)

    def wait(self, subscriber: Subscriber, start: Callable[[], None]) -> None:
        """Start ``subscriber`` when the source is loaded; those that ended meanwhile are dropped now and then."""
        if len(self.waiting) >= self.waiting_max:
            self.waiting = {waiting: then for waiting, then in self.waiting.items() if not waiting.ended}
            self.waiting_max = max(WAITING_MIN, 2 * len(self.waiting))
        self.waiting[subscriber] = start


def any_stale(sources: Iterable[LiveSource]) -> bool:
    """Whether what is made of these sources may be out of date."""
    return any(source.state is SourceState.STALE for source in sources)


# why the operations of a source end; docs/errors.md lists the codes


def failed(source: LiveSource) -> RequestError:
    """It cannot be read until a person has mended something."""
    error = source.error
    return RequestError(
        "source-failed",
        f"the source {source.row_type.source!r} failed: {error.message if error else 'unknown reason'}",
        hint=error.hint if error else "",
    )


_OF_SOURCES: Final = {
    "source-failed": "a source of this operation failed",
    "source-changed": "a source of this operation is another one now",
    "source-removed": "a source of this operation is not part of this API any more",
    "source-not-ready": "a source of this operation has no snapshot yet",
}


def as_told(error: RequestError, plan: Plan) -> RequestError:
    """The error for who asked. Only admin is told what a database says, for it may quote rows, and which source it is,
    for a permission may read some that cannot be seen."""
    if plan.for_admin or error.code not in _OF_SOURCES:
        return error
    return RequestError(
        error.code,
        _OF_SOURCES[error.code],
        path=error.path,
        hint="try again; whoever runs this API can see why",
    )


def permitted_no_more(why: str) -> RequestError:
    """What may be seen was changed, and the operation asks for what may not be."""
    return RequestError(
        "permissions-changed",
        f"this operation is not permitted any more: {why}",
        hint="what this role may see was changed; fetch the schema again",
    )


def changed(name: str) -> RequestError:
    """Its rows are of another shape than the operation was planned for."""
    return RequestError(
        "source-changed",
        f"the source {name!r} has other columns now",
        hint="subscribe again with the new schema",
    )


def related_otherwise(name: str) -> RequestError:
    """The configuration does not have a relationship any more that the operation follows, or has it otherwise."""
    return RequestError(
        "source-changed",
        f"a relationship of the source {name!r} is another one now, or gone",
        hint="subscribe again with the new schema",
    )


def removed(name: str) -> RequestError:
    """The configuration does not have it any more."""
    return RequestError(
        "source-removed",
        f"the source {name!r} is not part of this API any more",
        hint="the configuration was changed; fetch the schema again",
    )
