"""Rules of ``auth:``: keys that fit their algorithms, issuers that can be told apart, addresses that are safe."""

from __future__ import annotations

from typing import Final, Protocol
from urllib.parse import urlsplit

from tycostream.config.auth import AuthConfig, HeaderType, JwtConfig
from tycostream.config.loopback import is_loopback
from tycostream.config.tree import Path
from tycostream.json_path import json_path

_SECRET_CHARACTERS_MIN: Final = 16
_ROLES: Final = ("x-hasura-default-role", "x-hasura-allowed-roles")
_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class _Add(Protocol):
    def __call__(self, path: Path, message: str, *, key: bool = False) -> None: ...


def check_auth(auth: AuthConfig, add: _Add, *, tokens: bool) -> None:
    """Note every broken rule. ``tokens``: API tokens can let somebody in too."""
    if not auth.admin_secrets and not auth.jwt and auth.unauthorized_role is None and not tokens:
        add(
            ("auth",),
            'lets nobody in; write admin_secrets: ["${ADMIN_SECRET}"], or jwt with an issuer, or `state:` for API tokens',
        )
    for i, secret in enumerate(auth.admin_secrets):
        here: Path = ("auth", "admin_secrets", i)
        if len(secret) < _SECRET_CHARACTERS_MIN:
            add(here, "is too short to be a secret: 16 characters at least; `openssl rand -hex 32` makes one")
        elif not secret.isprintable() or secret != secret.strip():
            add(here, "cannot be sent in a header: printable text, without spaces around it")
    role = auth.unauthorized_role
    if role == "admin":
        add(("auth", "unauthorized_role"), "would let everybody see everything; name another role")
    elif role is not None and (not role.strip() or not role.isprintable() or role != role.strip()):
        add(
            ("auth", "unauthorized_role"),
            f"{role!r} is not a role's name: printable text, without spaces around it",
        )
    for i, jwt in enumerate(auth.jwt):
        _jwt(("auth", "jwt", i), jwt, add)
        for other in auth.jwt[:i]:
            if other.issuer == jwt.issuer and _place(other) == _place(jwt):
                add(
                    ("auth", "jwt", i),
                    "has its token where another issuer has it; give each its `issuer`, or another `header`",
                )
                break


def _place(jwt: JwtConfig) -> tuple[HeaderType, str]:
    return jwt.header.type, (jwt.header.name or "").lower()


def _jwt(path: Path, jwt: JwtConfig, add: _Add) -> None:
    def say(name: str, message: str) -> None:
        add((*path, name), message)

    keys = [name for name in ("key", "key_file", "jwk_url") if getattr(jwt, name) is not None]
    if len(keys) != 1:
        said = "has no key" if not keys else f"has {' and '.join(keys)}; keep one of them"
        add(path, said if keys else f"{said}; write type and key, key_file, or jwk_url")
    elif jwt.jwk_url is not None:
        if jwt.algorithm is not None and jwt.algorithm.startswith("HS"):
            say("type", "is for a secret, and keys that are published are none; remove it, or give a key")
        if problem := url_problem(jwt.jwk_url, insecure=jwt.insecure_url):
            say("jwk_url", problem)
    elif jwt.algorithm is None:
        add(path, f"has a {keys[0]}, but no type; write its algorithm: `type: RS256`")
    else:
        from tycostream.config.jwt_keys import fixed_key  # only who has keys pays for cryptography

        try:
            fixed_key(jwt.algorithm, jwt.key_text or "")
        except ValueError as error:
            say(keys[0], str(error))
    if jwt.insecure_url and jwt.jwk_url is None:
        say("insecure_url", "is of jwk_url; remove it")
    for i, audience in enumerate(jwt.audience):
        if not audience:
            add((*path, "audience", i), "is empty; name an audience, or remove `audience`")
    if jwt.issuer is not None and not jwt.issuer:
        say("issuer", "is empty; name an issuer, or remove `issuer`")
    if jwt.leeway.total_seconds() > 300:
        say("leeway", "must be at most 5m: so much longer tokens are good than they say")
    _header(path, jwt, add)
    _claims(path, jwt, add)


def url_problem(url: str, *, insecure: bool) -> str:
    """Why keys must not be fetched from an address, or nothing."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("https", "http") or not url.isascii() or not url.isprintable():
        return "is not an address: https://host/path"
    if parts.username or parts.password:
        return "must not hold a user or a password: keys to verify with are public"
    if parts.scheme == "http" and not insecure and not is_loopback(host):
        return "is http://, so whoever is between could give other keys; write https://, or set insecure_url: true"
    return ""


def _header(path: Path, jwt: JwtConfig, add: _Add) -> None:
    name, here = jwt.header.name, (*path, "header")
    if jwt.header.type is HeaderType.AUTHORIZATION:
        if name is not None:
            add((*here, "name"), "is of a Cookie or CustomHeader; remove it")
    elif name is None:
        add(here, f"is a {jwt.header.type.value} without its `name`")
    elif not name or not set(name) <= _TOKEN:
        add((*here, "name"), "is not a name of a header or cookie")
    elif jwt.header.type is HeaderType.CUSTOM and name.lower() in (
        "authorization",
        "cookie",
        "host",
        "origin",
    ):
        add((*here, "name"), f"is a header of its own meaning; write type: {name.title()}, or another name")
    elif jwt.header.type is HeaderType.CUSTOM and name.lower().startswith("x-hasura-"):
        add((*here, "name"), "is where session variables are; choose another name")


def _claims(path: Path, jwt: JwtConfig, add: _Add) -> None:
    if jwt.claims_map and {"claims_namespace", "claims_namespace_path"} & jwt.model_fields_set:
        add((*path, "claims_map"), "is instead of a namespace; keep one of them", key=True)
    if {"claims_namespace", "claims_namespace_path"} <= jwt.model_fields_set:
        add((*path, "claims_namespace_path"), "is instead of claims_namespace; keep one", key=True)
    if jwt.claims_namespace_path is not None:
        _path((*path, "claims_namespace_path"), jwt.claims_namespace_path, add)
    for name, claim in jwt.claims_map.items():
        here = (*path, "claims_map", name)
        if not name.lower().startswith("x-hasura-") or len(name) == len("x-hasura-"):
            add(here, f"{name!r} is not a session variable: x-hasura-…", key=True)
        if (claim.value is None) == (claim.path is None):
            add(here, "has a `value` or a `path`, one of them")
        elif claim.value is not None and claim.default is not None:
            add((*here, "default"), "is of a `path`; remove it")
        elif claim.path is not None:
            _path((*here, "path"), claim.path, add)
    if jwt.claims_map:
        for role in _ROLES:
            if role not in {name.lower() for name in jwt.claims_map}:
                add((*path, "claims_map"), f"lacks {role}: without it no token has a role")


def _path(path: Path, text: str, add: _Add) -> None:
    try:
        json_path(text)
    except ValueError:
        add(path, f"{text!r} is not a path into a token: $.a.b, or $['any key']")
