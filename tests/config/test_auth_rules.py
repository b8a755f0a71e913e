"""Mistakes in ``auth:``, each at its place; and that no message shows a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.auth.tokens import EC, RSA, SECRET, pem
from tycostream.config.auth import AuthConfig
from tycostream.config.load import loads
from tycostream.config.model import Config
from tycostream.config.reload import applicable, compare, report
from tycostream.errors import ConfigError

HEAD = "databases: {main: {url: 'host=db'}}\nsources: {a: {}}\n"
HIDDEN = "hidden-hidden-hidden-hidden-hidden"


def loaded(text: str) -> Config:
    return loads(
        HEAD + text, "t.yaml", {"RSA": pem(RSA).replace("\n", "\\n"), "EC": pem(EC), "HIDDEN": HIDDEN}
    )


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(text)
    assert HIDDEN not in str(caught.value)
    return [str(problem) for problem in caught.value.problems]


def auth_of(text: str) -> AuthConfig:
    found = loaded(text).auth
    assert found is not None
    assert SECRET not in repr(found)
    assert "BEGIN" not in repr(found)
    return found


def test_a_whole_one_and_that_it_may_be_public() -> None:
    text = """
server: {host: 0.0.0.0}
auth:
  admin_secrets: [sixteen-letters!, "${HIDDEN}"]
  unauthorized_role: anonymous
  jwt:
    - {type: RS256, key: "${RSA}", issuer: a, audience: x, leeway: 5s}
    - {type: ES256, key: "${EC}", issuer: b, audience: [x, y], claims_namespace_path: $.a}
    - {jwk_url: "https://x/keys", issuer: c, claims_format: stringified_json, claims_namespace: my}
    - {jwk_url: "http://keycloak:8080/keys", insecure_url: true, type: PS256, issuer: d}
    - {jwk_url: "http://localhost:8080/keys", issuer: e}
    - {type: HS256, key: "${HIDDEN}", header: {type: Cookie, name: session}}
    - {type: Ed25519, jwk_url: "https://y", claims_map: {x-hasura-default-role: a, X-Hasura-Allowed-Roles: [a, b]}}
"""
    found = auth_of(text)
    assert [jwt.algorithm for jwt in found.jwt] == ["RS256", "ES256", None, "PS256", None, "HS256", "EdDSA"]
    assert HIDDEN not in repr(found)


def test_a_key_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(pem(RSA))
    found = auth_of(f"auth: {{jwt: [{{type: RS256, key_file: '{tmp_path}/key.pem'}}]}}")
    assert found.jwt[0].key_text == pem(RSA).rstrip()
    (said,) = problems(f"auth: {{jwt: [{{type: RS256, key_file: '{tmp_path}/none.pem'}}]}}")
    assert said.startswith("t.yaml:3:")
    assert said.endswith("auth.jwt[0].key_file: the file cannot be read: No such file or directory")
    (tmp_path / "large").write_text("x" * 70_000)
    assert (
        "too large for a key"
        in problems(f"auth: {{jwt: [{{type: RS256, key_file: '{tmp_path}/large'}}]}}")[0]
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auth:", 'auth: lets nobody in; write admin_secrets: ["${ADMIN_SECRET}"], or jwt with an issuer'),
        ("auth: {}", "auth: lets nobody in"),
        ("auth: {admin_secrets: []}", "auth: lets nobody in"),
        ("auth: ${HIDDEN}", "auth: is a text, but must be a mapping"),
        ("auth: {admin_secret: x}", "auth.admin_secret: is not a setting; did you mean admin_secrets?"),
        ("auth: {admin_secrets: [short]}", "auth.admin_secrets[0]: is too short to be a secret: 16 characters at least"),
        ('auth: {admin_secrets: [""]}', "auth.admin_secrets[0]: is too short to be a secret"),
        ('auth: {admin_secrets: " ${HIDDEN}"}', "cannot be sent in a header: printable text, without spaces around it"),
        ("auth: {admin_secrets: 12345678901234567}", "auth.admin_secrets: is a number, but must be a"),
        ("auth: {unauthorized_role: admin}", "auth.unauthorized_role: would let everybody see everything"),
        ("auth: {unauthorized_role: ' x'}", "auth.unauthorized_role: ' x' is not a role's name"),
        ("auth: {jwt: {type: HS256}}", "auth.jwt: is a mapping, but must be a list"),
        ("auth: {jwt: [{}]}", "auth.jwt[0]: has no key; write type and key, key_file, or jwk_url"),
        ("auth: {jwt: [{key: '${HIDDEN}', jwk_url: 'https://x', type: HS256}]}", "auth.jwt[0]: has key and jwk_url; keep one"),
        ("auth: {jwt: [{key: '${HIDDEN}'}]}", "auth.jwt[0]: has a key, but no type; write its algorithm: `type: RS256`"),
        ("auth: {jwt: [{key: '${HIDDEN}', type: none}]}", "auth.jwt[0].type: must be one of HS256, HS384"),
        ("auth: {jwt: [{key: '${HIDDEN}', type: HS512}]}", "auth.jwt[0].key: has 34 bytes, but HS512 needs 64 at least"),
        ("auth: {jwt: [{key: '${RSA}', type: HS256}]}", "auth.jwt[0].key: is a PEM file, but HS256 needs a secret"),
        ("auth: {jwt: [{key: '${RSA}', type: ES256}]}", "auth.jwt[0].key: is a key for RS256, RS384, RS512, PS256"),
        ("auth: {jwt: [{key: '${EC}', type: ES384}]}", "auth.jwt[0].key: is a key for ES256, not for ES384"),
        ("auth: {jwt: [{key: '${HIDDEN}', type: RS256}]}", "auth.jwt[0].key: is not a public key or certificate in PEM form"),
        ("auth: {jwt: [{key: '-----BEGIN PRIVATE KEY-----', type: RS256}]}", "is a private key, which only its issuer should have"),
        ("auth: {jwt: [{key: 12345, type: HS256}]}", "auth.jwt[0].key: is a number, but must be a text"),
        ("auth: {jwt: [{jwk_url: 'https://x', type: HS256}]}", "auth.jwt[0].type: is for a secret, and keys that are published"),
        ("auth: {jwt: [{jwk_url: 'http://x/keys'}]}", "auth.jwt[0].jwk_url: is http://, so whoever is between could give"),
        ("auth: {jwt: [{jwk_url: 'file:///etc/passwd', insecure_url: true}]}", "auth.jwt[0].jwk_url: is not an address"),
        ("auth: {jwt: [{jwk_url: 'https://[', issuer: x}]}", "auth.jwt[0].jwk_url: is not an address"),
        ("auth: {jwt: [{jwk_url: 'https://u:${HIDDEN}@x'}]}", "auth.jwt[0].jwk_url: must not hold a user or a password"),
        ("auth: {jwt: [{key: '${HIDDEN}', type: HS256, insecure_url: true}]}", "insecure_url: is of jwk_url; remove it"),
        ("auth: {jwt: [{jwk_url: 'https://x'}, {jwk_url: 'https://y'}]}", "auth.jwt[1]: has its token where another issuer has it"),
        ("auth: {jwt: [{jwk_url: 'https://x', issuer: ''}]}", "auth.jwt[0].issuer: is empty"),
        ("auth: {jwt: [{jwk_url: 'https://x', audience: ['']}]}", "auth.jwt[0].audience[0]: is empty"),
        ("auth: {jwt: [{jwk_url: 'https://x', leeway: 1h}]}", "auth.jwt[0].leeway: must be at most 5m"),
        ("auth: {jwt: [{jwk_url: 'https://x', header: {type: Cookie}}]}", "auth.jwt[0].header: is a Cookie without its `name`"),
        ("auth: {jwt: [{jwk_url: 'https://x', header: {name: a}}]}", "auth.jwt[0].header.name: is of a Cookie or CustomHeader"),
        ("auth: {jwt: [{jwk_url: 'https://x', header: {type: Cookie, name: 'a b'}}]}", "header.name: is not a name of a header or cookie"),
        ("auth: {jwt: [{jwk_url: 'https://x', header: {type: CustomHeader, name: cookie}}]}", "header.name: is a header of its own meaning"),
        ("auth: {jwt: [{jwk_url: 'https://x', header: {type: CustomHeader, name: X-Hasura-Role}}]}", "header.name: is where session variables are"),
        ("auth: {jwt: [{jwk_url: 'https://x', claims_namespace: a, claims_map: {x-hasura-a: b}}]}", "claims_map: is instead of a namespace"),
        ("auth: {jwt: [{jwk_url: 'https://x', claims_namespace: a, claims_namespace_path: $.a}]}", "claims_namespace_path: is instead of"),
        ("auth: {jwt: [{jwk_url: 'https://x', claims_namespace_path: '$.a b'}]}", "'$.a b' is not a path into a token"),
        ("auth: {jwt: [{jwk_url: 'https://x', claims_map: {x-hasura-a: b}}]}", "claims_map: lacks x-hasura-default-role"),
        ("auth: {jwt: [{jwk_url: 'https://x', claims_map: {user: b}}]}", "claims_map.user: 'user' is not a session variable: x-hasura-…"),
        ("auth: {jwt: [{jwk_url: 'https://x', claims_map: {x-hasura-a: {}}}]}", "claims_map.x-hasura-a: has a `value` or a `path`, one"),
        ("auth: {jwt: [{jwk_url: 'https://x', claims_map: {x-hasura-a: {value: a, default: b}}}]}", "x-hasura-a.default: is of a `path`"),
        ("auth: {jwt: [{jwk_url: 'https://x', claims_map: {x-hasura-a: {path: '$['}}}]}", "'$[' is not a path into a token"),
        ("auth: {jwt: [{jwk_url: 'https://x', header: {type: Query}}]}", "header.type: must be one of Authorization, Cookie, CustomHeader"),
        ("auth: {jwt: [{jwk_url: 'https://x', url: y}]}", "auth.jwt[0].url: is not a setting"),
    ],
)  # fmt: skip
def test_mistakes(text: str, expected: str) -> None:
    found = problems(text)
    assert any(expected in one for one in found), found
    assert all(one.startswith("t.yaml:3:") for one in found)


def test_what_differs_is_told_without_secrets() -> None:
    before = loaded("auth: {admin_secrets: first-first-first-first}")
    after = loaded(
        "auth: {admin_secrets: '${HIDDEN}', jwt: [{type: HS256, key: '${HIDDEN}'}], unauthorized_role: x}"
    )
    lines = report(compare(before, after))
    assert lines == ["~ auth.admin_secrets", "~ auth.jwt", "~ auth.unauthorized_role: None → x"]
    assert applicable(before, after).auth == after.auth
    without = loaded("")
    for old, new in ((before, without), (without, before)):
        assert report(compare(old, new)) == ["! auth; needs a restart"]
        assert applicable(old, new).auth == old.auth, "the address it may listen at depends on it"
