"""A setting that names a file and holds what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema

_FILE_BYTES_MAX: Final = 64 * 2**10


def _file_text(value: Any) -> Any:
    # The content is the value: a reload sees that a file has another key, and its mistakes have their place.
    if not isinstance(value, str):
        return value
    try:
        with Path(value).open(encoding="utf-8") as file:
            text = file.read(_FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text"
        raise ValueError(f"the file cannot be read: {reason}") from None
    if len(text) > _FILE_BYTES_MAX:
        raise ValueError("the file is too large for a key")
    return text.rstrip("\r\n")


FileText = Annotated[str, BeforeValidator(_file_text), WithJsonSchema({"type": "string"})]
