"""Which document a request is about: its text, or the hash of one that the server has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tycostream.graphql.trusted import DocumentId, document_hash

_PREFIX: Final = "sha256:"
_HASH_CHARACTERS: Final = 64


class NoDocument(ValueError):
    """The request has no document, or not one that it means; ``str()`` says why."""


def document_of(parameters: Mapping[str, Any]) -> str | DocumentId:
    """``query``; without it ``documentId``, with or without ``sha256:``, or ``extensions.persistedQuery`` as Apollo has it.

    A hash beside a text must be that text's: so no hash comes to stand for another document than it says.
    """
    query = parameters.get("query")
    if query is not None and not isinstance(query, str):
        raise NoDocument("query is not a string")
    named = _named(parameters)
    if query or (query is not None and named is None):
        if named is not None and document_hash(query) != named:
            raise NoDocument("provided sha does not match query")
        return query
    if named is None:
        raise NoDocument("the query is missing")
    return DocumentId(named)


def _named(parameters: Mapping[str, Any]) -> str | None:
    found = parameters.get("documentId")
    name = "documentId"
    if found is None:
        extensions = parameters.get("extensions")
        persisted = extensions.get("persistedQuery") if isinstance(extensions, Mapping) else None
        if persisted is None:
            return None
        name = "extensions.persistedQuery"
        if not isinstance(persisted, Mapping) or persisted.get("version", 1) != 1:
            raise NoDocument(f"{name} is not an object of version 1")
        found, name = persisted.get("sha256Hash"), f"{name}.sha256Hash"
    text = found.removeprefix(_PREFIX) if isinstance(found, str) else ""
    if len(text) != _HASH_CHARACTERS or not all(letter in "0123456789abcdef" for letter in text.lower()):
        raise NoDocument(f"{name} is not a SHA-256 in hexadecimal")
    return text.lower()
