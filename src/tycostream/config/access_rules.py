"""Rules of what roles may see, as far as they can be checked without anybody asking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from tycostream.config.access import ALL_COLUMNS, QUERY_ROOTS, SUBSCRIPTION_ROOTS, PermissionConfig
from tycostream.config.messages import did_you_mean, kind
from tycostream.config.model import Config, SourceConfig
from tycostream.config.tree import Path

ADMIN: Final = "admin"
_Add = Callable[..., None]


def check_access(config: Config, sources: Sequence[str], add: _Add) -> None:
    """Note every broken rule. ``sources``: the names of all sources, also of those that are broken otherwise."""
    for name, source in config.sources.items():
        for role, permission in source.permissions.items():
            here: Path = ("sources", name, "permissions", role)
            _role(here, role, add, key=True)
            _permission(here, permission, source, add)
            _condition((*here, "where"), permission.where, sources, add)
    for role in config.inherited_roles:
        _inherited(role, config.inherited_roles, add)
    for collection, operations in config.query_collections.items():
        for name, text in operations.items():
            if problem := document_problem(text):
                add(("query_collections", collection, name), problem)
    if "allowlist" in config.model_fields_set and not config.allowlist:
        add(
            ("allowlist",),
            "names no collection, and then no role could run anything; name one, or remove it",
            key=True,
        )
    for collection, allowed in config.allowlist.items():
        path: Path = ("allowlist", collection)
        if collection not in config.query_collections:
            guess = did_you_mean(collection, config.query_collections)
            add(path, f"there is no query collection {collection!r}{guess}", key=True)
        if allowed.roles is not None:
            _roles((*path, "roles"), allowed.roles, add)
    _each_role(("introspection", "disabled_for_roles"), config.introspection.disabled_for_roles, add)


def document_problem(text: str) -> str | None:
    """Why a text is no document, or None."""
    from graphql import (
        GraphQLSyntaxError,
        parse,
    )  # takes a while to import, and most files have no collections

    try:
        parse(text, no_location=True)
    except GraphQLSyntaxError as error:
        return f"is no GraphQL document: {error.message.removeprefix('Syntax Error: ')}"
    except RecursionError:
        return "is no GraphQL document that can be read: it is nested too deeply"
    return None


def _role(path: Path, role: str, add: _Add, *, key: bool = False) -> None:
    if not role.strip() or role != role.strip() or not role.isprintable():
        add(path, f"{role!r} is not a role's name: printable text, without spaces around it", key=key)
    elif role == ADMIN:
        add(path, "admin sees everything, and nothing can be said of it; remove it", key=key)


def _each_role(path: Path, roles: Sequence[str], add: _Add) -> None:
    for i, role in enumerate(roles):
        _role((*path, i), role, add)


def _roles(path: Path, roles: Sequence[str], add: _Add) -> None:
    if not roles:
        add(path, "names no role; name one at least")
    _each_role(path, roles, add)


def _inherited(role: str, all_roles: Mapping[str, Sequence[str]], add: _Add) -> None:
    path: Path = ("inherited_roles", role)
    _role(path, role, add, key=True)
    _roles(path, all_roles[role], add)
    reached: dict[str, None] = dict.fromkeys(all_roles[role])
    waiting = list(reached)
    while waiting:
        for further in all_roles.get(waiting.pop(), ()):
            if further not in reached:
                reached[further] = None
                waiting.append(further)
    if role in reached:
        add(path, f"inherits from itself, by way of {', '.join(reached)}; a role cannot")


def _permission(path: Path, permission: PermissionConfig, source: SourceConfig, add: _Add) -> None:
    known = None if source.columns is None else [*source.columns, *source.fields]
    for i, column in enumerate(permission.columns):
        here = (*path, "columns", i)
        if column in permission.columns[:i]:
            add(here, f"{column!r} is here a second time; keep one")
        elif column == ALL_COLUMNS:
            if len(permission.columns) > 1:
                add(here, "stands for all columns, and then alone; remove the others, or it")
        elif known is not None and column not in known:
            guess = did_you_mean(column, known)
            add(here, f"{column!r} is not among `columns` of the source{guess}")
    for name, choices in (
        ("query_root_fields", QUERY_ROOTS),
        ("subscription_root_fields", SUBSCRIPTION_ROOTS),
    ):
        for i, root in enumerate(getattr(permission, name) or ()):
            if root not in choices:
                guess = did_you_mean(root, choices)
                add((*path, name, i), f"must be one of {', '.join(choices)}, not {root!r}{guess}")


def _condition(path: Path, condition: Any, sources: Iterable[str], add: _Add) -> None:
    """A condition's own words; whether its columns exist and what their operators mean the schema knows."""
    if not isinstance(condition, Mapping):
        add(path, f"is {kind(condition)}, but must be a condition, such as {{id: {{_eq: 1}}}}")
        return
    for key, value in condition.items():
        here = (*path, key)
        if key in ("_and", "_or"):
            listed = isinstance(value, (list, tuple))
            for i, inner in enumerate(value if listed else [value]):
                _condition((*here, i) if listed else here, inner, sources, add)
        elif key == "_not":
            _condition(here, value, sources, add)
        elif key == "_exists":
            _exists(here, value, sources, add)
        elif not key.startswith("_"):  # a column with its operators, or a relationship with a condition
            _condition(here, value, sources, add)


def _exists(path: Path, value: Any, sources: Iterable[str], add: _Add) -> None:
    if not isinstance(value, Mapping) or set(value) != {"_table", "_where"}:
        add(
            path, "must say in which source, and what: {_table: users, _where: {id: {_eq: X-Hasura-User-Id}}}"
        )
        return
    if value["_table"] not in sources:
        guess = did_you_mean(str(value["_table"]), sources)
        add((*path, "_table"), f"there is no source {value['_table']!r}{guess}")
    _condition((*path, "_where"), value["_where"], sources, add)
