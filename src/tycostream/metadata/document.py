"""The forms in which metadata is handed around as one JSON: bare, with its resource version, or as a request's body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from tycostream.errors import TycoError
from tycostream.metadata.ledger import malformed

VERSION: Final = 3
_REMEDY: Final = "export it from a Hasura v2: `hasura metadata export`, or export_metadata"


def read_json(text: str, file: str) -> dict[str, Any]:
    """The metadata in a JSON text: what export_metadata answers (versions 1 and 2), or a body of replace_metadata."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise TycoError("metadata-invalid", f"{file} is nested too deeply", hint=_REMEDY) from None
    except ValueError as error:
        raise TycoError("metadata-invalid", f"{file} is not JSON: {error}", hint=_REMEDY) from None
    return metadata_of(value, file)


def metadata_of(value: object, file: str) -> dict[str, Any]:
    """The mapping with ``version`` and ``sources`` inside whatever it is wrapped in; TycoError if there is none."""
    here = value
    for wrapper in ("args", "metadata"):
        if isinstance(here, Mapping) and "sources" not in here and wrapper in here:
            here = here[wrapper]
    if not isinstance(here, Mapping):
        raise malformed(file, here, "a mapping")
    return checked(here, file)


def checked(metadata: Mapping[str, Any], file: str) -> dict[str, Any]:
    """The metadata if it is of version 3."""
    version = metadata.get("version")
    if version != VERSION:
        older = isinstance(version, int) and version < VERSION
        said = f"has version {version!r}" if version is not None else "has no version"
        raise TycoError(
            "metadata-version",
            f"{file} {said}; metadata of version {VERSION} can be read",
            hint="`hasura scripts update-project-v3` makes version 3 of a project of Hasura 1"
            if older
            else _REMEDY,
        )
    return dict(metadata)


def write_json(metadata: Mapping[str, Any]) -> str:
    """The metadata as a text, in the order that it has."""
    return json.dumps(metadata, indent=2, ensure_ascii=False) + "\n"
