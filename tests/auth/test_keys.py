"""A set of keys over time: freshness, rotation, failures, and that nobody makes us ask too often."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.auth.tokens import EC, ED, OTHER_RSA, RSA, jwk
from tycostream.auth.freshness import fresh_for_s
from tycostream.auth.jwks import published_keys
from tycostream.auth.keys import Fetched, FetchError, KeySet
from tycostream.errors import RequestError
from tycostream.observe.events import Event, KeysFetched, KeysUnavailable
from tycostream.testing.clock import FakeClock

A, B = jwk(RSA, kid="a", alg="RS256", use="sig"), jwk(OTHER_RSA, kid="b", alg="RS256")


class Issuer:
    """An issuer that answers what the test says, and counts."""

    def __init__(self, *keys: Mapping[str, Any], control: str = "max-age=100") -> None:
        self.keys, self.control = keys, control
        self.asked = 0
        self.error: str | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.set = KeySet(
            "https://issuer/keys?secret=1", self.fetch, self.clock, self.events.append, only=None
        )

    async def fetch(self) -> Fetched:
        self.asked += 1
        await self.gate.wait()
        if self.error is not None:
            raise FetchError(self.error)
        return Fetched(json.dumps({"keys": self.keys}).encode(), {"cache-control": self.control})

    async def knows(self, kid: str | None, algorithm: str = "RS256") -> bool:
        return await self.set.find(kid, algorithm) is not None


async def test_keys_are_kept_as_long_as_they_are_fresh() -> None:
    issuer = Issuer(A)
    for _ in range(3):
        assert await issuer.knows("a")
    assert issuer.asked == 1
    issuer.clock.advance(99)
    assert await issuer.knows("a")
    issuer.clock.advance(1)
    assert await issuer.knows("a")
    assert issuer.asked == 2
    assert issuer.events[0] == KeysFetched("https://issuer/keys", 1)


async def test_a_rotation_is_noticed_and_strangers_cannot_make_us_ask() -> None:
    issuer = Issuer(A)
    assert await issuer.knows("a")
    issuer.keys = (A, B)
    for n in range(50):
        assert not await issuer.knows(f"made up {n}")
    assert issuer.asked == 1
    issuer.clock.advance(10)
    assert await issuer.knows("b")
    assert issuer.asked == 2
    issuer.keys = (B,)
    issuer.clock.advance(100)
    assert not await issuer.knows("a"), "a key that was withdrawn"


async def test_many_who_wait_are_one_request_and_one_who_gives_up_is_not_all() -> None:
    issuer = Issuer(A)
    issuer.gate.clear()
    waiting = [asyncio.ensure_future(issuer.knows("a")) for _ in range(20)]
    while not issuer.asked:
        await asyncio.sleep(0)
    waiting[0].cancel()
    issuer.gate.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:] == [True] * 19
    assert issuer.asked == 1


async def test_old_keys_hold_while_there_are_no_new_ones_but_not_for_ever() -> None:
    issuer = Issuer(A)
    assert await issuer.knows("a")
    issuer.error = "it is down"
    issuer.clock.advance(100)
    assert await issuer.knows("a")
    assert issuer.events[-1] == KeysUnavailable("https://issuer/keys", "it is down", kept=True)
    issuer.clock.advance(59)
    assert await issuer.knows("a")
    assert issuer.asked == 2, "a minute from one failure to the next attempt"
    issuer.clock.advance(1)
    assert await issuer.knows("a")
    assert issuer.asked == 3
    assert not await issuer.knows("unknown")
    issuer.clock.advance(24 * 3600)
    with pytest.raises(RequestError, match="cannot be had at present"):
        await issuer.knows("a")
    issuer.error = None
    issuer.clock.advance(60)
    assert await issuer.knows("a")


async def test_no_keys_at_all_is_not_a_bad_token() -> None:
    issuer = Issuer(A)
    issuer.error = "it is down"
    for _ in range(3):
        with pytest.raises(RequestError, match="cannot be had at present"):
            await issuer.knows("a")
    assert issuer.asked == 1
    issuer.error = None
    issuer.clock.advance(10)
    assert await issuer.knows("a")


async def test_a_set_that_is_broken_leaves_the_old_one() -> None:
    issuer = Issuer(A)
    assert await issuer.knows("a")
    issuer.keys = ({"kty": "oct", "k": "c2VjcmV0", "kid": "a"},)
    issuer.clock.advance(100)
    assert await issuer.knows("a")
    reason = "it has no key that verifies signatures"
    assert issuer.events[-1] == KeysUnavailable("https://issuer/keys", reason, kept=True)


async def test_a_key_is_for_its_algorithms_only() -> None:
    issuer = Issuer(A, jwk(EC, kid="e"), jwk(ED, kid="o"), jwk(OTHER_RSA, kid="any"))
    for kid, algorithm in (("a", "RS256"), ("e", "ES256"), ("o", "EdDSA"), ("any", "PS512")):
        assert await issuer.knows(kid, algorithm)
    for kid, algorithm in (("a", "RS512"), ("a", "HS256"), ("e", "RS256"), ("any", "HS256"), ("a", "none")):
        assert not await issuer.knows(kid, algorithm)
    assert await issuer.knows(None, "ES256"), "the only one for it"
    assert not await issuer.knows(None, "RS256"), "two are: which one is a guess"


async def test_the_configuration_may_name_the_only_algorithm() -> None:
    issuer = Issuer(jwk(RSA, kid="a"))
    issuer.set = KeySet("https://x", issuer.fetch, issuer.clock, issuer.events.append, only="PS256")
    assert await issuer.knows("a", "PS256")
    assert not await issuer.knows("a", "RS256")


async def test_closing_ends_what_is_under_way() -> None:
    issuer = Issuer(A)
    issuer.gate.clear()
    waiting = asyncio.ensure_future(issuer.knows("a"))
    while not issuer.asked:
        await asyncio.sleep(0)
    await issuer.set.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {},
        {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
        {**A, "use": "enc"},
        {**A, "key_ops": ["sign"]},
        {**A, "key_ops": 5},
        {**A, "alg": "HS256"},
        {**A, "alg": "none"},
        {**A, "alg": ["RS256"]},
        {**A, "kid": 5},
        {**A, "d": "AQAB"},
        {**A, "n": "AQAB"},
        {**A, "n": 5},
        {**jwk(EC), "crv": "secp256k1"},
        {**jwk(EC), "x": "AAAA"},
        {**jwk(ED), "crv": "X25519"},
        {"kty": "RSA"},
        {"kty": {"a": 1}},
    ],
)
def test_what_is_no_key_for_us_is_passed_over(entry: Any) -> None:
    assert [key.kid for key in published_keys(json.dumps({"keys": [entry, B]}).encode())] == ["b"]


@pytest.mark.parametrize(
    "body", [b"", b"[" * 100_000, b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b"<html>", b"\xff"]
)
def test_what_is_no_set_of_keys(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"^it (is|has) no"):
        published_keys(body)


@pytest.mark.parametrize(
    ("headers", "expected_s"),
    [
        ({}, 600),
        ({"cache-control": "public, max-age=15, stale-while-revalidate=15"}, 15),
        ({"cache-control": "max-age=60, s-maxage=120"}, 120),
        ({"cache-control": "MAX-AGE=60", "age": "20"}, 40),
        ({"cache-control": "max-age=60", "age": "x"}, 60),
        ({"cache-control": "no-store, max-age=60"}, 10),
        ({"cache-control": "no-cache"}, 10),
        ({"cache-control": "max-age=0"}, 10),
        ({"cache-control": "max-age=999999999"}, 86400),
        ({"cache-control": "nonsense"}, 600),
        ({"expires": "Thu, 01 Jan 1970 00:20:00 GMT"}, 200),
        ({"expires": "0"}, 10),
        ({"cache-control": "max-age=30", "expires": "Thu, 01 Jan 1970 00:20:00 GMT"}, 30),
    ],
)
def test_how_long_an_answer_is_fresh(headers: dict[str, str], expected_s: float) -> None:
    assert fresh_for_s(headers, 1000) == expected_s
