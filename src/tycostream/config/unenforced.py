"""What the configuration can say and nothing obeys: a server that ignored it would break a promise."""

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
_FOR_NOBODY: Final = (
    "permissions hold for nobody without `auth`: whoever reaches the port is admin, and sees everything; "
    "say in `auth` who is asking, or remove them"
)


def refuse_unenforced(config: Config, report: Report) -> None:
    """Note everything that whoever wrote it would rely on. ``tycostream metadata`` reads and writes it all the same."""
    for name, source in config.sources.items():
        if source.permissions and config.auth is None:
            report.add(("sources", name, "permissions"), _FOR_NOBODY, key=True)
    for key, why in _TOP.items():
        if key in config.model_fields_set:
            report.add((key,), refused(why, "them", "enforces them"), key=True)


def unenforced(tree: Mapping[str, Any]) -> list[str]:
    """The keys of a configuration, as plain values, for which it would be refused, whoever is asking."""
    return [key for key in _TOP if key in tree]


def for_nobody(tree: Mapping[str, Any]) -> bool:
    """Whether a configuration, as plain values, is refused because nobody is asked who he is."""
    return "auth" not in tree and any("permissions" in source for source in tree["sources"].values())
