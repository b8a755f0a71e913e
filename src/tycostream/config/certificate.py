"""A server's certificate with its key: read, looked at, and made into what serves TLS."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from tycostream.config.door import TlsConfig, TlsVersion

_VERSIONS: Final = {TlsVersion.V1_2: ssl.TLSVersion.TLSv1_2, TlsVersion.V1_3: ssl.TLSVersion.TLSv1_3}
# With TLS 1.2 only what keeps its secret when the key is stolen later; 1.3 has nothing else.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


class Misfit(ValueError):
    """Why a certificate cannot be served: ``setting`` is at fault, ``cert`` or ``key``. No text of either is told."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(message)
        self.setting = setting


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says of itself. Times are seconds since 1970."""

    names: tuple[str, ...]
    from_s: float
    until_s: float


def served_context(tls: TlsConfig) -> tuple[ssl.SSLContext, Certificate]:
    """What serves ``tls``, and its certificate; Misfit if it cannot be served. Whether its time has come is not asked."""
    leaf = _leaf(tls.cert)
    _check_key(tls.key, leaf)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    with _as_file(tls.cert) as cert, _as_file(tls.key) as key:
        try:
            context.load_cert_chain(cert, key, password=lambda: "")
        except ssl.SSLError as error:
            raise Misfit("cert", f"is not taken by OpenSSL: {error.reason or error}") from None
    return context, Certificate(
        _names(leaf), leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    )


def minimum_version(tls: TlsConfig) -> ssl.TLSVersion:
    """The oldest TLS that is spoken."""
    return _VERSIONS[tls.min_version]


def _leaf(pem: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(pem.encode())[0]
    except ValueError:
        raise Misfit("cert", "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from None


def _check_key(pem: str, leaf: x509.Certificate) -> None:
    try:
        key = load_pem_private_key(pem.encode(), None)
    except TypeError:
        said = "is encrypted, and nobody is there to type its passphrase; write it without: `openssl pkey -in … -out …`"
        raise Misfit("key", said) from None
    except (ValueError, UnsupportedAlgorithm):
        raise Misfit("key", "holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)") from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise Misfit("key", "is not the key of the first certificate in `cert`")


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (leaf.subject.rfc4514_string(),)
    addresses = found.get_values_for_type(x509.IPAddress)
    return (*found.get_values_for_type(x509.DNSName), *map(str, addresses))


@contextmanager
def _as_file(text: str) -> Iterator[str]:
    """A path at which OpenSSL reads ``text``, for it reads files only: in memory where there is such a thing."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("tycostream", os.MFD_CLOEXEC)
        try:
            os.write(number, text.encode())
            yield f"/proc/self/fd/{number}"
        finally:
            os.close(number)
        return
    with tempfile.TemporaryDirectory() as folder:  # whose files nobody else may read
        path = os.path.join(folder, "pem")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        yield path
