"""Where the server keeps what it must remember itself: the forms of `state`, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import unquote

SQLITE: Final = "sqlite:///"
_POSTGRES: Final = ("postgresql://", "postgres://")


def sqlite_path(url: str) -> Path:
    """The file of ``sqlite:///file`` (of the working directory) or ``sqlite:////folder/file``."""
    return Path(unquote(url.removeprefix(SQLITE)))


def state_problem(url: str, *, asked: bool) -> str:
    """Why `state` cannot be used, or nothing; never a part of it, for it may hold a password. ``asked``: there is `auth`."""
    if not url.startswith((SQLITE, *_POSTGRES)):
        return "is no place for state: sqlite:///tycostream.db, or postgresql://user@host/database"
    if url.startswith(SQLITE):
        path = sqlite_path(url)
        if not path.name or "\0" in str(path) or ":memory:" in str(path):
            return "names no file: sqlite:///tycostream.db"
        if path.is_dir() or not path.parent.is_dir():
            return (
                "names a file in a folder that is not there"
                if not path.is_dir()
                else "names a folder, not a file"
            )
    if not asked:
        return "holds tokens, but without `auth` nobody is asked for one; write `auth: {}`, or remove it"
    return ""
