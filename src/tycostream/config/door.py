"""Whom the port lets in, as the configuration says it: pages of other origins, proxies before it. Values only."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any

from pydantic import Field, model_validator

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
        ("Authorization", "Content-Type", "X-Hasura-*", "GraphQL-Require-Preflight"),
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
