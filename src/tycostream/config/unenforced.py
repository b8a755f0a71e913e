"""What holds for nobody as long as everybody is admin: a server that ignored it would break a promise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tycostream.config.model import Config
from tycostream.config.tree import Report

_FOR_NOBODY: Final = (
    "{} for nobody without `auth`: whoever reaches the port is admin, and {}; "
    "say in `auth` who is asking, or remove {}"
)
_PERMISSIONS: Final = _FOR_NOBODY.format("permissions hold", "sees everything", "them")
_OF_ROLES: Final = {
    "allowlist": _FOR_NOBODY.format("the allow-list holds", "may run any operation", "it"),
    "introspection": _FOR_NOBODY.format("introspection is disabled", "may look at the schema", "it"),
}


def refuse_unenforced(config: Config, report: Report) -> None:
    """Note everything that whoever wrote it would rely on. ``tycostream metadata`` reads and writes it all the same."""
    for name, source in config.sources.items():
        if source.permissions and config.auth is None:
            report.add(("sources", name, "permissions"), _PERMISSIONS, key=True)
    for key, said in _OF_ROLES.items():
        if key in config.model_fields_set and config.auth is None:
            report.add((key,), said, key=True)


def for_nobody(tree: Mapping[str, Any]) -> list[str]:
    """The keys of a configuration, as plain values, for which it is refused because nobody is asked who he is."""
    if "auth" in tree:
        return []
    permissions = any("permissions" in source for source in tree["sources"].values())
    return [*(["permissions"] if permissions else []), *(key for key in _OF_ROLES if key in tree)]
