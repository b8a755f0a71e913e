"""What a request may cost: ``api_limits`` of metadata and ``limits:`` of a configuration, as far as both have it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from pydantic import ValidationError

from tycostream.config.limits import LimitsConfig, RoleLimits
from tycostream.config.messages import plain
from tycostream.metadata.ledger import Entry
from tycostream.metadata.rates import rate_entry, rates_of

_BOTH: Final = ("depth_limit", "node_limit")
_TIME: Final = "time_limit"  # in seconds there, a duration here
_WHY: Final = {
    "batch_limit": "batches of operations are not read by this version",
}


def limits_of(root: Entry) -> dict[str, Any]:
    """The section ``limits:``."""
    found: dict[str, Any] = {}
    roles: dict[str, dict[str, Any]] = {}
    with root.entry("api_limits") as limits:
        limits.because(_WHY)
        if limits.flag("disabled"):
            limits.skip("it is disabled, and would be in force here")
        for key in (*_BOTH, _TIME):
            with limits.entry(key) as one:
                if _fits(key, value := _ours(key, one.take("global")), one, "global"):
                    found[key] = value
                with one.entry("per_role") as per_role:
                    for role in per_role.rest:
                        if _fits(key, value := _ours(key, per_role.take(role)), per_role, role):
                            roles.setdefault(role, {})[key] = value
        with limits.entry("rate_limit") as rate:
            rates_of(rate, found, roles)
    return found | ({"per_role": roles} if roles else {})


def _ours(key: str, value: Any) -> Any:
    """A value as a configuration has it; what is none is left for ``_fits`` to tell."""
    seconds = key == _TIME and isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value:g}s" if seconds else value


def _theirs(key: str, value: Any) -> Any:
    """A value as metadata has it; None if it cannot have it."""
    if not isinstance(value, timedelta):
        return value
    return value // timedelta(seconds=1) if value and not value % timedelta(seconds=1) else None


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
        defaults = LimitsConfig()
        for key in (*_BOTH, _TIME):
            if (value := _theirs(key, limits.peek(key))) is not None:
                limits.take(key)
                found[key] = {"global": value}
        if rate := rate_entry(limits):
            found["rate_limit"] = {"global": rate}
        for role, entry in limits.mappings("per_role"):
            with entry:
                entry.because_all(ours)
                for key in (*_BOTH, _TIME):
                    if (value := _theirs(key, entry.peek(key))) is not None:
                        entry.take(key)
                        # Hasura wants one for all beside those of single roles: it is what is in force here
                        limit = found.setdefault(key, {"global": _theirs(key, getattr(defaults, key))})
                        limit.setdefault("per_role", {})[role] = value
                if "rate_limit" in found and (rate := rate_entry(entry, limits.peek("user"))):
                    found["rate_limit"].setdefault("per_role", {})[role] = rate
        if "rate_limit" in found:
            limits.take("user")
    return {"disabled": False, **found} if found else {}
