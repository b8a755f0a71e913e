"""Who may ask, as the configuration says it: admin secrets, token issuers, and the role of those who show neither.

Values only. ``auth_rules.py`` looks at what is between them, and ``jwt_keys.py`` reads the keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from tycostream.config.file_text import FileText
from tycostream.config.values import Duration, Flag, Model, Names

CLAIMS_NAMESPACE: Final = "https://hasura.io/jwt/claims"


class JwtType(StrEnum):
    """The algorithm of a signature, by its name in a token; ``Ed25519`` is Hasura's name for EdDSA."""

    HS256 = "HS256"
    HS384 = "HS384"
    HS512 = "HS512"
    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    EDDSA = "EdDSA"
    ED25519 = "Ed25519"


class ClaimsFormat(StrEnum):
    """How the claims lie in a token: as an object, or as a text that holds one."""

    JSON = "json"
    STRINGIFIED_JSON = "stringified_json"


class HeaderType(StrEnum):
    """Where a request has its token."""

    AUTHORIZATION = "Authorization"
    COOKIE = "Cookie"
    CUSTOM = "CustomHeader"


class HeaderConfig(Model):
    """Where a request has its token."""

    type: HeaderType = Field(
        HeaderType.AUTHORIZATION,
        description="Authorization: Bearer …, a cookie, or a header of another name.",
    )
    name: str | None = Field(None, description="The name of the cookie or the header.")


class ClaimConfig(Model):
    """Where one session variable comes from: a fixed value, or a place in the token."""

    value: Names | None = Field(None, description="A fixed value; a text in place of this mapping is one.")
    path: str | None = Field(None, description="Its place in the token: $.a.b, $['any key'].")
    default: Names | None = Field(None, description="Its value where the token has nothing there.")


def _claims_map(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {
        name: {"value": claim} if isinstance(claim, (str, list, tuple)) else claim
        for name, claim in value.items()
    }


class JwtConfig(Model):
    """One issuer of tokens: how its signatures are verified, and where its claims are."""

    type: JwtType | None = Field(
        None, description="The algorithm; with jwk_url absent: what each key is for."
    )
    key: str | None = Field(
        None, repr=False, description="The secret (HS…), or the public key or certificate as PEM."
    )
    key_file: FileText | None = Field(None, repr=False, description="A file that holds the key.")
    jwk_url: str | None = Field(None, description="Where the issuer publishes its keys (JWKS).")
    insecure_url: Flag = Field(False, description="jwk_url may be http:// beyond this machine.")
    issuer: str | None = Field(None, description="`iss` of its tokens; absent: any.")
    audience: Names = Field((), description="One of them is in `aud` of its tokens; absent: not looked at.")
    leeway: Duration = Field(timedelta(0), description="How far clocks may differ.")
    claims_namespace: str = Field(CLAIMS_NAMESPACE, description="The claim that holds the x-hasura-… claims.")
    claims_namespace_path: str | None = Field(
        None, description="The path to them, instead: $.hasura.claims; $: the token itself."
    )
    claims_format: ClaimsFormat = Field(
        ClaimsFormat.JSON, description="Whether that claim is an object, or a text that holds one."
    )
    claims_map: Annotated[dict[str, ClaimConfig], BeforeValidator(_claims_map)] = Field(
        default_factory=dict, description="The x-hasura-… claims one by one, instead of a namespace."
    )
    header: HeaderConfig = Field(default_factory=HeaderConfig, description="Where a request has the token.")

    @property
    def key_text(self) -> str | None:
        """The key, wherever it was written."""
        return self.key if self.key is not None else self.key_file

    @property
    def algorithm(self) -> str | None:
        """The name of the algorithm as tokens have it."""
        return (
            None
            if self.type is None
            else JwtType.EDDSA.value
            if self.type is JwtType.ED25519
            else self.type.value
        )


class AuthConfig(Model):
    """Who may ask."""

    admin_secrets: Names = Field(
        (), repr=False, description="Each of them, in X-Hasura-Admin-Secret, makes a request an admin's."
    )
    jwt: tuple[JwtConfig, ...] = Field((), description="The issuers whose tokens are taken.")
    unauthorized_role: str | None = Field(
        None, description="The role of requests without secret and token; absent: they are refused."
    )
    revocations_keep: Duration = Field(
        timedelta(days=30),
        description="How long it is remembered what was revoked: as long as a token lives, at least.",
    )
