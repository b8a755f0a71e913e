"""What the configuration can say and nothing obeys yet: a server that ignored it would break a promise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tycostream.config.messages import refused
from tycostream.config.model import Config
from tycostream.config.tree import Report

_TOP: Final = {
    "inherited_roles": "inherited roles are not enforced by this version",
    "query_collections": "query collections are not enforced by this version",
    "allowlist": "allow-lists are not enforced by this version",
    "introspection": "limits of introspection are not enforced by this version",
}


def refuse_unenforced(config: Config, report: Report) -> None:
    """Note everything that whoever wrote it would rely on. ``tycostream metadata`` reads and writes it all the same."""
    for name, source in config.sources.items():
        if "permissions" in source.model_fields_set:
            said = refused("permissions are not enforced by this version", "them", "enforces them")
            report.add(("sources", name, "permissions"), said, key=True)
    for key, why in _TOP.items():
        if key in config.model_fields_set:
            report.add((key,), refused(why, "them", "enforces them"), key=True)


def unenforced(tree: Mapping[str, Any]) -> list[str]:
    """The keys of a configuration, as plain values, for which it would be refused."""
    permissions = any("permissions" in source for source in tree["sources"].values())
    return [*(["permissions"] if permissions else []), *(key for key in _TOP if key in tree)]
