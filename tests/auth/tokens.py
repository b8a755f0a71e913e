"""Keys and tokens as issuers make them, and as nobody should."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
SECRET = "a secret of thirty-two characters"
NAMESPACE = "https://hasura.io/jwt/claims"
ROLES = {"x-hasura-default-role": "user", "x-hasura-allowed-roles": ["user", "editor"]}
HASURA = {NAMESPACE: {**ROLES, "X-Hasura-User-Id": "7"}}


def pem(private: Any) -> str:
    """The public key's PEM."""
    public = private.public_key()
    encoding = serialization.Encoding.PEM
    return str(public.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo).decode())


def jwk(private: Any, **more: object) -> dict[str, Any]:
    """The public key as an issuer publishes it."""
    for kind in (jwt.algorithms.RSAAlgorithm, jwt.algorithms.ECAlgorithm, jwt.algorithms.OKPAlgorithm):
        try:
            found: dict[str, Any] = kind.to_jwk(private.public_key(), as_dict=True)
        except (TypeError, AttributeError, jwt.InvalidKeyError):
            continue
        return {**found, **more}
    raise AssertionError(private)


def b64(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def token(
    key: Any = SECRET, algorithm: str = "HS256", header: Mapping[str, Any] | None = None, **claims: Any
) -> str:
    """A signed token; Hasura's claims unless ``claims`` has others for the namespace."""
    return jwt.encode({**HASURA, **claims}, key, algorithm, headers=dict(header or {}))


def raw(header: object, payload: object, signature: bytes = b"") -> str:
    """A token of any parts."""
    head, body = (b64(json.dumps(part).encode()) for part in (header, payload))
    return f"{head}.{body}.{b64(signature)}"
