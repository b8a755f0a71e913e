"""tycostream 0.x had no `databases`: one Materialize, named by DATABASE_* variables. Its files load unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KEYWORDS = {"HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password", "NAME": "dbname"}


def fill_in(value: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Give a file without databases the one that the environment describes."""
    if value.get("databases"):
        return
    url = environ.get("DATABASE_URL")
    if not url:
        words = {word: environ.get(f"DATABASE_{name}") for name, word in _KEYWORDS.items()}
        if not words["host"]:
            return
        url = " ".join(f"{word}='{_escaped(text)}'" for word, text in words.items() if text)
    value["databases"] = {"main": {"engine": environ.get("DATABASE_ENGINE", "materialize"), "url": url}}


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
