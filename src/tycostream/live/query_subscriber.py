"""One client's live query: behind means the latest result, nothing in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tycostream.errors import RequestError
from tycostream.live.outbox import Outbox
from tycostream.live.subscriber import BaseSubscriber

if TYPE_CHECKING:
    from tycostream.live.query_cohort import QueryCohort


class QuerySubscriber(BaseSubscriber):
    """A member of a QueryCohort."""

    def __init__(
        self,
        cohort: QueryCohort,
        outbox: Outbox,
        operation_id: bytes,
        coalesce_ms: int,
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(outbox, operation_id, on_end)
        self.cohort = cohort
        self.version = 0
        self.wanted: int | None = None  # the capture it waits for
        self.paced = coalesce_ms > 0
        self._period_s = coalesce_ms / 1000
        self._last_s = float("-inf")
        self._shown: bytes | None = None  # what it showed in the cohort that it came from
        cohort.members.add(self)

    def start(self) -> None:
        """Get the result as it is."""
        self.cohort.hydrate()
        self.outbox.enqueue(self)

    def move(self, cohort: QueryCohort) -> None:
        """Go on in another cohort; ``start`` follows. It gets that one's result unless it has the same already."""
        self._shown = self.cohort.shown(self)
        self.stop_timer()
        self.outbox.forget(self)
        self.cohort.leave(self)
        self.cohort = cohort
        self.version, self.wanted = 0, None
        cohort.members.add(self)

    def fall_behind(self) -> None:
        """There is a newer result; get it when the socket and the policy allow."""
        wait_s = self._last_s + self._period_s - self.cohort.clock.monotonic()
        if self.paced and wait_s > 0 and self.told_stale is self.cohort.stale:
            if self._timer is None:
                self._timer = self.cohort.clock.call_later(wait_s, self._due)
        else:
            self.stop_timer()
            self.outbox.enqueue(self)

    def hurry(self) -> None:
        """What is to be told does not wait for the policy's time."""
        if self._timer is not None:
            self.stop_timer()
            self.outbox.enqueue(self)

    def _due(self) -> None:
        self._timer = None
        self.outbox.enqueue(self)

    def pull(self) -> bytes | None:
        """See Puller."""
        cohort = self.cohort
        if self.ended:
            return None
        latest = cohort.latest(self)
        if latest is None:
            return None  # the cohort wakes it
        version, payload = latest
        if version == self.version and self.told_stale is cohort.stale:
            cohort.at_head[self] = None
            return None
        if len(payload) > self.outbox.bytes_max or cohort.too_large:
            self.fail(cohort.refused or too_large(len(payload), self.outbox.bytes_max))
            return None
        self.version = version
        shown, self._shown = self._shown, None
        if payload == shown and self.told_stale is cohort.stale:
            cohort.at_head[self] = None
            return None
        self.messages_told += 1
        self.rows_told += cohort.rows
        self._last_s = cohort.clock.monotonic()
        return self.framed(payload, cohort.stale)

    def left(self) -> None:
        """See BaseSubscriber."""
        self.cohort.leave(self)


def too_large(size: int, bytes_max: int) -> RequestError:
    """A result of ``size`` bytes, or of more than may be sent (0: not even all of it was made)."""
    return RequestError(
        "result-too-large",
        f"the result has {size or 'more'} bytes; a connection may hold {bytes_max}",
        hint="ask for less with limit and where, or subscribe to the change feed, which is sent in parts",
        limit="outbox_bytes_max",
    )
