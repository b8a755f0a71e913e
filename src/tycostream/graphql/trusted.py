"""Which documents a role may send: an allow-list of operations, and documents that are called by their hash.

Both are the operations of ``query_collections``. Two documents are the same if their trees are: blanks, comments and
commas do not count, nor does ``__typename``, which clients add by themselves. The order of fields, names and values do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from graphql import DocumentNode, FieldNode, GraphQLSyntaxError, Node, parse

from tycostream.auth.session import ADMIN
from tycostream.config.access import AllowConfig
from tycostream.errors import RequestError

_NOT_COMPARED: Final = (
    "loc",
    "block",
    "description",
)  # where it stood, the quotes of a text, words for people


@dataclass(frozen=True, slots=True)
class DocumentId:
    """A document that the client does not send: the SHA-256 of its text, in hexadecimal."""

    sha256: str


def document_hash(text: str) -> str:
    """What a document is called by, wherever it is called by its hash."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class TrustedDocuments:
    """The operations that a role may run by their hash, and whether it may run no others."""

    def __init__(
        self,
        collections: Mapping[str, Mapping[str, str]],
        allowlist: Mapping[str, AllowConfig] | None,
        role: str = ADMIN,
    ) -> None:
        """``allowlist``: None if any operation may be run. It is none of the admin's."""
        restricted = allowlist is not None and role != ADMIN
        names = _allowed(allowlist, role) if allowlist is not None and restricted else tuple(collections)
        texts = [text for name in names for text in collections.get(name, {}).values()]
        self._texts = {document_hash(text): text for text in texts}
        self._allowed = {_normal(tree) for text in texts if (tree := _tree(text))} if restricted else None

    def text(self, document: DocumentId) -> str:
        """The text of one that is called by its hash. RequestError, as Apollo's clients know it, if there is none."""
        text = self._texts.get(document.sha256)
        if text is None:
            raise RequestError(
                "PERSISTED_QUERY_NOT_FOUND",
                "PersistedQueryNotFound",
                hint="no operation of `query_collections` that this role may run has this hash",
            )
        return text

    def check(self, document: DocumentNode) -> None:
        """RequestError, in Hasura's words, if the role may not run it."""
        if self._allowed is not None and _normal(document) not in self._allowed:
            raise RequestError(
                "validation-failed",
                "query is not allowed",
                detail="query is not in any of the allowlists",
                limit="allowlist",
            )


ANY_DOCUMENT: Final = TrustedDocuments({}, None)


def _allowed(allowlist: Mapping[str, AllowConfig], role: str) -> tuple[str, ...]:
    return tuple(name for name, each in allowlist.items() if each.roles is None or role in each.roles)


def _tree(text: str) -> DocumentNode | None:
    try:
        return parse(text, no_location=True)
    except GraphQLSyntaxError:  # the configuration's rules have told of it
        return None


def _normal(node: Node) -> tuple[object, ...]:
    """A tree as a value that is equal for trees that mean the same."""
    return (node.kind, *[_part(getattr(node, key)) for key in node.keys if key not in _NOT_COMPARED])


def _part(part: object) -> object:
    if isinstance(part, Node):
        return _normal(part)
    if isinstance(part, (list, tuple)):
        return tuple([_part(each) for each in part if not _is_typename(each)])
    return part


def _is_typename(node: object) -> bool:
    return isinstance(node, FieldNode) and node.name.value == "__typename"
