"""What is said of roles and operations beside tables: inherited roles, collections, the allow-list, introspection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tycostream.config.access_rules import document_problem
from tycostream.metadata.ledger import Entry

_LATER_OPERATION = "a collection has an operation of this name already"


def _name(item: Mapping[str, Any]) -> object:
    return item.get("name")


def roles_of(root: Entry) -> dict[str, Any]:
    """The sections at the top of a configuration."""
    sections: dict[str, Any] = {
        "inherited_roles": _inherited_roles(root),
        "query_collections": _collections(root),
        "allowlist": _allowlist(root),
        "introspection": _introspection(root),
    }
    return {key: section for key, section in sections.items() if section}


def _inherited_roles(root: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in root.entries("inherited_roles", lambda item: item.get("role_name")):
        with entry:
            role = entry.text("role_name") or ""
            if members := entry.texts("role_set"):
                found[role] = members
            else:
                entry.leave("it inherits from no role")
    return found


def _collections(root: Entry) -> dict[str, Any]:
    found: dict[str, dict[str, str]] = {}
    for entry in root.entries("query_collections", _name):
        with entry:
            entry.because({"comment": "a collection has no comment here"})
            queries = found.setdefault(entry.text("name") or "", {})
            with entry.entry("definition") as definition:
                for query in definition.entries("queries", _name):
                    with query:
                        name, text = query.text("name") or "", query.text("query") or ""
                        if name in queries:
                            query.leave(_LATER_OPERATION)
                        elif problem := document_problem(text):
                            query.leave(problem)
                        else:
                            queries[name] = text
    return found


def _allowlist(root: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in root.entries("allowlist", lambda item: item.get("collection")):
        with entry:
            collection = entry.text("collection") or ""
            with entry.entry("scope") as scope:
                everybody = (
                    scope.peek("roles") is None if scope.peek("global") is None else scope.flag("global")
                )
                scope.take("global")
                found[collection] = {} if everybody else {"roles": scope.texts("roles")}
    return found


def _introspection(root: Entry) -> dict[str, Any]:
    with root.entry("graphql_schema_introspection") as introspection:
        roles = introspection.texts("disabled_for_roles")
    return {"disabled_for_roles": roles} if roles else {}


def role_entries(config: Entry) -> dict[str, Any]:
    """The same in metadata."""
    inherited = config.take("inherited_roles", {})
    collections = config.take("query_collections", {})
    allowed = config.take("allowlist", {})
    disabled = config.take("introspection", {}).get("disabled_for_roles", ())
    sections: dict[str, Any] = {
        "inherited_roles": [
            {"role_name": role, "role_set": list(members)} for role, members in inherited.items()
        ],
        "query_collections": [
            {
                "name": name,
                "definition": {"queries": [{"name": one, "query": text} for one, text in queries.items()]},
            }
            for name, queries in collections.items()
        ],
        "allowlist": [
            {"collection": name, "scope": _scope(settings.get("roles"))} for name, settings in allowed.items()
        ],
        "graphql_schema_introspection": {"disabled_for_roles": list(disabled)} if disabled else {},
    }
    return {key: section for key, section in sections.items() if section}


def _scope(roles: Iterable[str] | None) -> dict[str, Any]:
    return {"global": True} if roles is None else {"global": False, "roles": list(roles)}
