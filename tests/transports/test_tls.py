"""TLS on the port: handshakes, a certificate renewed under open connections, and ones that cannot be served."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvloop
import websockets
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.certificates import Authority
from tests.test_container_files import healthcheck
from tests.transports.test_port import ITEMS, PROTOCOL, Port, init, serving, subscribe
from tycostream.cli.reloading import KEPT
from tycostream.config.door import TlsConfig
from tycostream.config.load import loads
from tycostream.errors import ConfigError, TycoError
from tycostream.observe.events import CertificateExpires, CertificateServed, Event, RequestRefused
from tycostream.testing.clock import FakeClock
from tycostream.testing.scripted import ScriptedEngine
from tycostream.transports.tls import TlsPort

DAY = timedelta(days=1)
YAML = """
databases: {main: {url: host=scripted}}
sources: {items: {}}
server: {port: 0, header_timeout: 2s, tls: {cert: %s, key: %s, min_version: %s}}
"""


class Files:
    """Where a certificate lies, and the authority that signs the next."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder, "ours")
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self.renew()

    def renew(self, life: timedelta = 90 * DAY) -> None:
        cert, key = self.authority.pair("127.0.0.1", life)
        self.cert.write_text(cert)
        self.key.write_text(key)

    def config(self) -> TlsConfig:
        return TlsConfig(cert=str(self.cert), key=str(self.key))

    def yaml(self, min_version: str = "1.2") -> str:
        return YAML % (self.cert, self.key, min_version)

    @property
    def serial(self) -> int:
        return x509.load_pem_x509_certificate(self.cert.read_bytes()).serial_number


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@contextlib.asynccontextmanager
async def served(files: Files, monkeypatch: pytest.MonkeyPatch, **more: str) -> AsyncIterator[Port]:
    engine = ScriptedEngine([ITEMS])
    engine.tables["items"] = [(n, f"name {n}") for n in range(3)]
    async with serving(engine, monkeypatch, files.yaml(**more)) as port:
        port.ws = port.url.replace("https", "wss") + "/graphql"
        yield port


@pytest.fixture
async def port(files: Files, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Port]:
    async with served(files, monkeypatch) as port:
        yield port


async def shown(url: str, context: ssl.SSLContext) -> int:
    """The serial number of the certificate that a new connection is shown."""
    host, number = url.removeprefix("https://").split(":")
    _, writer = await asyncio.open_connection(host, int(number), ssl=context)
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() in (None, "http/1.1")
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()
    return x509.load_der_x509_certificate(found).serial_number


async def test_requests_and_sockets_over_tls(port: Port, files: Files) -> None:
    assert port.url.startswith("https://127.0.0.1:")
    trusting = files.authority.trusting()
    async with httpx2.AsyncClient(verify=trusting, base_url=port.url) as client:
        answer = await client.post("/graphql", json={"query": "{items_by_pk(id: 1) {name}}"})
        assert answer.json() == {"data": {"items_by_pk": {"name": "name 1"}}}
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        page = await client.get("/graphql", headers={"accept": "text/html"})
        assert "strict-transport-security" in page.headers
        ours = {"origin": port.url}
        assert (
            await client.post("/graphql", json={"query": "{items {id}}"}, headers=ours)
        ).status_code == 200
        plain = {"origin": port.url.replace("https", "http")}
        assert (
            await client.post("/graphql", json={"query": "{items {id}}"}, headers=plain)
        ).status_code == 403
    with pytest.raises(websockets.InvalidStatus, match="403"):
        await websockets.connect(
            port.ws,
            subprotocols=PROTOCOL,
            ssl=trusting,
            origin=plain["origin"],  # type: ignore[arg-type]
        )
    async with websockets.connect(port.ws, subprotocols=PROTOCOL, ssl=trusting) as ws:
        await init(ws)
        await ws.send(subscribe("{items_by_pk(id: 2) {name}}"))
        assert json.loads(await ws.recv())["payload"] == {"data": {"items_by_pk": {"name": "name 2"}}}


async def test_a_renewed_certificate_disturbs_no_connection(port: Port, files: Files) -> None:
    trusting = files.authority.trusting()
    first = files.serial
    assert await shown(port.url, trusting) == first
    async with websockets.connect(port.ws, subprotocols=PROTOCOL, ssl=trusting) as ws:
        await init(ws)
        await ws.send(subscribe("subscription {items(where: {id: {_eq: 0}}) {name}}"))
        await ws.recv()
        files.renew()
        config = loads(files.yaml(), environ={})
        changes = await port.app.reload(config)
        assert set(changes.settings) == {"server.tls.cert", "server.tls.key"}
        assert not changes.restart
        port.server.renew(port.app.config.server)
        assert files.serial != first
        assert await shown(port.url, trusting) == files.serial
        port.engine.commit({"items": [((0, "name 0"), (0, "zero"))]})
        assert json.loads(await ws.recv())["payload"] == {"data": {"items": [{"name": "zero"}]}}
    told = [event for event in port.events if isinstance(event, CertificateServed)]
    assert told == [CertificateServed("127.0.0.1", 89)] * 2


async def test_a_client_that_names_no_host_gets_the_renewed_one_too(port: Port, files: Files) -> None:
    files.renew()
    port.server.renew(loads(files.yaml(), environ={}).server)
    nameless = files.authority.trusting()
    nameless.check_hostname = False
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port.url.rsplit(":")[-1]))
    del reader
    await writer.start_tls(nameless, server_hostname="")
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    assert x509.load_der_x509_certificate(found).serial_number == files.serial
    writer.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_from_before_is_resumed(port: Port, files: Files, version: ssl.TLSVersion) -> None:
    """As browsers do it: the renewed certificate does not even cost them a whole handshake."""
    trusting = files.authority.trusting()
    trusting.maximum_version = trusting.minimum_version = version
    address = ("127.0.0.1", int(port.url.rsplit(":")[-1]))

    def visit(session: ssl.SSLSession | None) -> tuple[bool | None, ssl.SSLSession | None]:
        with (
            socket.create_connection(address, 10) as plain,
            trusting.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as secured,
        ):
            secured.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert secured.recv(100).startswith(b"HTTP/1.1 200")
            return secured.session_reused, secured.session

    reused, session = await asyncio.to_thread(visit, None)
    assert not reused
    files.renew()
    port.server.renew(loads(files.yaml(), environ={}).server)
    reused, _ = await asyncio.to_thread(visit, session)
    assert reused


async def test_old_versions_are_not_spoken(port: Port, files: Files) -> None:
    old = files.authority.trusting()
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await shown(port.url, old) == files.serial
    port.server.renew(loads(files.yaml("1.3"), environ={}).server)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await shown(port.url, old)
    assert await shown(port.url, files.authority.trusting()) == files.serial


async def test_what_is_no_tls_is_refused_quietly(port: Port, caplog: pytest.LogCaptureFixture) -> None:
    for said in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01", b"\0" * 1000):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port.url.rsplit(":")[-1]))
        writer.write(said)
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in await asyncio.wait_for(reader.read(), 10)  # ends: a handshake has its time
        writer.close()
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []
    assert not [event for event in port.events if isinstance(event, RequestRefused)]


async def test_the_containers_healthcheck_asks_over_tls_too(port: Port) -> None:
    number = port.url.rsplit(":")[-1]
    for environ, alive in (({"TYCO_PORT": number}, True), ({"TYCO_PORT": "1"}, False)):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", healthcheck()), env={**os.environ, **environ}, stderr=subprocess.DEVNULL
        )
        assert (await process.wait() == 0) is alive


def test_over_uvloop_too(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    async def both() -> None:
        async with served(files, monkeypatch) as port:
            await test_requests_and_sockets_over_tls(port, files)
            await test_a_renewed_certificate_disturbs_no_connection(port, files)

    uvloop.run(both())


async def test_a_process_takes_on_a_renewed_certificate_on_sighup(files: Files, tmp_path: Path) -> None:
    config = tmp_path / "tycostream.yaml"
    text = files.yaml().replace("host=scripted", "host=127.0.0.1 port=1 user=x")
    config.write_text(text.replace("header_timeout: 2s", "header_timeout: 1m"))
    arguments = ("-m", "tycostream", "serve", "--config", str(config))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None

    async def line(stream: asyncio.StreamReader, start: str) -> str:
        async with asyncio.timeout(30):
            while not (said := (await stream.readline()).decode()).startswith(start):
                assert said
        return said.strip()

    try:
        url = (await line(process.stdout, "listening ")).removeprefix("listening ")
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(url.rsplit(":")[-1]), ssl=files.authority.trusting()
        )
        first = files.serial
        assert await shown(url, files.authority.trusting()) == first
        files.renew()
        process.send_signal(signal.SIGHUP)
        assert await line(process.stdout, "~ server.tls.cert") == "~ server.tls.cert"
        await line(process.stdout, "reloaded in ")
        renewed = files.serial
        assert await shown(url, files.authority.trusting()) == renewed != first
        good = files.key.read_text()
        files.key.write_text("nonsense")
        process.send_signal(signal.SIGHUP)
        await line(process.stderr, str(config))
        assert await line(process.stderr, KEPT) == KEPT
        assert await shown(url, files.authority.trusting()) == renewed
        files.key.write_text(good)
        files.renew(timedelta(minutes=-1))
        process.send_signal(signal.SIGHUP)
        said = await line(
            process.stderr, "the certificate of server.tls for 127.0.0.1 has expired less than a day"
        )
        assert said.endswith("ago")
        assert await line(process.stderr, KEPT) == KEPT
        assert await shown(url, files.authority.trusting()) == renewed
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")  # that of before is still there
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
    finally:
        process.terminate()
        await process.communicate()
    assert process.returncode == 0


# what cannot be served


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loads(text, "t.yaml", {})
    (found,) = caught.value.problems
    return str(found)


def test_mistakes_have_their_place(files: Files, tmp_path: Path) -> None:
    cert, key = files.cert.read_text(), files.key.read_text()
    _, other = files.authority.pair("127.0.0.1")
    private: Any = serialization.load_pem_private_key(key.encode(), None)
    locked = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    ).decode()
    for certificate, its_key, expected in (
        ("nonsense", key, "server.tls.cert: holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"),
        (cert, "nonsense", "server.tls.key: holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)"),
        (cert, cert, "server.tls.key: holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)"),
        (cert, other, "server.tls.key: is not the key of the first certificate in `cert`"),
        (
            cert,
            locked,
            "server.tls.key: is encrypted, and nobody is there to type its passphrase; write it without: "
            "`openssl pkey -in … -out …`",
        ),
        (cert.replace("A", "B", 40), key, "server.tls.cert: holds no certificate in PEM form"),
    ):
        files.cert.write_text(certificate)
        files.key.write_text(its_key)
        found = problem(files.yaml())
        assert expected in found
        assert "nonsense" not in found
    missing = problem(YAML % (tmp_path / "none.pem", files.key, "1.2"))
    assert "server.tls.cert: the file cannot be read: No such file or directory" in missing
    files.cert.write_text(cert)
    files.key.write_text(key)
    assert "server.tls.min_version: must be one of 1.2, 1.3, not '1.1'" in problem(files.yaml("1.1"))
    assert problem(YAML.replace(", key: %s", "") % (files.cert, "1.2")).endswith("server.tls.key: is missing")


def test_one_file_may_hold_both(files: Files) -> None:
    both = files.cert.read_text() + files.key.read_text()
    files.cert.write_text(both)
    assert loads(YAML % (files.cert, files.cert, "1.3"), environ={}).server.tls is not None


def test_no_secret_is_shown(files: Files) -> None:
    config = loads(files.yaml(), environ={})
    assert "PRIVATE" not in repr(config)
    assert "CERTIFICATE" not in repr(config.server)


class At(FakeClock):
    """The time of day, from now on in the test's hands."""

    def __init__(self, files: Files) -> None:
        super().__init__()
        self.now_s = files.authority.now.timestamp()


def test_an_expired_one_is_refused_and_the_one_in_force_stays(files: Files) -> None:
    clock, events = At(files), list[Event]()
    port = TlsPort(files.config(), clock, events.append)
    files.renew(timedelta(seconds=60))
    clock.advance(2.5 * DAY.total_seconds())
    with pytest.raises(TycoError) as caught:
        port.renew(files.config())
    assert caught.value.code == "tls-certificate"
    assert caught.value.message == "the certificate of server.tls for 127.0.0.1 has expired 2 days ago"
    assert caught.value.hint == "no client takes it; renew it, and name the new one in server.tls"
    clock.now_s -= 3 * DAY.total_seconds()
    with pytest.raises(TycoError, match="is not valid yet, for less than a day more"):
        port.prepared(files.config())
    assert [type(event) for event in events] == [CertificateServed]
    with pytest.raises(TycoError, match=r"the key of server\.tls is not the key of the first certificate"):
        port.renew(
            TlsConfig(cert=str(files.cert), key=str(Files(files.cert.parent).key)).model_copy(
                update={"cert": files.authority.pair("127.0.0.1")[0]}
            )
        )
    port.close()


def test_the_days_that_are_left_are_told_once_a_day_and_at_the_end(files: Files) -> None:
    clock, events = At(files), list[Event]()
    files.renew(90 * DAY)
    port = TlsPort(files.config(), clock, events.append)
    assert [event for event in events if isinstance(event, CertificateExpires)] == []
    clock.advance(68.9 * DAY.total_seconds())
    assert [event for event in events if isinstance(event, CertificateExpires)] == []
    clock.advance(0.2 * DAY.total_seconds())
    assert events[1:] == [CertificateExpires("127.0.0.1", 21, expired=False)]
    clock.advance(20.8 * DAY.total_seconds())
    days = [event.days_left for event in events if isinstance(event, CertificateExpires)]
    assert days == [*range(21, 0, -1)]
    clock.advance(0.1 * DAY.total_seconds())
    assert events[-1] == CertificateExpires("127.0.0.1", 0, expired=True)
    clock.advance(DAY.total_seconds())
    assert events[-1] == CertificateExpires("127.0.0.1", -1, expired=True)
    files.renew(900 * DAY)  # of now by the machine: the fake time is 91 days on
    port.renew(files.config())
    before = len(events)
    clock.advance(30 * DAY.total_seconds())
    assert len(events) == before
    port.close()


def test_a_short_lived_one_is_not_always_about_to_expire(files: Files) -> None:
    clock, events = At(files), list[Event]()
    files.renew(6 * DAY)
    port = TlsPort(files.config(), clock, events.append)
    clock.advance(3.9 * DAY.total_seconds())
    assert [type(event) for event in events] == [CertificateServed]
    clock.advance(0.2 * DAY.total_seconds())
    assert isinstance(events[-1], CertificateExpires)
    port.close()


def test_serving_or_not_serving_tls_takes_a_restart(files: Files) -> None:
    from tycostream.config.reload import applicable, compare, report

    with_tls = loads(files.yaml(), environ={})
    without = with_tls.model_copy(update={"server": with_tls.server.model_copy(update={"tls": None})})
    changes = compare(without, with_tls)
    assert changes.restart == ("server.tls",)
    assert report(changes) == ["! server.tls; needs a restart"]
    assert applicable(without, with_tls).server.tls is None
    files.renew()
    renewed = loads(files.yaml(), environ={})
    assert report(compare(with_tls, renewed)) == ["~ server.tls.cert", "~ server.tls.key"]
    assert applicable(with_tls, renewed).server.tls == renewed.server.tls
