"""Who is asking: secrets, tokens of every kind, and a table of attacks."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from tests.auth.tokens import (
    EC,
    ED,
    HASURA,
    NAMESPACE,
    OTHER_RSA,
    ROLES,
    RSA,
    SECRET,
    b64,
    jwk,
    pem,
    raw,
    token,
)
from tycostream.auth.authenticator import Authenticator
from tycostream.auth.credentials import Credentials
from tycostream.auth.session import Session, Token
from tycostream.config.auth import AuthConfig
from tycostream.errors import RequestError
from tycostream.observe.events import silent
from tycostream.testing.clock import FakeClock

NOW = 1000  # of the fake clock
ADMIN_SECRET = "the secret of the admin"


async def session(auth: dict[str, Any], *pairs: tuple[str, object]) -> Session:
    authenticator = Authenticator(AuthConfig.model_validate(auth), FakeClock(), silent)
    return await authenticator.authenticate(Credentials(pairs))


async def refusal(auth: dict[str, Any], *pairs: tuple[str, object]) -> tuple[str, str]:
    with pytest.raises(RequestError) as caught:
        await session(auth, *pairs)
    return caught.value.code, caught.value.message


def bearer(text: str) -> tuple[str, str]:
    return "Authorization", f"Bearer {text}"


def issuer(**settings: Any) -> dict[str, Any]:
    return {"jwt": [settings or {"type": "HS256", "key": SECRET}]}


async def test_without_a_configuration_everybody_is_admin() -> None:
    authenticator = Authenticator(None, FakeClock(), silent)
    assert authenticator.open
    assert await authenticator.authenticate(Credentials([("x-hasura-role", "x")])) == Session()


# secrets


@pytest.mark.parametrize("name", ["X-Hasura-Admin-Secret", "x-hasura-access-key"])
@pytest.mark.parametrize("secret", [ADMIN_SECRET, "another, being rotated"])
async def test_an_admin_secret(name: str, secret: str) -> None:
    auth = {"admin_secrets": [ADMIN_SECRET, "another, being rotated"], "unauthorized_role": "anonymous"}
    assert await session(auth, (name, secret)) == Session("admin")
    found = await session(auth, (name, secret), ("X-Hasura-Role", "user"), ("X-HASURA-User-Id", "7"))
    assert found == Session("user", {"user-id": "7"})
    assert not found.admin


async def test_an_admin_secret_is_rotated_without_a_moment_in_which_none_is_good() -> None:
    def of(*secrets: str) -> AuthConfig:
        return AuthConfig.model_validate({"admin_secrets": list(secrets)})

    authenticator = Authenticator(of(ADMIN_SECRET), FakeClock(), silent)
    void: list[str] = []
    authenticator.watch(lambda: void.append("ask again"))

    async def good(secret: str) -> bool:
        try:
            return (await authenticator.authenticate(Credentials([("x-hasura-admin-secret", secret)]))).admin
        except RequestError:
            return False

    both = [ADMIN_SECRET, "the secret of tomorrow"]
    assert [await good(secret) for secret in both] == [True, False]
    authenticator.reconfigure(of(*both))
    assert [await good(secret) for secret in both] == [True, True]
    authenticator.reconfigure(of("the secret of tomorrow"))
    assert [await good(secret) for secret in both] == [False, True]
    assert [await good(secret) for secret in ("", "the secret of", "the secret of tomorrow2")] == [False] * 3
    assert void == ["ask again"] * 2


@pytest.mark.parametrize(
    "given", ["", "wrong", ADMIN_SECRET[:-1], ADMIN_SECRET + "x", ADMIN_SECRET.upper(), "ü"]
)
@pytest.mark.parametrize("more", [{}, {"jwt": [{"type": "HS256", "key": SECRET}]}])
async def test_a_wrong_secret_is_never_the_unauthorized_role_nor_a_token(
    given: str, more: dict[str, Any]
) -> None:
    auth = {"admin_secrets": [ADMIN_SECRET], "unauthorized_role": "anonymous", **more}
    code, message = await refusal(auth, ("x-hasura-admin-secret", given), bearer(token()))
    assert (code, message) == ("access-denied", 'invalid "x-hasura-admin-secret"/"x-hasura-access-key"')


async def test_no_secret_is_configured() -> None:
    assert (await refusal(issuer(), ("x-hasura-admin-secret", "")))[0] == "access-denied"


async def test_nothing_is_shown() -> None:
    required = "x-hasura-admin-secret/x-hasura-access-key required, but not found"
    assert await refusal({"admin_secrets": [ADMIN_SECRET]}) == ("access-denied", required)
    missing = "Missing 'Authorization' or 'Cookie' header in JWT authentication mode"
    assert await refusal(issuer()) == ("invalid-headers", missing)
    auth = {**issuer(), "unauthorized_role": "anonymous"}
    # headers without the secret are no session variables, and choose no role
    found = await session(auth, ("X-Hasura-User-Id", "7"), ("X-Hasura-Role", "admin"))
    assert found == Session("anonymous")


@pytest.mark.parametrize(
    "pairs",
    [
        [("x-hasura-admin-secret", ADMIN_SECRET), ("X-Hasura-Admin-Secret", ADMIN_SECRET)],
        [("x-hasura-admin-secret", "wrong"), ("X-Hasura-Admin-Secret", ADMIN_SECRET)],
        [("x-hasura-admin-secret", ADMIN_SECRET), ("x-hasura-access-key", ADMIN_SECRET)],
        [("x-hasura-admin-secret", ADMIN_SECRET), ("X-Hasura-Role", "a"), ("x-hasura-role", "b")],
        [("x-hasura-admin-secret", ADMIN_SECRET), ("X-Hasura-User-Id", "1"), ("x-hasura-user-id", "2")],
        [bearer(token()), bearer(token())],
        [bearer(token()), ("x-hasura-role", "user"), ("x-hasura-role", "user")],
        [bearer(token()), ("Cookie", f"session={token()}")],
        [("Cookie", f"session={token()}; session={token()}")],
        [("Cookie", f"session={token()}"), ("Cookie", "a=b")],
        [("x-hasura-admin-secret", 5)],
        [("Authorization", {"a": 1})],
        [("Authorization", token())],
        [("Authorization", f"Basic {token()}")],
        [("Authorization", "Bearer")],
    ],
)
async def test_what_is_there_twice_or_malformed_is_refused(pairs: list[tuple[str, object]]) -> None:
    auth: dict[str, Any] = {
        "admin_secrets": [ADMIN_SECRET],
        "unauthorized_role": "anonymous",
        "jwt": [
            {"type": "HS256", "key": SECRET},
            {"type": "HS256", "key": SECRET, "header": {"type": "Cookie", "name": "session"}},
        ],
    }
    code, message = await refusal(auth, *pairs)
    assert code == "invalid-headers"
    assert ADMIN_SECRET not in message
    assert "eyJ" not in message


# tokens


@pytest.mark.parametrize(
    ("algorithm", "private"),
    [
        ("RS256", RSA),
        ("RS512", RSA),
        ("PS256", RSA),
        ("PS384", RSA),
        ("ES256", EC),
        ("EdDSA", ED),
        ("Ed25519", ED),
    ],
)
async def test_each_kind_of_key(algorithm: str, private: Any) -> None:
    auth = issuer(type=algorithm, key=pem(private))
    signed = token(private, "EdDSA" if algorithm == "Ed25519" else algorithm, exp=NOW + 60)
    said = Token(f"sha256:{hashlib.sha256(signed.encode()).hexdigest()}")
    assert await session(auth, bearer(signed)) == Session("user", {"user-id": "7"}, NOW + 60, said)


async def test_what_a_token_says_of_itself() -> None:
    found = await session(
        issuer(type="HS256", key=SECRET, leeway="5s"), bearer(token(jti="t-1", sub="u", iat=NOW - 10))
    )
    assert found.token == Token("t-1", "u", NOW - 15), "its issuer's clock may be ahead"
    assert found.user == "7", "the variable goes before the subject"
    claims: dict[str, Any] = {NAMESPACE: ROLES}
    for named in (5, "", "x" * 300, None):
        odd = token(**claims, jti=named, sub=5)
        found = await session(issuer(), bearer(odd))
        assert found.token == Token(f"sha256:{hashlib.sha256(odd.encode()).hexdigest()}")
        assert found.user == ""
    found = await session(issuer(), bearer(token(**claims, sub="u")))
    assert found.user == "u"


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_each_kind_of_secret(algorithm: str) -> None:
    secret = "s" * 64
    found = await session(issuer(type=algorithm, key=secret), bearer(token(secret, algorithm)))
    assert found.expires_at_s is None


async def test_a_role_is_chosen_among_those_of_the_token() -> None:
    assert (await session(issuer(), bearer(token()), ("X-Hasura-Role", "editor"))).role == "editor"
    code, message = await refusal(issuer(), bearer(token()), ("X-Hasura-Role", "admin"))
    assert (code, message) == ("access-denied", "Your requested role is not in allowed roles")
    # session variables come from the token alone
    found = await session(issuer(), bearer(token()), ("X-Hasura-User-Id", "8"), ("X-Hasura-Org", "1"))
    assert found.variables == {"user-id": "7"}


@pytest.mark.parametrize(
    ("header", "pair"),
    [
        ({"type": "Cookie", "name": "session"}, ("Cookie", 'theme=dark; session="{}"; x=y')),
        ({"type": "CustomHeader", "name": "X-Token"}, ("x-token", "{}")),
    ],
)
async def test_other_places_of_a_token(header: dict[str, str], pair: tuple[str, str]) -> None:
    auth = issuer(type="HS256", key=SECRET, header=header)
    assert (await session(auth, (pair[0], pair[1].format(token())))).role == "user"
    assert (await refusal(auth, bearer(token())))[0] == "invalid-headers", "that is not where it belongs"


async def test_several_issuers_each_verify_their_own() -> None:
    auth = {
        "jwt": [
            {"type": "RS256", "key": pem(RSA), "issuer": "one"},
            {"type": "RS256", "key": pem(OTHER_RSA), "issuer": "two"},
            {"type": "HS256", "key": SECRET},
        ]
    }
    assert (await session(auth, bearer(token(RSA, "RS256", iss="one")))).role == "user"
    assert (await session(auth, bearer(token(OTHER_RSA, "RS256", iss="two")))).role == "user"
    assert (await session(auth, bearer(token(iss="three")))).role == "user"
    invalid = ("invalid-jwt", "Could not verify JWT: JWSError JWSInvalidSignature")
    assert await refusal(auth, bearer(token(RSA, "RS256", iss="two"))) == invalid
    assert (await refusal(auth, bearer(token(iss="one"))))[0] == "invalid-jwt", "never by another one's key"
    only = {"jwt": auth["jwt"][:2]}
    assert await refusal(only, bearer(token(RSA, "RS256"))) == (
        "invalid-jwt",
        "Could not verify JWT: JWTNotInIssuer",
    )


def confused() -> str:
    """Signed by HMAC with what everybody knows: the public key."""
    signed = raw({"alg": "HS256", "typ": "JWT"}, HASURA).rpartition(".")[0]
    return f"{signed}.{b64(hmac.digest(pem(RSA).encode(), signed.encode(), hashlib.sha256))}"


RS256, HS256 = b'{"alg":"RS256"}', b'{"alg":"HS256"}'
RS: dict[str, Any] = {"type": "RS256", "key": pem(RSA), "issuer": "me", "audience": ["app", "web"]}
GOOD: dict[str, Any] = {"iss": "me", "aud": "web"}
SIGNATURE = "JWSError JWSInvalidSignature"
NOT_FOR_IT = "no key of its issuer is for it"


def test_the_table_below_starts_from_a_good_token() -> None:
    assert token(RSA, "RS256", **GOOD).count(".") == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (confused(), "JWTNotInIssuer"),
        (raw({"alg": "HS256"}, {**HASURA, **GOOD}, b"x" * 32), NOT_FOR_IT),
        (raw({"alg": "none"}, {**HASURA, **GOOD}), NOT_FOR_IT),
        (raw({"alg": "None"}, {**HASURA, **GOOD}), NOT_FOR_IT),
        (raw({"alg": ""}, {**HASURA, **GOOD}), NOT_FOR_IT),
        (raw({"alg": "RS256"}, {**HASURA, **GOOD}), SIGNATURE),
        (raw({"alg": ["RS256"]}, {**HASURA, **GOOD}), "its header is not one of a signed token"),
        (raw({}, {**HASURA, **GOOD}), "its header is not one of a signed token"),
        (token(RSA, "RS512", **GOOD), NOT_FOR_IT),
        (token(RSA, "PS256", **GOOD), NOT_FOR_IT),
        (token(OTHER_RSA, "RS256", **GOOD), SIGNATURE),
        (token(OTHER_RSA, "RS256", {"jwk": jwk(OTHER_RSA)}, **GOOD), SIGNATURE),
        (token(OTHER_RSA, "RS256", {"jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/"}, **GOOD), SIGNATURE),
        (token(OTHER_RSA, "RS256", {"kid": "../../../dev/null"}, **GOOD), SIGNATURE),
        (token(OTHER_RSA, "RS256", {"kid": "' UNION SELECT 'x"}, **GOOD), SIGNATURE),
        (raw({"alg": "RS256", "kid": 5}, {**HASURA, **GOOD}), "it is not a JWT"),
        (raw({"alg": "RS256", "crit": ["exp"], "exp": 1}, {**HASURA, **GOOD}), "it is not a JWT"),
        (token(RSA, "RS256", **GOOD, exp=NOW), "JWTExpired"),
        (token(RSA, "RS256", **GOOD, exp=NOW - 1), "JWTExpired"),
        (token(RSA, "RS256", **GOOD, exp=-1), "JWTExpired"),
        (token(RSA, "RS256", **GOOD, nbf=NOW + 1), "JWTNotYetValid"),
        (token(RSA, "RS256", **GOOD, iat=NOW + 1), "JWTIssuedAtFuture"),
        (token(RSA, "RS256", **{**GOOD, "aud": "other"}), "JWTNotInAudience"),
        (token(RSA, "RS256", **{**GOOD, "aud": ["other"]}), "JWTNotInAudience"),
        (token(RSA, "RS256", **{**GOOD, "aud": {"web": 1}}), "JWTNotInAudience"),
        (token(RSA, "RS256", iss="me"), "it has no aud"),
        (token(RSA, "RS256", iss="you", aud="web"), "JWTNotInIssuer"),
        (token(RSA, "RS256", aud="web"), "JWTNotInIssuer"),
        ("", "Malformed Authorization header"),
        ("a.b.c", "it is not a JWT"),
        ("....", "it is not a JWT"),
        ("é.é.é", "it is not a JWT"),
        (token(RSA, "RS256", **GOOD) + ".x", "it is not a JWT"),
        (token(RSA, "RS256", **GOOD)[:-2], SIGNATURE),
        (token(RSA, "RS256", **GOOD, x="x" * 16384), "it is longer than 16384 bytes"),
        (raw({"alg": "RS256"}, [HASURA], b"x"), "it is not a JWT"),
        (f"{b64(b'[' * 5000)}.{b64(b'{}')}.x", "it is not a JWT"),
        (f"{b64(b'{}')}.{b64(b'[' * 9000)}.x", "it is not a JWT"),
        (".".join([b64(RS256), b64(b'{"exp": ' + b"9" * 9000 + b"}"), "x"]), "it is not a JWT"),
        (f"{b64(bytes([255, 254]))}.{b64(b'{}')}.x", "it is not a JWT"),
        (json.dumps({"protected": "x", "payload": "y", "signatures": []}), "it is not a JWT"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("lenient", [False, True])
async def test_attacks(text: str, reason: str, lenient: bool) -> None:
    auth: dict[str, Any] = {"jwt": [RS]}
    if lenient:  # who shows a bad token is not taken for who shows none
        auth["unauthorized_role"] = "anonymous"
    code, message = await refusal(auth, bearer(text))
    assert message.removeprefix("Could not verify JWT: ") == reason
    assert code == ("invalid-headers" if text == "" else "invalid-jwt")


@pytest.mark.parametrize(
    "claims", [{"sub": "\ud800"}, {"jti": "a\udfff"}, {NAMESPACE: {**ROLES, "x-hasura-user-id": "\ud83d"}}]
)
async def test_half_a_character_is_no_text_that_could_be_told_to_anybody(claims: dict[str, Any]) -> None:
    code, message = await refusal(issuer(), bearer(token(**claims)))
    assert (code, message) == ("invalid-jwt", "Could not verify JWT: it holds half of a character")


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["2000", True, None, [1], 1e400])
async def test_a_time_that_is_none(name: str, value: object) -> None:
    payload = json.dumps({**HASURA, **GOOD, name: value}).replace("Infinity", "1e400").encode()
    signed = f"{b64(HS256)}.{b64(payload)}"
    text = f"{signed}.{b64(hmac.digest(SECRET.encode(), signed.encode(), hashlib.sha256))}"
    assert await refusal(issuer(), bearer(text)) == (
        "invalid-jwt",
        f"Could not verify JWT: its {name} is no time",
    )


async def test_clocks_that_differ() -> None:
    auth = issuer(type="HS256", key=SECRET, leeway="30s")
    found = await session(auth, bearer(token(exp=NOW - 29, nbf=NOW + 29, iat=NOW + 30)))
    assert found.expires_at_s == NOW + 1, "when it would be refused"
    assert (await refusal(auth, bearer(token(exp=NOW - 30))))[1].endswith("JWTExpired")
    assert (await refusal(auth, bearer(token(nbf=NOW + 31))))[1].endswith("JWTNotYetValid")


async def test_a_token_for_others_is_taken_if_nothing_is_said() -> None:
    assert (await session(issuer(), bearer(token(aud="x", iss="y", sub=5, jti=6)))).role == "user"


async def test_another_configuration_ends_sessions() -> None:
    authenticator = Authenticator(AuthConfig(admin_secrets=(ADMIN_SECRET,)), FakeClock(), silent)
    told: list[str] = []
    unwatch = authenticator.watch(lambda: told.append("a"))
    authenticator.watch(lambda: told.append("b"))
    authenticator.reconfigure(AuthConfig(admin_secrets=("another secret entirely",)))
    assert sorted(told) == ["a", "b"]
    unwatch()
    authenticator.reconfigure(AuthConfig(admin_secrets=(ADMIN_SECRET,)))
    assert sorted(told) == ["a", "b", "b"]
    await authenticator.close()
