"""Events as structured logs: JSON lines for machines, colours for a terminal."""

from __future__ import annotations

import logging
import sys
from dataclasses import asdict
from typing import Final

import structlog

from tycostream.observe.events import (
    AuditUnavailable,
    Authenticated,
    BatchApplied,
    CertificateExpires,
    CohortQuarantined,
    ConnectionClosed,
    ConnectionOpened,
    Event,
    FeedStateChanged,
    KeysFetched,
    KeysUnavailable,
    LimitReached,
    OperationEnded,
    OperationFailed,
    OperationRefused,
    OperationStarted,
    PermissionUnfit,
    RelationshipUnfit,
    RequestRefused,
    RerunsBehind,
    SlotKeepsLog,
    SourceRerun,
    StateUnavailable,
    event_name,
)

_threshold = logging.INFO
_LEVELS: Final = {
    BatchApplied: logging.DEBUG,
    SourceRerun: logging.DEBUG,
    ConnectionOpened: logging.DEBUG,
    ConnectionClosed: logging.DEBUG,
    LimitReached: logging.DEBUG,  # anybody can cause as many as he likes
    PermissionUnfit: logging.WARNING,
    RequestRefused: logging.DEBUG,  # anybody can cause as many as he likes
    RelationshipUnfit: logging.WARNING,
    KeysFetched: logging.DEBUG,
    KeysUnavailable: logging.WARNING,
    Authenticated: logging.DEBUG,
    StateUnavailable: logging.WARNING,
    CohortQuarantined: logging.ERROR,
    OperationFailed: logging.ERROR,
    OperationStarted: logging.DEBUG,
    OperationEnded: logging.DEBUG,
    OperationRefused: logging.DEBUG,
    AuditUnavailable: logging.ERROR,
}


def setup(level: str, style: str) -> None:
    """Send our events, and the standard logging of libraries, to standard error. ``style``: auto, json or console."""
    # the console shows tracebacks by itself; as JSON they must be text before
    json_lines = style == "json" or (style == "auto" and not sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if json_lines
        # the default shows local variables too, and those may hold a password
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    tracebacks: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info] if json_lines else []
    )
    global _threshold  # noqa: PLW0603 - structlog's configuration is one per process too
    _threshold = number = getattr(logging, level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, *tracebacks, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tracebacks, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))  # libraries: only what matters


def log_sink(event: Event) -> None:
    """An Emit that logs; the event's class is its name. What is below the level costs a look-up and no more."""
    level = _LEVELS.get(type(event))
    if level is None:
        level = _level(event)
    if level >= _threshold:
        structlog.get_logger().log(
            level, event_name(event), **{k: v for k, v in asdict(event).items() if v not in ("", None)}
        )


def _level(event: Event) -> int:
    """Of what its class alone does not decide."""
    match event:
        case FeedStateChanged(state="stale" | "failed"):
            return logging.WARNING
        case CertificateExpires():
            return logging.ERROR if event.expired else logging.WARNING
        case RerunsBehind(behind=True):
            return logging.WARNING
        case SlotKeepsLog():
            return logging.WARNING if event.warn else logging.DEBUG
        case _:
            return logging.INFO
