"""What a request may cost: ``api_limits`` of metadata and ``limits:`` of a configuration, as far as both have it."""

from __future__ import annotations

from typing import Any, Final

from pydantic import ValidationError

from tycostream.config.limits import LimitsConfig, RoleLimits
from tycostream.config.messages import plain
from tycostream.metadata.ledger import Entry

_BOTH: Final = ("depth_limit", "node_limit")
_WHY: Final = {
    "batch_limit": "batches of operations are not read by this version",
    "time_limit": "the time of a request is not limited by this version",
    "rate_limit": "requests are not counted over time by this version",
}


def limits_of(root: Entry) -> dict[str, Any]:
    """The section ``limits:``."""
    found: dict[str, Any] = {}
    roles: dict[str, dict[str, Any]] = {}
    with root.entry("api_limits") as limits:
        limits.because(_WHY)
        if limits.flag("disabled"):
            limits.skip("it is disabled, and would be in force here")
        for key in _BOTH:
            with limits.entry(key) as one:
                if _fits(key, value := one.take("global"), one, "global"):
                    found[key] = value
                with one.entry("per_role") as per_role:
                    for role in per_role.rest:
                        if _fits(key, value := per_role.take(role), per_role, role):
                            roles.setdefault(role, {})[key] = value
    return found | ({"per_role": roles} if roles else {})


def _fits(key: str, value: object, entry: Entry, at: str) -> bool:
    """Whether there is a limit that can be one here; one that cannot is listed."""
    if value is None:
        return False
    try:
        RoleLimits.model_validate({key: value})
    except ValidationError as error:
        entry.leave(plain(error.errors()[0]), at)
        return False
    return True


def limit_entry(config: Entry, ours: str) -> dict[str, Any]:
    """The section ``api_limits``; ``ours``: why the other limits are not in it."""
    found: dict[str, dict[str, Any]] = {}
    with config.entry("limits") as limits:
        limits.because_all(ours)
        own = {key: limits.take(key) for key in _BOTH}
        defaults = LimitsConfig()
        for key, value in own.items():
            if value is not None:
                found[key] = {"global": value}
        for role, entry in limits.mappings("per_role"):
            with entry:
                entry.because_all(ours)
                for key in _BOTH:
                    if (value := entry.take(key)) is not None:
                        # Hasura wants one for all beside those of single roles: it is what is in force here
                        limit = found.setdefault(key, {"global": getattr(defaults, key)})
                        limit.setdefault("per_role", {})[role] = value
    return {"disabled": False, **found} if found else {}
