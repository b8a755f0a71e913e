"""Lines of the audit log: what is in them, and that none is lost in silence."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tycostream.config.audit import AuditConfig
from tycostream.observe import audit
from tycostream.observe.audit import AuditFile, AuditLog
from tycostream.observe.events import (
    Asked,
    AuditUnavailable,
    AuthenticationFailed,
    BatchApplied,
    Event,
    OperationEnded,
    OperationRefused,
)
from tycostream.testing.clock import FakeClock

FAILED = AuthenticationFailed("http", "192.0.2.1", "access-denied", "secret-wrong")
ASKED = Asked("c-1", "http", "192.0.2.1", "trader", "7", "", "Mine", "ab")


def ended(number: int = 1) -> OperationEnded:
    return OperationEnded(number, ASKED, "query", ("trades",), "completed", 3, 0.5)


def unexpected(event: Event) -> None:
    """An Emit of what must not happen."""
    pytest.fail(f"{event}")


def said(path: Path) -> list[dict[str, Any]]:
    text = path.read_text()
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


class Slept(FakeClock):
    """Tells when somebody sleeps, and lets him go on when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asleep = asyncio.Event()
        self.go_on = asyncio.Event()

    async def sleep(self, delay_s: float) -> None:
        self.asleep.set()
        await self.go_on.wait()
        self.go_on.clear()


async def test_an_event_is_a_line_with_its_time(tmp_path: Path) -> None:
    log = AuditLog(AuditConfig(file=str(tmp_path / "a.jsonl")), FakeClock(), unexpected)
    log.note(FAILED)
    log.note(BatchApplied("main", 1, 1, 0.1))  # nobody did that
    log.note(ended())
    await log.close()
    first, second = said(tmp_path / "a.jsonl")
    assert first == {
        "time": "1970-01-01T00:16:40.000000Z",
        "event": "authentication_failed",
        "transport": "http",
        "client_ip": "192.0.2.1",
        "code": "access-denied",
        "reason": "secret-wrong",
    }
    assert second == {
        "time": "1970-01-01T00:16:40.000000Z",
        "event": "operation_ended",
        "connection": "c-1",
        "transport": "http",
        "client_ip": "192.0.2.1",
        "role": "trader",
        "user": "7",
        "name": "Mine",
        "document": "ab",
        "operation": 1,
        "kind": "query",
        "sources": ["trades"],
        "reason": "completed",
        "rows": 3,
        "seconds": 0.5,
    }
    assert stat.S_IMODE(os.stat(tmp_path / "a.jsonl").st_mode) == 0o600


async def test_what_a_client_chose_cannot_make_lines_or_be_long(tmp_path: Path) -> None:
    log = AuditLog(AuditConfig(file=str(tmp_path / "a")), FakeClock(), unexpected)
    log.note(
        OperationRefused(replace(ASKED, name='x\n{"event":"forged"}\x1b[2J' + "y" * 9999), "c", "m", "$")
    )
    await log.close()
    (line,) = said(tmp_path / "a")
    assert line["name"].startswith('x\n{"event":"forged"}')
    assert len(line["name"]) == 201
    assert b"\x1b" not in (tmp_path / "a").read_bytes()


async def test_operations_may_be_left_out(tmp_path: Path) -> None:
    log = AuditLog(AuditConfig(file=str(tmp_path / "a"), operations=False), FakeClock(), unexpected)
    log.note(ended())
    log.note(FAILED)
    await log.close()
    assert [line["event"] for line in said(tmp_path / "a")] == ["authentication_failed"]


async def test_a_file_that_was_moved_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "a"
    file = AuditFile(str(path))
    file.write(b"1\n")
    path.rename(tmp_path / "a.1")
    file.write(b"2\n")
    file.close()
    assert ((tmp_path / "a.1").read_text(), path.read_text()) == ("1\n", "2\n")


async def test_after_a_full_disk_every_line_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, told = Slept(), list[Event]()
    log = AuditLog(AuditConfig(file=str(tmp_path / "a")), clock, told.append)
    full = True
    write = os.write

    def some(fd: int, data: bytes) -> int:
        if not full:
            return write(fd, data)
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return write(fd, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", some)
    for n in range(5):
        log.note(ended(n))
        await clock.asleep.wait()
    full = False
    clock.go_on.set()
    await log.close()
    assert [line["operation"] for line in said(tmp_path / "a")] == list(range(5))
    hint = "up to 20000 lines are kept, and written when that is possible again"
    assert told == [AuditUnavailable("No space left on device", hint)]


async def test_what_cannot_be_kept_is_counted_and_the_count_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_LINES_MAX", 3)
    clock = Slept()
    log = AuditLog(AuditConfig(file=str(tmp_path / "later" / "a")), clock, lambda event: None)
    for n in range(10):
        log.note(ended(n))
    await clock.asleep.wait()
    (tmp_path / "later").mkdir()
    clock.go_on.set()
    await log.close()
    lines = said(tmp_path / "later" / "a")
    assert [line.get("operation") for line in lines] == [0, 1, 2, None]
    assert (lines[3]["event"], lines[3]["events"]) == ("audit_lost", 7)


@pytest.mark.parametrize("torn", [0, 10])
async def test_another_file_has_what_the_former_could_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: int
) -> None:
    clock = Slept()
    log = AuditLog(AuditConfig(file=str(tmp_path / "a")), clock, lambda event: None)
    write: Callable[[int, bytes], int] = os.write
    left = torn

    def none(fd: int, data: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(28, "No space left on device")
        taken, left = left, 0
        return write(fd, data[:taken])

    monkeypatch.setattr(os, "write", none)
    for n in range(3):
        log.note(ended(n))
    await clock.asleep.wait()
    monkeypatch.setattr(os, "write", write)
    log.reconfigure(AuditConfig(file=str(tmp_path / "b")))
    clock.go_on.set()
    await log.close()
    # a line that is half in the one file is whole in the other
    assert [line["operation"] for line in said(tmp_path / "b")] == [0, 1, 2]


async def test_without_a_configuration_nothing_is_kept(tmp_path: Path) -> None:
    log = AuditLog(None, FakeClock(), unexpected)
    log.note(FAILED)
    log.reconfigure(AuditConfig(file=str(tmp_path / "a")))
    log.note(FAILED)
    await log.close()
    assert len(said(tmp_path / "a")) == 1
    log.reconfigure(None)
    log.note(FAILED)
    await log.close()
    assert len(said(tmp_path / "a")) == 1


async def test_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    log = AuditLog(AuditConfig(file="-"), FakeClock(), unexpected)
    log.note(FAILED)
    await log.close()
    assert json.loads(capfd.readouterr().out)["event"] == "authentication_failed"
