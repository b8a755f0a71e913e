"""The audit log: who came, who was let in, what was refused and what was read; a line of JSON each, in a file of its own.

It hears the same events as the log. Nobody waits for the disk: lines are kept until a thread has written them, and the
rest of them again after a disk was full. What exceeds the bound meanwhile is counted, and the count is a line as soon
as one can be written: a gap is never silent.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections import deque
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from tycostream.clock import Clock
from tycostream.config.audit import AuditConfig
from tycostream.observe.events import (
    AuditUnavailable,
    Authenticated,
    AuthenticationFailed,
    ConnectionClosed,
    ConnectionOpened,
    Emit,
    Event,
    OperationEnded,
    OperationRefused,
    OperationStarted,
    RequestRefused,
    SessionsRevoked,
    TokenRevoked,
    event_name,
)

_OPERATIONS: Final = (OperationStarted, OperationEnded)
_AUDITED: Final = (
    ConnectionOpened,
    ConnectionClosed,
    Authenticated,
    AuthenticationFailed,
    RequestRefused,
    OperationRefused,
    TokenRevoked,
    SessionsRevoked,
    *_OPERATIONS,
)
_LINES_MAX: Final = 20_000  # kept while the disk is full or slow: some 8 MB
_BATCH: Final = 1_000
_AGAIN_S: Final = 1.0  # after a write that failed
_CLOSE_S: Final = 5.0
_TEXT_MAX: Final = 200  # of what a client may choose the length of
_STDOUT: Final = "-"


class AuditFile:
    """Lines added to a file, by a thread; opened when the first is there. ``-`` is standard output.

    A file that was renamed or removed meanwhile is made anew, as logrotate wants it: no signal is needed.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd: int | None = None
        self._pending = b""
        self._done = 0  # bytes of it that are in the file

    def write(self, lines: bytes) -> None:
        """Add what is pending, or ``lines`` if nothing is. OSError: what is left is pending."""
        self._pending = self._pending or lines
        fd = self._open()
        while self._done < len(self._pending):
            self._done += os.write(fd, self._pending[self._done :])
        self._pending, self._done = b"", 0

    @property
    def pending(self) -> bytes:
        """The lines that are not in the file, or not wholly."""
        return self._pending[self._pending.rfind(b"\n", 0, self._done) + 1 :]

    def _open(self) -> int:
        if self.path == _STDOUT:
            return 1
        if self._fd is not None and self._moved(self._fd):
            self.close()
        if self._fd is None:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._fd

    def _moved(self, fd: int) -> bool:
        ours = os.fstat(fd)
        if not stat.S_ISREG(ours.st_mode):
            return False
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return True
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def close(self) -> None:
        """Nothing is written any more."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class AuditLog:
    """An Emit (``note``) that writes, in one event loop. ``close`` writes what is left.

    ``tell`` hears AuditUnavailable when lines cannot be written: once, until they can be again.
    """

    def __init__(self, config: AuditConfig | None, clock: Clock, tell: Emit) -> None:
        self._clock = clock
        self._tell = tell
        self._config = config
        self._file: AuditFile | None = None
        self._lines: deque[bytes] = deque()
        self._lost = 0
        self._failing = False
        self._writing: asyncio.Task[None] | None = None

    def reconfigure(self, config: AuditConfig | None) -> None:
        """Write elsewhere from now on, or not at all. What is not written yet goes there too."""
        if config != self._config:
            self._config = config
            self._wake()

    def note(self, event: Event) -> None:
        """See Emit."""
        config = self._config
        if config is None or not isinstance(event, _AUDITED):
            return
        if config.operations or not isinstance(event, _OPERATIONS):
            self._add(event_name(event), asdict(event))

    def _add(self, name: str, said: dict[str, Any]) -> None:
        if len(self._lines) >= _LINES_MAX:
            self._lost += 1
            return
        time = datetime.fromtimestamp(self._clock.time(), UTC).isoformat(timespec="microseconds")
        line = {"time": time.replace("+00:00", "Z"), "event": name, **_short(said)}
        self._lines.append(msgspec.json.encode(line) + b"\n")
        self._wake()

    def _wake(self) -> None:
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write(), name="audit log")

    async def _write(self) -> None:
        # the only place that touches files, one at a time: none is closed while a thread writes to it
        try:
            while await self._step():
                pass
        finally:
            self._writing = None

    async def _step(self) -> bool:
        """One batch, to the file of now; whether there is more to do."""
        file, config = self._file, self._config
        if file is not None and (config is None or config.file != file.path):
            self._lines.extendleft(reversed(file.pending.splitlines(keepends=True)))
            await asyncio.to_thread(file.close)
            self._file = None
            return True
        if config is None:
            self._lines.clear()
            return False
        if file is None:
            file = self._file = AuditFile(config.file)
        taken = 0 if file.pending else min(len(self._lines), _BATCH)
        batch = [self._lines.popleft() for _ in range(taken)]
        try:
            await asyncio.to_thread(file.write, b"".join(batch))
        except OSError as error:
            self._failed(error)
            await self._clock.sleep(_AGAIN_S)
            return True
        self._written()
        return bool(self._lines) or self._file is not file or self._config is not config

    def _failed(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            hint = f"up to {_LINES_MAX} lines are kept, and written when that is possible again"
            self._tell(AuditUnavailable(error.strerror or type(error).__name__, hint))

    def _written(self) -> None:
        self._failing = False
        if self._lost:
            lost, self._lost = self._lost, 0
            self._add("audit_lost", {"events": lost})

    async def close(self) -> None:
        """Write what is left, if that takes no longer than a few seconds."""
        late: set[asyncio.Task[None]] = set()
        if self._writing is not None:
            _, late = await asyncio.wait([self._writing], timeout=_CLOSE_S)
        for task in late:  # a thread that hangs in a write is left to it, with its file
            task.cancel()
            await asyncio.wait([task])
        if self._file is not None and not late:
            self._file.close()


def _short(said: dict[str, Any]) -> dict[str, Any]:
    said |= said.pop("asked", {})
    return {
        key: f"{value[:_TEXT_MAX]}…" if isinstance(value, str) and len(value) > _TEXT_MAX else value
        for key, value in said.items()
        if value not in ("", None)
    }
