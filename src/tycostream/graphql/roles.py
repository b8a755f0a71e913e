"""What there is for a role, of the sources that are described: what it may not see does not exist in its schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tycostream.auth.permissions import Permission, Unfit, permission_of
from tycostream.config.model import SourceConfig
from tycostream.graphql.conditions import fits
from tycostream.graphql.relationships import Relationship, Relationships
from tycostream.graphql.source import Source


@dataclass(frozen=True, slots=True)
class PermissionMisfit:
    """Why a permission of the configuration is not there: nobody sees the source by it."""

    source: str
    role: str
    message: str


def permissions_of(
    role: str, sources: Mapping[str, SourceConfig], whole: Mapping[str, Source]
) -> tuple[dict[str, Permission], list[PermissionMisfit]]:
    """The permissions of a role by source, and what is wrong with others; ``whole``: the sources that are described."""
    found: dict[str, Permission] = {}
    misfits: list[PermissionMisfit] = []
    for name, source in whole.items():
        config = sources[name].permissions.get(role) if name in sources else None
        if config is None:
            continue
        try:
            permission = permission_of(config, source.row_type)
            fits(source, permission.where)
            found[name] = permission
        except Unfit as unfit:
            misfits.append(PermissionMisfit(name, role, str(unfit)))
    return found, misfits


def permitted(relationships: Relationships, permissions: Mapping[str, Permission]) -> Relationships:
    """The relationships from what a role sees to what it sees; a row that is always there may be out of its sight."""
    return {
        name: tuple(
            _seen(each, permissions[each.join.source]) for each in mine if each.join.source in permissions
        )
        for name, mine in relationships.items()
        if name in permissions
    }


def _seen(relationship: Relationship, target: Permission) -> Relationship:
    return replace(relationship, required=relationship.required and not target.where)
