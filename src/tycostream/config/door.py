"""How the port meets the world, as the configuration says it: pages of other origins, proxies before it, TLS. Values only."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from tycostream.config.file_text import FileText
from tycostream.config.values import Duration, Flag, Model, Names


class ForwardedHeader(StrEnum):
    """The header in which proxies say for whom they ask."""

    X_FORWARDED_FOR = "X-Forwarded-For"
    FORWARDED = "Forwarded"


class CorsConfig(Model):
    """Pages of other origins. A list of origins in place of the mapping is its ``origins``."""

    origins: Names = Field(
        (),
        description="Origins whose pages may use this server: https://app.example.com, https://*.example.com "
        "for its subdomains, * for all; absent: pages of its own only.",
    )
    credentials: Flag = Field(False, description="Their requests may be authenticated by cookies.")
    headers: Names = Field(
        ("Authorization", "Content-Type", "X-Hasura-*", "GraphQL-Require-Preflight", "Last-Event-ID"),
        description="Headers that they may send; a * at the end stands for any ending, alone for any header.",
    )
    methods: Names = Field(("GET", "POST"), description="Methods that they may use.")
    max_age: Duration = Field(
        timedelta(minutes=10), description="How long a browser may remember what it was told of this."
    )

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if isinstance(value, str):  # as TYCO_CORS has it
            value = [part.strip() for part in value.split(",") if part.strip()]
        return {"origins": value} if isinstance(value, (list, tuple)) else value


class TlsVersion(StrEnum):
    """Versions of TLS."""

    V1_2 = "1.2"
    V1_3 = "1.3"


def _spelled(value: Any) -> Any:
    return str(value) if isinstance(value, float) else value  # 1.3 is a number to YAML


class TlsConfig(Model):
    """What the port speaks TLS with. The values are the files' contents: another content is another setting."""

    cert: FileText = Field(
        repr=False,
        description="A file with the certificate and those between it and its issuer's root, as PEM.",
    )
    key: FileText = Field(repr=False, description="A file with its private key, as PEM.")
    min_version: Annotated[TlsVersion, BeforeValidator(_spelled)] = Field(
        TlsVersion.V1_2, description="The oldest version that is spoken."
    )
