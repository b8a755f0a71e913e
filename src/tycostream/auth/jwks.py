"""The keys that an issuer publishes (RFC 7517): which of them verify signatures, and with what algorithm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec
from jwt import algorithms
from jwt.exceptions import PyJWTError

from tycostream.config.jwt_keys import PublicKey, algorithms_of

_KEYS_MAX: Final = 100
_MAKERS: Final[dict[str, Any]] = {
    "RSA": algorithms.RSAAlgorithm,
    "EC": algorithms.ECAlgorithm,
    "OKP": algorithms.OKPAlgorithm,
}


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """A public key, and the algorithms that a token signed with it may name."""

    kid: str | None
    key: PublicKey
    algorithms: tuple[str, ...]


def published_keys(body: bytes) -> tuple[PublishedKey, ...]:
    """The keys that can verify; ValueError if there is none. What is not for us is passed over: others read the set too."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise ValueError("it is not JSON") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("it is not a set of keys")
    found = tuple(key for entry in entries[:_KEYS_MAX] if (key := _published(entry)) is not None)
    if not found:
        raise ValueError("it has no key that verifies signatures")
    return found


def _published(entry: Any) -> PublishedKey | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    kid, maker = entry.get("kid"), _MAKERS.get(str(entry.get("kty")))
    if (
        maker is None or "d" in entry or not isinstance(kid, str | None)
    ):  # a secret, or one that is none any more
        return None
    try:
        key: Any = maker.from_jwk(entry)
        fitting = algorithms_of(key)
    except (PyJWTError, ValueError, TypeError, KeyError, OverflowError):
        return None
    if "alg" in entry:
        named = "EdDSA" if entry["alg"] == "Ed25519" else entry["alg"]
        fitting = tuple(name for name in fitting if name == named)
    return PublishedKey(kid, key, fitting) if fitting else None
