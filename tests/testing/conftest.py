"""A fake Materialize and a fake RisingWave whose time a test moves; a certificate."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.testing.feed import MovedClock
from tycostream.testing.materialize import FakeMaterialize
from tycostream.testing.risingwave import FakeRisingWave


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
async def fake(clock: MovedClock) -> AsyncIterator[FakeMaterialize]:
    made = FakeMaterialize(now_ms=clock, progress_s=None)
    made.create_table("t", {"id": "integer", "name": "text"}, key=("id",))
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def rw(clock: MovedClock) -> AsyncIterator[FakeRisingWave]:
    """A fake RisingWave with a table ``t`` and a subscription ``s``; a second of a timeout lasts a tenth."""
    made = FakeRisingWave(now_ms=clock, checkpoint_s=None, second_s=0.1)
    made.create_table("t", {"id": "integer", "name": "text"}, key=("id",))
    made.create_subscription("s", "t")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's context and the file of the certificate that it signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"
