"""How often operations may be started: ``rate_limit`` of metadata, and the rates of ``limits:``, as far as both have them.

Metadata counts by role, or by role and address or session variables. So does a configuration, with a setting for each.
"""

from __future__ import annotations

from typing import Any, Final

from tycostream.metadata.ledger import Entry

_ROLE: Final = "operations_per_role"
_ADDRESS: Final = "operations_per_ip"
_USER: Final = "operations_per_user"
_VARIABLE: Final = "x-hasura-user-id"
_SEVERAL: Final = "operations are counted by the role, the address or one session variable here"
_OTHER: Final = "users are told apart by one session variable here, for all roles"


def rates_of(rate: Entry, limits: dict[str, Any], roles: dict[str, dict[str, Any]]) -> None:
    """Put what ``rate_limit`` says into a configuration's ``limits`` and those of its ``roles``."""
    with rate.entry("global") as one:
        _take(one, limits, limits)
    for role, entry in rate.mappings("per_role"):
        with entry:
            own: dict[str, Any] = {}
            _take(entry, own, limits)
            if own:
                roles.setdefault(role, {}).update(own)


def _take(entry: Entry, into: dict[str, Any], limits: dict[str, Any]) -> None:
    count, by = entry.take("max_reqs_per_min"), entry.take("unique_params")
    if count is None:
        return
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        entry.leave("must be a whole number of at least 1", "max_reqs_per_min")
        return
    names = [by] if isinstance(by, str) else by or []
    if not isinstance(names, list) or len(names) > 1 or not all(isinstance(name, str) for name in names):
        entry.leave(_SEVERAL)
    elif not names:
        into[_ROLE] = f"{count}/m"
    elif names[0] == "IP":
        into[_ADDRESS] = f"{count}/m"
    elif limits.get("user", names[0].lower()) != names[0].lower():
        entry.leave(_OTHER)
    else:
        limits["user"] = names[0].lower()
        into[_USER] = f"{count}/m"


def rate_entry(limits: Entry, user: str | None = None) -> dict[str, Any] | None:
    """The rate of a configuration's limits as metadata has it; None if it has none, or several: those are listed."""
    found = [key for key in (_ROLE, _ADDRESS, _USER) if limits.peek(key) is not None]
    if len(found) != 1:
        return None
    count, _, unit = limits.peek(found[0]).partition("/")
    if unit != "m":
        return None
    limits.take(found[0])
    by = {_ROLE: None, _ADDRESS: "IP", _USER: [limits.peek("user") or user or _VARIABLE]}[found[0]]
    return {"max_reqs_per_min": int(count)} | ({"unique_params": by} if by else {})
