"""The demo as a process of its own, as a user starts it, and what else these tests need from the machine."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HERE = Path(__file__).parent
READY_S = 60.0
STOP_S = 20.0


@dataclass
class DemoServer:
    """A running demo: where it is, and what it said."""

    url: str
    """Without a path: ``http://127.0.0.1:<port>``."""
    database_url: str
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @property
    def graphql(self) -> str:
        return f"{self.url}/graphql"

    @property
    def graphql_ws(self) -> str:
        return f"{self.url}/graphql".replace("http", "ws", 1)


def start_demo(data: Path, *, rate: float) -> DemoServer:
    process = subprocess.Popen(
        [sys.executable, "-m", "tycostream", "demo", "--port", "0", "--rate", str(rate), "--data", str(data)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    lines: list[str] = []
    ready = threading.Event()

    def read() -> None:
        assert process.stdout
        for line in process.stdout:  # to the end, so that the server never blocks on a full pipe
            lines.append(line.rstrip("\n"))
            if line.startswith("ready "):
                ready.set()
        process.stdout.close()
        ready.set()

    threading.Thread(target=read, daemon=True).start()
    ready.wait(READY_S)
    said = "\n".join(lines)
    url = re.search(r"^ready (http://[^/\s]+)/demo", said, re.MULTILINE)
    database = re.search(r"^database (.+)$", said, re.MULTILINE)
    if not url or not database:
        process.kill()
        process.wait()
        pytest.fail(f"the demo was not ready within {READY_S:.0f} s; it said:\n{said}")
    return DemoServer(url[1], database[1], process, lines)


def stop(server: DemoServer) -> int:
    """SIGTERM to the one process that was started; its exit code."""
    server.process.send_signal(signal.SIGTERM)
    try:
        return server.process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()
        tail = "\n".join(server.lines[-20:])
        pytest.fail(f"the demo did not stop within {STOP_S:.0f} s of SIGTERM; it said:\n{tail}")


@pytest.fixture(scope="session")
def demo_server() -> Iterator[DemoServer]:
    # Not tmp_path: pytest's folders are closed to the user that PostgreSQL runs as when we are root.
    with tempfile.TemporaryDirectory(
        prefix="tycostream-e2e-", dir="/var/tmp", ignore_cleanup_errors=True
    ) as name:
        Path(name).chmod(0o755)
        server = start_demo(Path(name) / "postgres", rate=50)
        yield server
        assert stop(server) == 0


@pytest.fixture(scope="session")
def node() -> str:
    found = shutil.which("node")
    if not found:
        pytest.skip("Node.js is not on PATH")
    if not (HERE / "node_modules" / "graphql-ws").is_dir():
        pytest.skip("the npm packages are not installed: run `make test-e2e`, or `npm ci` in tests/e2e")
    return found
