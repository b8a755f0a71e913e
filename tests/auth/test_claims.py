"""From claims to a role and variables."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.auth.tokens import HASURA, NAMESPACE, ROLES
from tycostream.auth.claims import array_literal, role_and_variables
from tycostream.config.auth import JwtConfig
from tycostream.errors import RequestError


def found(claims: dict[str, Any], wanted: str | None = None, **settings: Any) -> tuple[str, dict[str, str]]:
    return role_and_variables(claims, JwtConfig.model_validate(settings), wanted)


def test_hasuras_namespace_and_other_places() -> None:
    expected = ("user", {"user-id": "7"})
    assert found(HASURA) == expected
    assert found({"my": HASURA[NAMESPACE]}, claims_namespace="my") == expected
    assert found({"a": {"b c": [HASURA[NAMESPACE]]}}, claims_namespace_path="$.a['b c'][0]") == expected
    assert found(HASURA[NAMESPACE], claims_namespace_path="$") == expected
    text = {NAMESPACE: json.dumps(HASURA[NAMESPACE])}
    assert found(text, claims_format="stringified_json") == expected
    assert found(HASURA, "editor")[0] == "editor"


def test_values_become_texts() -> None:
    held = {
        **ROLES, "x-hasura-n": 5, "x-hasura-b": True, "x-hasura-l": ["a", 'b"\\,', 3, True], "x-hasura-o": {"a": 1},
        "x-hasura-none": None, "sub": "not one", "x-hasura-": "not one", "x-hasura-empty": [],
    }  # fmt: skip
    assert found({NAMESPACE: held})[1] == {
        "n": "5",
        "b": "true",
        "l": '{"a","b\\"\\\\,","3","true"}',
        "o": '{"a":1}',
        "empty": "{}",
    }
    assert array_literal(["NULL", "a,b"]) == '{"NULL","a,b"}'


def test_keycloaks_and_auth0s_by_a_map() -> None:
    claims_map = {
        "x-hasura-allowed-roles": {"path": "$.realm_access.roles"},
        "X-Hasura-Default-Role": {"path": "$.main", "default": "trader"},
        "x-hasura-user-id": {"path": "$.sub"},
        "x-hasura-desk": {"path": "$['https://x/desk']", "default": "none"},
        "x-hasura-org": {"path": "$.org"},
        "x-hasura-site": "eu",
        "x-hasura-sites": ["eu", "us"],
    }
    claims = {"sub": "u-1", "realm_access": {"roles": ["trader", "ops"]}, "https://x/desk": None}
    variables = {"user-id": "u-1", "desk": "none", "site": "eu", "sites": '{"eu","us"}'}
    assert found(claims, claims_map=claims_map) == ("trader", variables)
    fixed = {"x-hasura-allowed-roles": "user", "x-hasura-default-role": "user"}
    assert found({}, claims_map=fixed) == ("user", {})


@pytest.mark.parametrize(
    ("claims", "code", "message"),
    [
        ({}, "jwt-invalid-claims", f"claims key: '{NAMESPACE}' not found"),
        ({NAMESPACE: "{}"}, "jwt-invalid-claims", f"claims key: '{NAMESPACE}' is not an object"),
        ({NAMESPACE: {}}, "jwt-missing-role-claims", "JWT claim does not contain x-hasura-allowed-roles"),
        ({NAMESPACE: {"x-hasura-allowed-roles": ["a"]}}, "jwt-missing-role-claims", "JWT claim does not contain x-hasura-default-role"),
        ({NAMESPACE: {**ROLES, "x-hasura-allowed-roles": "user"}}, "jwt-invalid-claims", "invalid x-hasura-allowed-roles; should be a list of roles"),
        ({NAMESPACE: {**ROLES, "x-hasura-allowed-roles": ["user", 1]}}, "jwt-invalid-claims", "invalid x-hasura-allowed-roles; should be a list of roles"),
        ({NAMESPACE: {**ROLES, "x-hasura-default-role": ["user"]}}, "jwt-invalid-claims", "invalid x-hasura-default-role; should be a role"),
        ({NAMESPACE: {**ROLES, "x-hasura-default-role": "admin"}}, "access-denied", "Your requested role is not in allowed roles"),
        ({NAMESPACE: {**ROLES, "x-hasura-id": 1, "X-HASURA-ID": 2}}, "jwt-invalid-claims", "the claim 'x-hasura-id' is there twice"),
    ],
)  # fmt: skip
def test_claims_that_are_refused(claims: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        found(claims)
    assert (caught.value.code, caught.value.message) == (code, message)


@pytest.mark.parametrize("held", ["nope", {}, "[]", "[" * 5000, 5])
def test_a_text_that_holds_no_object(held: object) -> None:
    with pytest.raises(RequestError, match="is not a text that holds one"):
        found({NAMESPACE: held}, claims_format="stringified_json")


def test_a_path_into_what_is_not_there() -> None:
    for path in ("$.a.b", "$.l[5]", "$.l.x", f"$.l[{'9' * 18}]"):
        with pytest.raises(RequestError, match="not found"):
            found({"a": 5, "l": [1]}, claims_namespace_path=path)
