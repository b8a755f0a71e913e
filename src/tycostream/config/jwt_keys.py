"""Keys that verify tokens, each bound to its algorithms: a public key never passes for a secret, nor one curve for another."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
_RSA_BITS_MIN: Final = 2048
_RSA_BITS_MAX: Final = 8192  # verification takes time
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES: Final = {SECP256R1.name: "ES256", SECP384R1.name: "ES384", SECP521R1.name: "ES512"}


def algorithms_of(key: object) -> tuple[str, ...]:
    """The algorithms that a public key can verify; ValueError if it is none that we take."""
    if isinstance(key, RSAPublicKey):
        if not _RSA_BITS_MIN <= key.key_size <= _RSA_BITS_MAX:
            raise ValueError(
                f"is an RSA key of {key.key_size} bits; {_RSA_BITS_MIN} to {_RSA_BITS_MAX} are taken"
            )
        return _RSA
    if isinstance(key, EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            raise ValueError(f"is a key on the curve {key.curve.name}; {', '.join(_CURVES)} are taken")
        return (_CURVES[key.curve.name],)
    if isinstance(key, Ed25519PublicKey):
        return ("EdDSA",)
    raise ValueError("is a key of a kind that is not taken: RSA, EC and Ed25519 are")


def fixed_key(algorithm: str, text: str) -> bytes | PublicKey:
    """The key of an issuer as the configuration has it; ValueError says why it is none for ``algorithm``."""
    if algorithm.startswith("HS"):
        return _secret(algorithm, text)
    key = _public_key(text)
    if algorithm not in (fitting := algorithms_of(key)):
        raise ValueError(f"is a key for {', '.join(fitting)}, not for {algorithm}")
    return key


def _secret(algorithm: str, text: str) -> bytes:
    if "-----BEGIN " in text:  # else whoever knows a public key could sign with it
        raise ValueError(f"is a PEM file, but {algorithm} needs a secret; write the `type` of the key")
    secret = text.encode()
    least = int(algorithm[2:]) // 8
    if len(secret) < least:
        raise ValueError(f"has {len(secret)} bytes, but {algorithm} needs {least} at least")
    return secret


def _public_key(text: str) -> PublicKey:
    pem = text.strip()
    if "\n" not in pem:  # as variables of the environment have it
        pem = pem.replace("\\n", "\n")
    if "PRIVATE KEY-----" in pem:
        raise ValueError("is a private key, which only its issuer should have; give the public key")
    try:
        if "-----BEGIN CERTIFICATE-----" in pem:
            key: object = x509.load_pem_x509_certificate(pem.encode()).public_key()
        else:
            key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(
            "is not a public key or certificate in PEM form (-----BEGIN PUBLIC KEY-----)"
        ) from None
    algorithms_of(key)
    assert isinstance(key, (RSAPublicKey, EllipticCurvePublicKey, Ed25519PublicKey))
    return key
