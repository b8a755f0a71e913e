"""TLS to a real PostgreSQL, and what libpq reads in files: certificates, passwords, services."""

from __future__ import annotations

import os
import pwd
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from tests.certificates import Authority
from tests.engines.stream_contract import Follower
from tests.engines.test_postgres import engine_of, source
from tests.engines.test_postgres_servers import folder
from tycostream.engines.embedded import EmbeddedPostgres
from tycostream.errors import Action, UpstreamError

__all__ = ["folder"]  # fixtures


def with_tls() -> Path:
    """The wheel's server is built without OpenSSL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: place.parent.name)
    if not found:
        pytest.skip("no PostgreSQL with TLS is installed (Debian: apt-get install postgresql)")
    return found[-1]


class Secured:
    """A server that takes TLS connections only."""

    def __init__(self, server: EmbeddedPostgres, authority: Authority, place: Path) -> None:
        self.server, self.authority, self.place = server, authority, place
        self.login = psycopg.conninfo.conninfo_to_dict(server.url)

    def url(self, password: str = "", host: str = "127.0.0.1", **query: str | Path) -> str:
        options = {"sslmode": "verify-full", "sslrootcert": self.authority.file, **query}
        asked = "&".join(f"{name}={value}" for name, value in options.items())
        secret = f":{password}" if password else ""
        return f"postgresql://postgres{secret}@{host}:{self.server.port}/tycostream?{asked}"

    @property
    def password(self) -> str:
        return str(self.login["password"])


@pytest.fixture
async def secured(folder: Path) -> AsyncIterator[Secured]:
    binaries = with_tls()
    (folder / "keys").mkdir(mode=0o755)
    authority = Authority(folder / "keys", "ours")
    certificate = authority.certificate("127.0.0.1")
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(certificate, owner.pw_uid, owner.pw_gid)
    certificate.chmod(0o600)
    hba = folder / "pg_hba.conf"
    settings = {
        "ssl": "on",
        "ssl_cert_file": str(certificate),
        "ssl_key_file": str(certificate),
        "fsync": "off",
    }
    server = EmbeddedPostgres(folder / "data", settings=settings, binaries=binaries)
    try:
        await server.start()
        async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as db:
            hba.write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
            await db.execute(f"ALTER SYSTEM SET hba_file = '{hba}'")
            await db.execute("CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1)")
        await server.stop()
        # its own start asks without TLS, so what is left is started as it is, and asked with it
        server = _Quiet(folder / "data", settings=settings, binaries=binaries)
        await server.start()
        yield Secured(server, authority, folder)
    finally:
        await server.stop()


class _Quiet(EmbeddedPostgres):
    """A server whose database is there."""

    async def _ensure_database(self, password: str) -> str:
        return f"postgresql://postgres:{password}@127.0.0.1:{self.port}/{self.database}"


async def refused(url: str) -> UpstreamError:
    engine = engine_of(url)
    with pytest.raises(UpstreamError) as caught:
        await engine.open()
    await engine.close()
    return caught.value


async def test_a_stream_over_verified_tls_with_scram(secured: Secured) -> None:
    url = secured.url(secured.password)
    engine = engine_of(url)
    row_type = await engine.describe(source("a"))
    f = Follower(await engine.open(), row_type)
    await f.stream.add(row_type, source("a"))
    await f.until(lambda: bool(f.progress))
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        ours = await (
            await db.execute(
                "SELECT count(*), bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)"
                " WHERE application_name = 'tycostream'"
            )
        ).fetchone()
        assert ours is not None
        assert ours[0] >= 1
        assert ours[1] is True
        method = await (
            await db.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'")
        ).fetchone()
        assert str(method).startswith("('SCRAM-SHA-256$")
        await db.execute("INSERT INTO a VALUES (2)")
    await f.until(lambda: set(f.rows["a"]) == {1, 2})
    await engine.close()


async def test_what_cannot_be_verified_is_refused_and_no_password_is_told(secured: Secured) -> None:
    (secured.place / "foreign").mkdir()
    foreign = Authority(secured.place / "foreign", "theirs")
    for url, said in [
        (secured.url(secured.password, sslrootcert=foreign.file), "certificate verify failed"),
        (secured.url(secured.password, host="localhost", hostaddr="127.0.0.1"), "does not match host name"),
        (secured.url(secured.password, sslmode="disable", sslrootcert=""), "no pg_hba.conf entry"),
        (secured.url("wrong-secret"), "password authentication failed"),
    ]:
        error = await refused(url)
        assert said in error.detail
        for secret in (secured.password, "wrong-secret"):
            assert secret not in str(error)
    assert (error.code, error.action) == ("auth", Action.FAIL)


async def test_a_password_file_and_a_service_file(secured: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    passfile = secured.place / "pass"
    passfile.write_text(f"127.0.0.1:{secured.server.port}:*:postgres:{secured.password}\n")
    passfile.chmod(0o600)
    engine = engine_of(secured.url(passfile=passfile))
    await engine.probe()
    await engine.close()
    services = secured.place / "services"
    services.write_text(
        f"[shop]\nhost=127.0.0.1\nport={secured.server.port}\ndbname=tycostream\nuser=postgres\n"
        f"sslmode=verify-full\nsslrootcert={secured.authority.file}\npassfile={passfile}\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    engine = engine_of("service=shop")
    row_type = await engine.describe(source("a"))
    f = Follower(await engine.open(), row_type)
    await f.stream.add(row_type, source("a"))
    await f.until(lambda: set(f.rows["a"]) == {1})
    await engine.close()
    services.write_text(services.read_text().replace("user=postgres", "user=nobody"))
    error = await refused("service=shop")
    assert error.message == "service shop refused the login"
