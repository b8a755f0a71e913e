"""What there is for a role, of the sources that are described: what it may not see does not exist in its schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tycostream.auth.permissions import Permission, Unfit, granting, permission_of, together
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
    role: str,
    sources: Mapping[str, SourceConfig],
    whole: Mapping[str, Source],
    inherited: Mapping[str, Sequence[str]],
) -> tuple[dict[str, Permission], list[PermissionMisfit]]:
    """The permissions of a role by source, and what is wrong with others; ``whole``: the sources that are described."""
    found: dict[str, Permission] = {}
    misfits: list[PermissionMisfit] = []
    for name, source in whole.items():
        configs = sources[name].permissions if name in sources else {}
        fitting: list[Permission] = []
        for granting_role in granting(role, configs, inherited):
            try:
                permission = permission_of(configs[granting_role], source.row_type)
                for grant in permission.grants:
                    fits(source, grant.where)
                fitting.append(permission)
            except Unfit as unfit:
                misfits.append(PermissionMisfit(name, granting_role, str(unfit)))
        if fitting:
            found[name] = together(fitting)
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
    return replace(relationship, required=relationship.required and target.all_rows)
