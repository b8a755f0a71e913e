"""What an API token looks like, and what of it is kept."""

from __future__ import annotations

import re
from hashlib import sha256

from tycostream.auth.api_token import digest, new_id, new_secret


def test_a_token_holds_256_random_bits_and_no_two_are_alike() -> None:
    made = [new_secret() for _ in range(100)]
    assert len(set(made)) == 100
    assert all(re.fullmatch(r"tyco_[A-Za-z0-9_-]{43}", secret) for secret in made)
    assert len({new_id() for _ in range(100)}) == 100


def test_its_hash_is_kept() -> None:
    secret = new_secret()
    assert digest(secret) == sha256(secret.encode()).hexdigest()
    assert digest("tyco_ü") is None
    assert digest("tyco_" + "x" * 96) is None
    assert digest("tyco_\udc80") is None
