"""What reaches standard error: one line an event, and the tracebacks of libraries."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from tycostream.observe.events import BatchApplied, FeedStateChanged, OperationFailed
from tycostream.observe.log import log_sink, setup


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_events_are_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    setup("info", "json")
    log_sink(FeedStateChanged("main", "stale", reason="gone"))
    log_sink(FeedStateChanged("main", "live"))
    log_sink(BatchApplied("main", 1, 1, 0.1))  # debug
    log_sink(OperationFailed("unexpected", "internal error", "KeyError: 1"))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("feed_state_changed", "warning"),
        ("feed_state_changed", "info"),
        ("operation_failed", "error"),
    ]
    assert lines[0]["reason"] == "gone"
    assert "source" not in lines[0]
    assert lines[2]["internal"] == "KeyError: 1"


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_librarys_traceback_is_readable(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    setup("info", style)
    password = "hunter2"
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        logging.getLogger("uvicorn.error").exception("it broke")
    logging.getLogger("uvicorn.error").info("chatter")
    text = capsys.readouterr().err
    assert "it broke" in text
    assert "Traceback (most recent call last)" in text
    assert "RuntimeError: boom" in text
    assert password not in text
    assert "chatter" not in text
