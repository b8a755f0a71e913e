"""What batches are routed to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tycostream.dataflow.log import Entry
from tycostream.rows import Change

Push = Callable[[Sequence[Change], Entry], None]  # a batch as a predicate sees it, and its entry in the log
