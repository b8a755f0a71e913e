"""Starts and stops what a measurement needs: the fake upstream, the server under test, the limit, the load client.

Everything is on 127.0.0.1, bounded in time, and stopped by the process it was started as. The server has core 0, the
tools have core 1. Linux only: CPU time and memory come from /proc.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
UPSTREAM_PORT, CONTROL_PORT, SERVER_PORT, LIMIT_PORT, LIMIT_CONTROL_PORT = 16875, 16876, 14000, 14001, 14002
SERVER_CORE, TOOLS_CORE = 0, 1
CORES = os.sched_getaffinity(
    0
)  # of this process as it began: a bench may have put itself on the tools' core since
Json = dict[str, Any]

_COLUMNS = "id symbol side price qty executed_at sent_ns"
_CHANGES = f"changes {{ operation row {{ {_COLUMNS} }} }}"
QUERIES = {
    "query": f"subscription {{ trades_changes {{ {_CHANGES} }} }}",
    "filtered": f"subscription($w: trades_bool_exp) {{ trades_changes(where: $w) {{ {_CHANGES} }} }}",
    "tail": f"subscription {{ trades_changes(snapshot: false) {{ {_CHANGES} }} }}",
    "live": f"subscription {{ trades(order_by: {{id: asc}}) {{ {_COLUMNS} }} }}",
}


@dataclass(frozen=True)
class Spec:
    """A server under test. ``queries``: see QUERIES; one that a server lacks makes its measurements impossible.

    ``ready``: a path that answers 200 once every source is loaded; absent: an open port will do.
    """

    name: str
    cmd: Sequence[str]
    url: str
    cwd: str = str(HERE)
    env: dict[str, str] = field(default_factory=dict)
    queries: dict[str, str] = field(default_factory=lambda: dict(QUERIES))
    ready: str | None = "/readyz"
    extra: Sequence[str] = ("--ns-key", "sent_ns", "--row-key", '"operation":')
    tree: bool = False
    version: Sequence[str] = ()

    @classmethod
    def own(cls) -> Spec:
        """The tycostream of this working tree."""
        serve = [sys.executable, "-m", "tycostream", "serve", "--config", "tycostream.yaml"]
        return cls(
            "tycostream",
            [*serve, "--port", str(SERVER_PORT)],
            f"ws://127.0.0.1:{SERVER_PORT}/graphql",
            version=[sys.executable, "-m", "tycostream", "--version"],
        )

    @classmethod
    def load(cls, path: str) -> Spec:
        """From a JSON file with these fields; relative paths in ``cmd`` and ``cwd`` are the file's own."""
        given = json.loads(Path(path).read_text())
        given.setdefault("name", Path(path).stem)
        given["cwd"] = str((Path(path).resolve().parent / given.get("cwd", ".")).resolve())
        return cls(**given)

    @property
    def port(self) -> int:
        """Where it listens."""
        return urlsplit(self.url).port or 80


@dataclass(frozen=True)
class Pace:
    """How long and how often: of one run, in seconds."""

    warmup: float = 2
    duration: float = 7
    repeats: int = 3


def on_core(core: int, pid: int = 0) -> None:
    """Keep a process (0: this one) on ``core``, if the machine lets us have it."""
    os.sched_setaffinity(pid, {core} & CORES or CORES)


def port_open(port: int) -> bool:
    """Whether somebody listens."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait_for(condition: Any, what: str, process: subprocess.Popen[Any], limit_s: float = 60) -> float:
    """Seconds until the condition holds; RuntimeError if the process ends or the time does."""
    begin = time.monotonic()
    while not condition():
        if process.poll() is not None:
            raise RuntimeError(f"{what} ended with {process.returncode}")
        if time.monotonic() - begin > limit_s:
            raise RuntimeError(f"{what} was not ready after {limit_s:.0f} s")
        time.sleep(0.005)
    return time.monotonic() - begin


def get_status(port: int, path: str) -> int:
    """The status of a GET; 0 if nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


class Process:
    """A process of ours, on one core; ends with the ``with`` block."""

    def __init__(self, cmd: Sequence[object], core: int, log: Path | None = None, **kwargs: Any) -> None:
        out: Any = log.open("w") if log else subprocess.DEVNULL
        self.process = subprocess.Popen(
            [str(part) for part in cmd], stdout=out, stderr=subprocess.STDOUT, **kwargs
        )
        if log:
            out.close()
        on_core(core, self.process.pid)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not listen."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(8)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(8)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Fake(Process):
    """fakemz, whose `trades` has ``rows`` rows. Nothing changes before a ``rate`` command."""

    def __init__(
        self,
        rows: int = 1000,
        seed: int = 1,
        port: int = UPSTREAM_PORT,
        control_port: int = CONTROL_PORT,
        **options: object,
    ) -> None:
        cmd = ["./fakemz", "--port", port, "--ctl-port", control_port, "--quiet", "--rows", rows]
        super().__init__([*cmd, "--seed", seed, *flags(options)], TOOLS_CORE, cwd=HERE)
        wait_for(lambda: port_open(control_port), "fakemz", self.process)

    def stats(self) -> Json:
        """What it has sent."""
        return control("stats")


class Limit(Process):
    """The limit program; ``size``: bytes of a message."""

    def __init__(self, size: int, batch_ms: int) -> None:
        cmd = ["./limit", "--port", LIMIT_PORT, "--ctl-port", LIMIT_CONTROL_PORT]
        super().__init__([*cmd, "--size", size, "--batch-ms", batch_ms], SERVER_CORE, cwd=HERE)
        wait_for(lambda: port_open(LIMIT_CONTROL_PORT), "limit", self.process)


class Server(Process):
    """The server under test, loaded; ``ready_s`` says how long that took."""

    def __init__(self, spec: Spec, wait: bool = True) -> None:
        if port_open(spec.port):
            raise RuntimeError(f"port {spec.port} is taken: another run?")
        log = HERE / "results" / f"{spec.name}.log"
        log.parent.mkdir(exist_ok=True)
        self.spec, begin = spec, time.monotonic()
        super().__init__(spec.cmd, SERVER_CORE, log, cwd=spec.cwd, env={**os.environ, **spec.env})
        self.ready_s = 0.0
        if wait:
            try:
                wait_for(self.ready, f"the server (see {log.relative_to(HERE)})", self.process, 180)
            except RuntimeError:
                self.stop()
                raise
            self.ready_s = time.monotonic() - begin

    def ready(self) -> bool:
        """Whether it has loaded what it serves."""
        spec = self.spec
        return get_status(spec.port, spec.ready) == 200 if spec.ready else port_open(spec.port)

    def rss_kb(self) -> int:
        """Resident memory, without children."""
        return (
            int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
        )

    def cpu_s(self) -> float:
        """CPU time of all its threads, user and system, in seconds."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def control(command: str, port: int = CONTROL_PORT) -> Json:
    """Tell fakemz something; its answer to ``stats``, {} for other commands."""
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(command.encode() + b"\n")
        answer = sock.makefile().readline()
    return json.loads(answer) if answer.startswith("{") else {}


def flags(options: Json) -> list[str]:
    """``--name value`` of every option; ``--name`` alone of one that is True."""
    out: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        out += [flag] if value is True else [flag, str(value)]
    return out


def load_command(
    server: Process, url: str, query: str, control_port: int, spec: Spec, options: Json
) -> list[str]:
    """The command line of one load client."""
    cmd = ["./load", "--url", url, "--query", query, "--pid", str(server.pid)]
    cmd += ["--ctl", f"127.0.0.1:{control_port}", *spec.extra, *(["--tree"] if spec.tree else [])]
    return [*cmd, *flags({"quiet_ms": 400, "drain": 2, "ready_cmd": "stats", **options})]


def load(server: Server, query: str = "query", *, timeout_s: float = 300, **options: object) -> Json:
    """Run the load client against the server and wait for its report."""
    spec = server.spec
    cmd = load_command(server, spec.url, spec.queries[query], CONTROL_PORT, spec, options)
    return finish(start_load(cmd), timeout_s)


def load_limit(limit: Limit, spec: Spec, **options: object) -> Json:
    """The same against the limit."""
    url = f"ws://127.0.0.1:{LIMIT_PORT}/graphql"
    cmd = load_command(limit, url, "subscription { x }", LIMIT_CONTROL_PORT, spec, options)
    return finish(start_load(cmd), 300)


def start_load(cmd: Sequence[str]) -> subprocess.Popen[str]:
    """A load client that runs beside others."""
    process = subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HERE)
    on_core(TOOLS_CORE, process.pid)
    return process


def finish(process: subprocess.Popen[str], timeout_s: float) -> Json:
    """The report of a load client. RuntimeError if clients were lost: such a figure says nothing."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise RuntimeError("the load client did not end in time") from None
    except BaseException:
        process.kill()
        raise
    if not out.strip():
        raise RuntimeError(f"load: {err[-500:]}")
    report: Json = json.loads(out)
    if report["dead"] or report["errors"] or report["ready_timeout"]:
        what = {k: report.get(k) for k in ("dead", "errors", "ready_timeout", "error_sample", "close_sample")}
        raise RuntimeError(f"not a clean run: {what}")
    return report


def save(spec: Spec, kind: str, record: Json) -> None:
    """Append to results/<server>.jsonl."""
    path = HERE / "results" / f"{spec.name}.jsonl"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as lines:
        lines.write(json.dumps({"kind": kind, "at": time.strftime("%Y-%m-%dT%H:%M:%S"), **record}) + "\n")


def median(values: Sequence[float]) -> float:
    """Of what was measured."""
    return statistics.median(values)


@contextlib.contextmanager
def sigterm_unwinds() -> Iterator[None]:
    """SIGTERM ends the ``with`` blocks, which stop what was started."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
