"""API tokens: what one looks like, and what of it is kept.

A token is ``tyco_`` and 256 random bits. Kept is its SHA-256, and that is enough: slow and salted hashes make guessing
dear where people chose the secret, but nobody guesses 256 bits, and every request would pay for the slowness. Who looks
for a digest in an index learns nothing by timing either, for nobody can choose what a digest begins with.
"""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import Final

PREFIX: Final = "tyco_"  # scanners that look for leaked secrets can know it
_SECRET_BYTES: Final = 32
_LENGTH_MAX: Final = 100


def new_secret() -> str:
    """A token as its bearer has it; nothing keeps it."""
    return PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def new_id() -> str:
    """What names a token in lists, logs and commands."""
    return secrets.token_hex(6)


def digest(secret: str) -> str | None:
    """What is kept of a token; None of what cannot be one."""
    if len(secret) > _LENGTH_MAX or not secret.isascii():
        return None
    return sha256(secret.encode()).hexdigest()
