"""From a verified token's claims to a role and session variables: Hasura's namespace, a path, or a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from tycostream.auth.credentials import PREFIX
from tycostream.auth.denied import Denied, Reason, not_allowed
from tycostream.config.auth import ClaimConfig, ClaimsFormat, JwtConfig
from tycostream.json_path import json_path

_DEFAULT_ROLE: Final = "default-role"
_ALLOWED_ROLES: Final = "allowed-roles"
_ABSENT: Final = object()


def role_and_variables(
    claims: Mapping[str, Any], config: JwtConfig, wanted: str | None
) -> tuple[str, dict[str, str]]:
    """The role (``wanted``, or the default one) and the variables by lower-case name without prefix; or RequestError."""
    found = _mapped(claims, config.claims_map) if config.claims_map else _namespace(claims, config)
    allowed = found.pop(_ALLOWED_ROLES, None)
    default = found.pop(_DEFAULT_ROLE, None)
    if allowed is None:
        raise _missing("JWT claim does not contain x-hasura-allowed-roles")
    if not isinstance(allowed, list) or not all(isinstance(role, str) for role in allowed):
        raise _invalid("invalid x-hasura-allowed-roles; should be a list of roles")
    if default is None:
        raise _missing("JWT claim does not contain x-hasura-default-role")
    if not isinstance(default, str):
        raise _invalid("invalid x-hasura-default-role; should be a role")
    role = default if wanted is None else wanted
    if role not in allowed:
        raise not_allowed()
    return role, {name: _text(value) for name, value in found.items()}


def _missing(message: str) -> Denied:
    return Denied("jwt-missing-role-claims", message, Reason.CLAIMS_WRONG)


def _invalid(message: str) -> Denied:
    return Denied("jwt-invalid-claims", message, Reason.CLAIMS_WRONG)


def _namespace(claims: Mapping[str, Any], config: JwtConfig) -> dict[str, Any]:
    if config.claims_namespace_path is not None:
        where = f"claims_namespace_path: '{config.claims_namespace_path}'"
        held = _at(claims, config.claims_namespace_path)
    else:
        where = f"claims key: '{config.claims_namespace}'"
        held = claims.get(config.claims_namespace, _ABSENT)
    if held is _ABSENT:
        raise _invalid(f"{where} not found")
    if config.claims_format is ClaimsFormat.STRINGIFIED_JSON:
        try:
            held = msgspec.json.decode(held) if isinstance(held, str) else None
        except (msgspec.DecodeError, RecursionError, ValueError):
            held = None
    if not isinstance(held, Mapping):
        wanted = "an object" if config.claims_format is ClaimsFormat.JSON else "a text that holds one"
        raise _invalid(f"{where} is not {wanted}")
    found: dict[str, Any] = {}
    for name, value in held.items():
        lower = name.lower()
        if lower.startswith(PREFIX) and len(lower) > len(PREFIX) and value is not None:
            if lower[len(PREFIX) :] in found:  # which of two is meant would be a guess
                raise _invalid(f"the claim {lower[:80]!r} is there twice")
            found[lower[len(PREFIX) :]] = value
    return found


def _mapped(claims: Mapping[str, Any], claims_map: Mapping[str, ClaimConfig]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, claim in claims_map.items():
        short = name.lower()[len(PREFIX) :]
        value: Any = _ABSENT if claim.path is None else _at(claims, claim.path)
        if value is _ABSENT or value is None:
            fixed = claim.value if claim.path is None else claim.default
            if fixed is None:
                continue
            value = list(fixed) if short == _ALLOWED_ROLES or len(fixed) != 1 else fixed[0]
        found[short] = value
    return found


def _at(claims: Any, path: str) -> Any:
    here = claims
    for step in json_path(path):
        if isinstance(here, Mapping) and step in here:
            here = here[step]
        elif isinstance(here, list) and step.isascii() and step.isdigit() and int(step[:9]) < len(here):
            here = here[int(step[:9])]
        else:
            return _ABSENT
    return here


def _text(value: Any) -> str:
    """Variables are texts. A list of values becomes what PostgreSQL writes for an array, as conditions read it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, (str, int, float)) for item in value):
        return array_literal([item if isinstance(item, str) else _json(item) for item in value])
    return _json(value)


def _json(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (ValueError, RecursionError, OverflowError):
        raise _invalid("a claim holds a value that cannot be a session variable") from None


def array_literal(items: Sequence[str]) -> str:
    """PostgreSQL's text of an array of texts, every one of them quoted: none can be taken for two, or for NULL."""
    return "{" + ",".join('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items) + "}"
