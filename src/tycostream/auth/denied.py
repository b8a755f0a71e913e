"""Why somebody is not let in: for the client Hasura's code and words, for logs a reason from a short list."""

from __future__ import annotations

from enum import StrEnum

from tycostream.errors import RequestError


class Reason(StrEnum):
    """What was wrong with what was shown. docs/errors.md lists them."""

    MISSING = "credentials-missing"
    MALFORMED = "credentials-malformed"
    SECRET_WRONG = "secret-wrong"  # noqa: S105
    ROLE_NOT_ALLOWED = "role-not-allowed"
    TOKEN_MALFORMED = "token-malformed"  # noqa: S105
    TOKEN_FORGED = "token-forged"  # noqa: S105 - no key of ours, or not signed with it
    TOKEN_FOR_OTHERS = "token-for-others"  # noqa: S105 - another issuer, another audience
    TOKEN_NOT_YET = "token-not-yet"  # noqa: S105
    TOKEN_EXPIRED = "token-expired"  # noqa: S105
    TOKEN_UNKNOWN = "token-unknown"  # noqa: S105
    TOKEN_REVOKED = "token-revoked"  # noqa: S105
    CLAIMS_WRONG = "claims-wrong"
    TOO_OFTEN = "too-often"  # secrets from this address were wrong too often to look at one more
    UNAVAILABLE = "unavailable"  # not the client's fault: what we must ask does not answer


class Denied(RequestError):
    """Nobody is let in with that. Neither message nor reason ever holds a part of a secret or of a token."""

    def __init__(self, code: str, message: str, reason: Reason, *, hint: str = "") -> None:
        super().__init__(code, message, hint=hint)
        self.reason = reason


def unavailable(message: str) -> Denied:
    """It cannot be said who that is, for now."""
    return Denied("unavailable", message, Reason.UNAVAILABLE, hint="try again in a moment")


def malformed(message: str, *, hint: str = "") -> Denied:
    """Headers in which nothing, or more than one thing, can be read."""
    return Denied("invalid-headers", message, Reason.MALFORMED, hint=hint)


def several_tokens() -> Denied:
    """Which of them is meant would be a guess."""
    return malformed("there are several tokens, in different headers; send one")


def not_allowed() -> Denied:
    """The role that is wanted is none of those that are allowed."""
    return Denied("access-denied", "Your requested role is not in allowed roles", Reason.ROLE_NOT_ALLOWED)


def expired(*, api: bool) -> Denied:
    """The token was good, until its end. ``api``: it is an API token, else a JWT."""
    if api:
        return Denied("access-denied", "the token has expired", Reason.TOKEN_EXPIRED)
    return Denied("invalid-jwt", "Could not verify JWT: JWTExpired", Reason.TOKEN_EXPIRED)


def revoked(*, api: bool) -> Denied:
    """The token was good, until somebody revoked it. ``api``: it is an API token, else a JWT."""
    if api:
        return Denied("access-denied", "the token was revoked", Reason.TOKEN_REVOKED)
    return Denied("invalid-jwt", "Could not verify JWT: JWTRevoked", Reason.TOKEN_REVOKED)
