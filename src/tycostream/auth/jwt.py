"""A token, verified: its signature by PyJWT with the key that we bound to an algorithm, its times by our clock."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt
from jwt.exceptions import InvalidAudienceError, InvalidIssuerError, InvalidSignatureError, PyJWTError

from tycostream.auth.denied import Denied, Reason
from tycostream.auth.keys import Keys
from tycostream.clock import Clock
from tycostream.config.auth import JwtConfig

_BYTES_MAX: Final = 16 * 2**10


@dataclass(frozen=True, slots=True)
class Unverified:
    """What a token says of itself, good for nothing but to choose who verifies it."""

    text: str
    algorithm: str
    kid: str | None
    issuer: str | None


def refused(said: str, reason: Reason) -> Denied:
    """A token that is not taken, in Hasura's words."""
    return Denied("invalid-jwt", f"Could not verify JWT: {said}", reason)


def unverified(token: str) -> Unverified:
    """What a token says; RequestError if it is none at all."""
    if len(token) > _BYTES_MAX:
        raise refused(f"it is longer than {_BYTES_MAX} bytes", Reason.TOKEN_MALFORMED)
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
    except (PyJWTError, ValueError, TypeError, RecursionError):
        raise refused("it is not a JWT", Reason.TOKEN_MALFORMED) from None
    header, payload = parts["header"], parts["payload"]
    algorithm, kid, issuer = header.get("alg"), header.get("kid"), payload.get("iss")
    if not isinstance(algorithm, str) or not isinstance(kid, str | None):
        raise refused("its header is not one of a signed token", Reason.TOKEN_MALFORMED)
    return Unverified(token, algorithm, kid, issuer if isinstance(issuer, str) else None)


class Verifier:
    """One issuer of the configuration."""

    def __init__(self, config: JwtConfig, keys: Keys, clock: Clock) -> None:
        self.config = config
        self.keys = keys
        self._clock = clock

    async def verify(self, token: Unverified) -> tuple[Mapping[str, Any], float | None]:
        """The claims, and until when they hold (seconds since 1970; None: for ever). RequestError if it is not good."""
        key = await self.keys.find(token.kid, token.algorithm)
        if key is None:
            raise refused("no key of its issuer is for it", Reason.TOKEN_FORGED)
        claims = self._claims(token, key.key, key.algorithms)
        _expect_text(claims)
        return claims, self._until(claims)

    def _claims(self, token: Unverified, key: Any, algorithms: tuple[str, ...]) -> Mapping[str, Any]:
        config = self.config
        try:
            return jwt.decode(
                token.text,
                key,
                algorithms=list(algorithms),
                audience=list(config.audience) or None,
                issuer=config.issuer,
                options={
                    # times are ours to check: PyJWT asks the machine's clock, and takes what is no number for one
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_sub": False,
                    "verify_jti": False,
                    "verify_aud": bool(config.audience),
                    "verify_iss": config.issuer is not None,
                    "require": [
                        *(["aud"] if config.audience else []),
                        *(["iss"] if config.issuer is not None else []),
                    ],
                },
            )
        except InvalidSignatureError:
            raise refused("JWSError JWSInvalidSignature", Reason.TOKEN_FORGED) from None
        except InvalidAudienceError:
            raise refused("JWTNotInAudience", Reason.TOKEN_FOR_OTHERS) from None
        except InvalidIssuerError:
            raise refused("JWTNotInIssuer", Reason.TOKEN_FOR_OTHERS) from None
        except jwt.MissingRequiredClaimError as error:
            raise refused(f"it has no {error.claim}", Reason.CLAIMS_WRONG) from None
        except (PyJWTError, ValueError, TypeError, RecursionError):
            raise refused("it is not a signed token of its issuer", Reason.TOKEN_FORGED) from None

    def _until(self, claims: Mapping[str, Any]) -> float | None:
        now_s, leeway_s = self._clock.time(), self.config.leeway.total_seconds()
        expires_s, begins_s, issued_s = (time_of(claims, name) for name in ("exp", "nbf", "iat"))
        if expires_s is not None and now_s >= expires_s + leeway_s:
            raise refused("JWTExpired", Reason.TOKEN_EXPIRED)
        if begins_s is not None and now_s < begins_s - leeway_s:
            raise refused("JWTNotYetValid", Reason.TOKEN_NOT_YET)
        if issued_s is not None and now_s < issued_s - leeway_s:
            raise refused("JWTIssuedAtFuture", Reason.TOKEN_NOT_YET)
        return None if expires_s is None else expires_s + leeway_s


def _expect_text(claims: Mapping[str, Any]) -> None:
    """Refuse halves of characters, which JSON can spell: no list of sessions and no log could be written with them in it."""
    try:
        json.dumps(claims, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise refused("it holds half of a character", Reason.CLAIMS_WRONG) from None
    except RecursionError:
        raise refused("it is nested too deeply", Reason.CLAIMS_WRONG) from None


def time_of(claims: Mapping[str, Any], name: str) -> float | None:
    """A claim that is a time, in seconds since 1970; None if it is not there."""
    value = claims.get(name)
    if name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refused(f"its {name} is no time", Reason.CLAIMS_WRONG)
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        raise refused(f"its {name} is no time", Reason.CLAIMS_WRONG)
    return seconds
