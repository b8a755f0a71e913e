"""What a role may select. A permission is carried whole or not at all, so that nobody sees more for it."""

from __future__ import annotations

from typing import Any, Final

from tycostream.config.access import ALL_COLUMNS, QUERY_ROOTS, SUBSCRIPTION_ROOTS
from tycostream.metadata.conditions import condition_of, filter_of
from tycostream.metadata.ledger import Entry, Untranslatable, malformed
from tycostream.metadata.world import Tracked, World

_CHANGES: Final = "select_changes"
_ROOTS: Final = {"query_root_fields": QUERY_ROOTS, "subscription_root_fields": SUBSCRIPTION_ROOTS}
_WHY: Final = {"computed_fields": "functions are not called by this version"}


def permissions_of(tracked: Tracked, world: World) -> dict[str, Any]:
    """The entries below ``permissions:``, by role."""
    found: dict[str, Any] = {}
    for entry in tracked.entry.entries("select_permissions", lambda item: item.get("role")):
        role = entry.text("role") or ""
        comment = entry.text("comment")
        permission = entry.entry("permission")
        permission.because(_WHY)
        try:
            found[role] = _permission(permission, tracked, world) | ({"comment": comment} if comment else {})
        except Untranslatable as why:
            entry.skip(f"{why.reason}; the whole permission is left out, so that nobody sees more")
            continue
        permission.close()
        entry.close()
    return found


def _permission(entry: Entry, tracked: Tracked, world: World) -> dict[str, Any]:
    columns = entry.take("columns", [])
    if columns != ALL_COLUMNS and (
        not isinstance(columns, list) or not all(isinstance(column, str) for column in columns)
    ):
        raise malformed(f"{entry.name}.columns", columns, 'a list of columns, or "*"')
    found: dict[str, Any] = {"columns": columns}
    if where := condition_of(entry.take("filter", {}), tracked, world):
        found["where"] = where
    limit = entry.take("limit")
    if limit is not None:
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            raise malformed(f"{entry.name}.limit", limit, "a whole number")
        found["limit"] = limit
    if entry.flag("allow_aggregations"):
        found["aggregate"] = True
    for key, known in _ROOTS.items():
        if entry.peek(key) is not None:
            roots = entry.texts(key)
            if unknown := [root for root in roots if root not in known]:
                raise Untranslatable(f"its {key} has {', '.join(unknown)}, which this version does not know")
            found[key] = roots
    return found


def permission_entries(tracked: Tracked, world: World) -> list[dict[str, Any]]:
    """The select permissions in metadata."""
    found: list[dict[str, Any]] = []
    for role, entry in tracked.entry.mappings("permissions"):
        columns = list(entry.take("columns", ()))
        try:
            rows = filter_of(entry.take("where", {}), tracked, world)
        except Untranslatable as why:
            entry.skip(f"{why.reason}; the whole permission is left out, so that nobody sees more")
            continue
        permission: dict[str, Any] = {
            "columns": ALL_COLUMNS if columns == [ALL_COLUMNS] else columns,
            "filter": rows,
        }
        if (limit := entry.take("limit")) is not None:
            permission["limit"] = limit
        if entry.take("aggregate"):
            permission["allow_aggregations"] = True
        for key in _ROOTS:
            if (roots := entry.take(key)) is not None:
                if _CHANGES in roots:
                    entry.leave("change feeds are tycostream's own", key, _CHANGES)
                permission[key] = [root for root in roots if root != _CHANGES]
        comment = entry.text("comment")
        found.append({"role": role, "permission": permission} | ({"comment": comment} if comment else {}))
        entry.close()
    return found
