"""The cohorts of a hub: one for all plans of a key, made when the first asks, kept a while after the last, ended with a reason."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from tycostream.clock import Clock
from tycostream.dataflow.log import Entry
from tycostream.dataflow.predicate import TRUE, leaves_of
from tycostream.dataflow.veil import beyond_row
from tycostream.errors import RequestError
from tycostream.graphql.plan import ChangeEncoder, Mode, Plan, RootPlan, Step, rows_of
from tycostream.live.arranged import Reader
from tycostream.live.cursor import CursorBox
from tycostream.live.feed_cohort import Changes, FeedCohort
from tycostream.live.live_source import LiveSource, Subscriber, any_stale, as_told
from tycostream.live.log_cohort import LogCohort
from tycostream.live.log_subscriber import LogSubscriber
from tycostream.live.nested import Nesting
from tycostream.live.outbox import Flushable, Puller, Ticker
from tycostream.live.query_cohort import QueryCohort
from tycostream.live.query_subscriber import QuerySubscriber
from tycostream.live.rendering import LiveRoot
from tycostream.live.sight import Sight
from tycostream.live.slices import Discard, Slices
from tycostream.live.stream_cohort import StreamCohort
from tycostream.live.stream_scan import StreamScan
from tycostream.live.targets import Push
from tycostream.observe.events import CohortQuarantined, Emit
from tycostream.rows import Change

Cohort = LogCohort[Any] | QueryCohort


class Cohorts:
    """Who asks ``of_plan`` gets the cohort of a plan; it goes by itself some time after its last member, or by ``fail``."""

    def __init__(
        self, clock: Clock, emit: Emit, cursors: CursorBox, slices: Slices, nesting: Nesting
    ) -> None:
        self._nesting = nesting
        self._unsettled: list[Sight] = []
        self._sights_made = 0
        self._clock = clock
        self._emit = emit
        self._cursors = cursors
        self._slices = slices
        self.ticker = Ticker(clock, self.quarantine)
        self.known: dict[object, Cohort] = {}  # by key
        self.sources: dict[Cohort, list[LiveSource]] = {}  # what each reads
        self.steps: dict[Cohort, frozenset[Step]] = {}  # the relationships that each follows
        self._pushes: dict[LogCohort[Any], Push] = {}  # what the router knows it by
        self.sights: dict[LogCohort[Any], Sight] = {}  # of feeds that read several sources

    def reading(self, source: LiveSource) -> list[Cohort]:
        """The cohorts that read ``source``."""
        return [cohort for cohort, sources in self.sources.items() if source in sources]

    def floor_s(self, cohort: Cohort) -> float:
        """The least time between two pushes that the configuration of its sources asks for."""
        return _floor_s(self.sources[cohort])

    def of_plan(
        self, plan: Plan, roots: list[RootPlan], sources: list[LiveSource], *, bytes_max: int
    ) -> Cohort:
        """The plan's cohort, found or made.

        ``sources``: all that it reads. ``bytes_max``: of the largest result that can be sent.
        """
        return self.known.get(plan.cohort_key) or self._new(plan, roots, sources, bytes_max)

    def stop_linger(self, cohort: Cohort) -> None:
        """Somebody is about to join it, or it goes at once: it is not due to go later."""
        if cohort.linger is not None:
            cohort.linger.cancel()
            cohort.linger = None

    def _new(self, plan: Plan, roots: list[RootPlan], sources: list[LiveSource], bytes_max: int) -> Cohort:
        if roots and roots[0].mode in (Mode.CHANGES, Mode.STREAM):
            cohort: Cohort = self._new_follower(plan, roots[0], sources[0], bytes_max)
        else:
            cohort = self._new_query(plan, roots, sources, bytes_max)
        self.known[plan.cohort_key] = cohort
        self.sources[cohort] = sources
        self.steps[cohort] = frozenset[Step]().union(*(root.steps for root in roots))
        cohort.stale = any_stale(sources)
        return cohort

    def _new_follower(self, plan: Plan, root: RootPlan, source: LiveSource, bytes_max: int) -> LogCohort[Any]:
        if next(leaves_of(root.predicate), None) is not None or (
            root.mode is Mode.CHANGES and beyond_row(root.veil)
        ):
            return self._new_sighted(plan, root, source, bytes_max)
        cohort = self._follower_of(plan, root, source, source, bytes_max)
        self._pushes[cohort] = push = functools.partial(self._guarded, cohort)
        source.router.add(root.predicate, push)
        return cohort

    def _follower_of(
        self,
        plan: Plan,
        root: RootPlan,
        source: LiveSource,
        followed: Changes,
        bytes_max: int,
    ) -> LogCohort[Any]:
        """A cohort that follows ``followed``: the source, or what was looked at and is in sight of it already."""
        ticker, clock = self.ticker, self._clock
        predicate = root.predicate if followed is source else TRUE
        if root.mode is Mode.STREAM:
            stream = StreamCohort(
                plan,
                root,
                predicate,
                source,
                followed,
                ticker,
                self._slices,
                clock,
                self._linger,
                bytes_max=bytes_max,
                bind=self._nesting.related.bind,
            )
            stream.listen(functools.partial(self.quarantine, stream))
            return stream
        encoder = cast(ChangeEncoder, root.encoder)
        seen = replace(root, predicate=predicate, veil=root.veil if followed is source else ())
        return FeedCohort(plan, seen, encoder, followed, ticker, clock, self._cursors, self._linger)

    def _new_sighted(self, plan: Plan, root: RootPlan, source: LiveSource, bytes_max: int) -> LogCohort[Any]:
        """A cohort whose condition reads other sources."""
        self._sights_made += 1
        sight = Sight(
            source,
            self._nesting.sources,
            self._nesting.related,
            root.predicate,
            root.veil if root.mode is Mode.CHANGES else (),
            self._slices,
            self._clock,
            incarnation=f"sight {self._clock.random():.17f} {self._sights_made}",
            push=lambda changes, entry: self._guarded(cohort, changes, entry),
            unsettled=self._unsettled.append,
            failed=lambda error: self.quarantine(cohort, error),
        )
        cohort = self._follower_of(plan, root, source, sight, bytes_max)
        self.sights[cohort] = sight
        return cohort

    def settle(self, *, resync: bool) -> None:
        """A batch was routed: feeds that read several sources tell what came of it."""
        while self._unsettled:
            sight = self._unsettled.pop()
            try:
                sight.settle(resync=resync)
            except Exception as error:
                sight.broken(error)

    def evict(self, source: LiveSource) -> None:
        """Keep the logs that are not the source's own, but of what is seen of it, to its bounds."""
        for sight in self.sights.values():
            if sight.source is source:
                sight.evict()

    def _new_query(
        self, plan: Plan, roots: list[RootPlan], sources: list[LiveSource], bytes_max: int
    ) -> QueryCohort:
        cohort = QueryCohort(
            plan,
            plan.statics,
            self.ticker,
            self._slices,
            self._clock,
            self._linger,
            self.quarantine,
            floor_s=_floor_s(sources),
            bytes_max=bytes_max,
        )
        by_name = {source.row_type.source: source for source in sources}
        for root in roots:
            source, encoder = by_name[root.source], rows_of(root)
            view, arranged = source.arrangements.view(root, cohort)
            fragments = None if encoder is None else source.fragments.lease(encoder)
            failed = functools.partial(self.quarantine, cohort)
            live = LiveRoot(
                root,
                source,
                encoder,
                view,
                fragments,
                arranged=arranged,
                bind=self._nesting.related.bind,
                failed=failed,
            )
            live.listen()
            cohort.roots.append(live)
        return cohort

    # how they end

    def _linger(self, cohort: Cohort) -> None:
        """The last member of a cohort left: keep it for a while, somebody may come back."""
        if cohort in self.sources and cohort.linger is None:
            linger_s = max(source.config.linger.total_seconds() for source in self.sources[cohort])
            cohort.linger = self._clock.call_later(linger_s, functools.partial(self._expire, cohort))

    def _expire(self, cohort: Cohort) -> None:
        cohort.linger = None
        if not (isinstance(cohort, QueryCohort) and cohort.queries):  # else the last of them drops it
            self.drop(cohort)

    def _guarded(self, cohort: LogCohort[Any], changes: Sequence[Change], entry: Entry) -> None:
        try:
            cohort.push(changes, entry)
        except Exception as error:
            self.quarantine(cohort, error)

    def quarantine(self, culprit: Flushable | Puller | Reader, error: Exception) -> None:
        """Something raised: its cohort's operations end with INTERNAL, nothing else is disturbed."""
        cohort = (
            culprit.cohort if isinstance(culprit, LogSubscriber | QuerySubscriber | StreamScan) else culprit
        )
        if not isinstance(cohort, LogCohort | QueryCohort):
            self._emit(CohortQuarantined("", f"{type(error).__name__}: {error}"))
            return
        sources = ",".join(source.row_type.source for source in self.sources.get(cohort, ()))
        self._emit(CohortQuarantined(sources, f"{type(error).__name__}: {error}"))
        self.fail(
            cohort,
            RequestError("unexpected", "internal error: this operation was ended", hint="subscribe again"),
        )

    def fail(self, cohort: Cohort, error: RequestError) -> None:
        """Forget a cohort, and end its operations with ``error``."""
        error = as_told(error, cohort.plan)
        self.drop(cohort, error)
        members: list[Subscriber] = [*cohort.members]
        for member in members:
            member.fail(error)

    def drop(self, cohort: Cohort, error: RequestError | None = None) -> None:
        """Forget a cohort: its views are freed, the next subscriber makes a new one."""
        self.stop_linger(cohort)
        sources = self.sources.pop(cohort, [])
        self.steps.pop(cohort, None)
        if self.known.get(cohort.key) is cohort:
            del self.known[cohort.key]
        if isinstance(cohort, LogCohort):
            cohort.close()
            if cohort in self.sights:
                self.sights.pop(cohort).close()
            elif cohort in self._pushes:
                sources[0].router.remove(cohort.predicate, self._pushes.pop(cohort))
        elif not cohort.closed:
            cohort.close(error)
            for root in cohort.roots:
                self._release(root)
            cohort.roots.clear()

    def _release(self, root: LiveRoot) -> None:
        assert root.arranged is not None
        root.unlisten()
        source = root.source
        source.arrangements.release(root.view, root.arranged, source.config.linger.total_seconds())
        if root.encoder is not None and (unused := source.fragments.give_back(root.encoder)):
            self._slices.add(Discard(*unused))


def _floor_s(sources: Sequence[LiveSource]) -> float:
    return max((source.config.coalesce.total_seconds() for source in sources), default=0.0)
