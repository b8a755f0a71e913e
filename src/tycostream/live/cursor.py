"""Cursors: opaque resume tokens, sealed so that a client can neither read nor make one."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Hashable, Sequence
from dataclasses import fields, is_dataclass

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tycostream.rows import Position

_NONCE_BYTES = 12


class CursorBox:
    """Seals positions with AES-256-GCM; the plan's digest is authenticated with them, so a cursor fits one plan.

    ``secrets``: the first seals, all open (rotation). None given: a random key, and cursors end with this process.
    """

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._boxes: list[AESGCM] = []
        self.use(secrets)

    def use(self, secrets: Sequence[str]) -> None:
        """Other secrets from now on; none: a random key again."""
        keys = [hashlib.sha256(b"tycostream cursor " + secret.encode()).digest() for secret in secrets]
        self._boxes = [AESGCM(key) for key in keys or [os.urandom(32)]]

    def seal(self, position: Position, digest: bytes) -> str:
        """The cursor of ``position`` for the plan that ``digest`` stands for."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._boxes[0].encrypt(nonce, msgspec.json.encode(position), digest)
        return base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()

    def open(self, cursor: str, digest: bytes) -> Position | None:
        """The position in ``cursor``; None if it is not one of ours for this plan."""
        if len(cursor) > 1024:
            return None
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except ValueError:
            return None
        for box in self._boxes:
            try:
                text = box.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], digest)
            except (InvalidTag, ValueError):
                continue
            return Position(*msgspec.json.decode(text, type=tuple[str, int, int]))
        return None


def plan_digest(key: Hashable) -> bytes:
    """What ties a cursor to its plan: rows, projection and entitlement are all in the plan's key.

    The same in every process: sets are written in order, whatever their hashes.
    """
    return hashlib.sha256(_canonical(key).encode()).digest()


def _canonical(value: object) -> str:
    if isinstance(value, frozenset):
        return "{" + ",".join(sorted(map(_canonical, value))) + "}"
    if isinstance(value, tuple):
        return "(" + ",".join(map(_canonical, value)) + ")"
    if is_dataclass(value) and not isinstance(value, type):
        compared = tuple(getattr(value, field.name) for field in fields(value) if field.compare)
        return f"{type(value).__name__}{_canonical(compared)}"
    return repr(value)
