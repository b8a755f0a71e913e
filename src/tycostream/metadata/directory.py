"""Metadata as a directory of YAML files, in the layout of Hasura's CLI. A text ``!include FILE`` stands for that file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tycostream.config.tree import read_value
from tycostream.config.yaml_text import Template, block, listing
from tycostream.errors import TycoError
from tycostream.metadata.document import VERSION, checked
from tycostream.metadata.ledger import malformed

_INCLUDE: Final = "!include "
_FILES_MAX: Final = 10_000  # a file that is included twice by one that is included twice, and so on
_VALUES_MAX: Final = 1_000_000  # in all of them: a file may be included as often, and hold many
_DEPTH_MAX: Final = 100  # of lists, mappings and includes: Python's own bound is a traceback
_VERSION_FILE: Final = "version.yaml"
_DATABASES: Final = "databases"
_KEYS: Final = {"allow_list": "allowlist"}  # file → key of the metadata, where they differ
_FILES: Final = {key: file for file, key in _KEYS.items()}
_ACTIONS: Final = "actions"  # its file holds two keys
_SDL: Final = "actions.graphql"


def read_directory(folder: Path) -> dict[str, Any]:
    """The metadata in a directory, or in the ``metadata`` of a project. TycoError or ConfigError says what is wrong."""
    if not (folder / _VERSION_FILE).is_file() and (folder / "metadata" / _VERSION_FILE).is_file():
        folder = folder / "metadata"
    if not (folder / _VERSION_FILE).is_file():
        raise TycoError(
            "metadata-directory",
            f"{folder} has no {_VERSION_FILE}",
            hint="name the directory that `hasura metadata export` wrote, which is called metadata",
        )
    files = _Files(folder.resolve())
    version = files.read(folder / _VERSION_FILE)
    metadata: dict[str, Any] = dict(version) if isinstance(version, Mapping) else {}
    databases = folder / _DATABASES / f"{_DATABASES}.yaml"
    if databases.is_file():
        metadata["sources"] = files.read(databases) or []
    for file in sorted(folder.glob("*.yaml")):
        if file.name != _VERSION_FILE:
            _put(metadata, file, files.read(file))
    sdl = folder / _SDL
    if sdl.is_file() and (text := files.text(files.inside(sdl)).strip()):
        metadata[_SDL] = text
    return checked(metadata, str(folder))


def _put(metadata: dict[str, Any], file: Path, value: Any) -> None:
    if file.stem == _ACTIONS:
        if value is not None and not isinstance(value, Mapping):
            raise malformed(str(file), value, "a mapping")
        metadata.update(value or {})
    elif value is not None:
        metadata[_KEYS.get(file.stem, file.stem)] = value


class _Files:
    """The files below one folder, and no others: a directory that somebody sends must not read what is beside it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._count = 0
        self._values = 0

    def inside(self, file: Path, above: tuple[Path, ...] = ()) -> Path:
        """The file with its links followed; TycoError if there is none, or if it is not below the folder."""
        by = above[-1] if above else self._root
        try:
            here = file.resolve()
            if not here.is_relative_to(self._root):
                raise TycoError("metadata-directory", f"{by} includes {file}, which is outside {self._root}")
            if not here.is_file():
                raise TycoError("metadata-directory", f"{by} includes {file}, and there is no such file")
        except (
            OSError,
            ValueError,
            RuntimeError,
        ) as error:  # too long, with a zero byte, or a link to itself
            why = getattr(error, "strerror", None) or str(error)
            raise TycoError("metadata-directory", f"{by} includes {str(file)[:200]!r}: {why}") from None
        return here

    def text(self, file: Path) -> str:
        """What a file holds."""
        try:
            return file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            why = (
                "is not UTF-8"
                if isinstance(error, UnicodeDecodeError)
                else f"cannot be read: {error.strerror}"
            )
            raise TycoError("metadata-directory", f"{file} {why}") from None

    def read(self, file: Path, above: tuple[Path, ...] = (), depth: int = 0) -> Any:
        """The value in a file, with what it includes.

        ``above``: the files that are being read for it, in which it stands ``depth`` lists and mappings deep.
        """
        here = self.inside(file, above)
        if here in above:
            raise TycoError("metadata-directory", f"{file} includes itself, by way of {above[-1].name}")
        self._count += 1
        if self._count > _FILES_MAX:
            raise TycoError("metadata-directory", f"{self._root} includes more than {_FILES_MAX} files")
        return self._with_includes(read_value(self.text(here), str(file)), (*above, here), depth)

    def _with_includes(self, value: Any, above: tuple[Path, ...], depth: int) -> Any:
        self._values += 1
        if self._values > _VALUES_MAX:
            raise TycoError("metadata-directory", f"{self._root} holds more than {_VALUES_MAX} values")
        depth += 1
        if depth > _DEPTH_MAX:
            raise TycoError(
                "metadata-directory",
                f"{above[-1]} is nested more than {_DEPTH_MAX} levels deep, includes followed",
            )
        if isinstance(value, str) and value.startswith(_INCLUDE):
            return self.read(above[-1].parent / value.removeprefix(_INCLUDE).strip(), above, depth)
        if isinstance(value, list):
            return [self._with_includes(item, above, depth) for item in value]
        if isinstance(value, dict):
            return {key: self._with_includes(inner, above, depth) for key, inner in value.items()}
        return value


def write_directory(metadata: Mapping[str, Any], folder: Path) -> None:
    """Write the files of a metadata into a folder that does not exist or is empty; TycoError if it is not."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TycoError(
            "file-exists", f"{folder} exists already, and is not empty", hint="name another directory"
        )
    for name, text in sorted(directory(metadata).items()):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def directory(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The files of a metadata, by their paths in the directory."""
    files = {_VERSION_FILE: f"version: {VERSION}\n"}
    databases, folders = [], _FileNames()
    for source in metadata.get("sources", ()):
        folder = folders.free(str(source["name"]))
        tables, names = [], _FileNames("tables")
        for table in source.get("tables", ()):
            name = names.free(f"{table['table']['schema']}_{table['table']['name']}")
            files[f"{_DATABASES}/{folder}/tables/{name}.yaml"] = _text(table)
            tables.append(Template(f"{_INCLUDE}{name}.yaml"))
        files[f"{_DATABASES}/{folder}/tables/tables.yaml"] = _text(tables)
        databases.append({**source, "tables": Template(f"{_INCLUDE}{folder}/tables/tables.yaml")})
    files[f"{_DATABASES}/{_DATABASES}.yaml"] = _text(databases)
    for key, value in metadata.items():
        if key not in ("version", "sources"):
            files[f"{_FILES.get(key, key)}.yaml"] = _text(value)
    return files


class _FileNames:
    """Names for files that are none of each other's anywhere, also where capitals do not count."""

    def __init__(self, *taken: str) -> None:
        self._taken = set(taken)

    def free(self, name: str) -> str:
        """A free name like ``name``, which is a plain word."""
        base = free = re.sub(r"[^0-9A-Za-z_-]+", "_", name) or "_"
        number = 1
        while free.casefold() in self._taken:
            number += 1
            free = f"{base}_{number}"
        self._taken.add(free.casefold())
        return free


def _text(value: Mapping[str, Any] | Sequence[Any]) -> str:
    literal = _literal(value)
    lines = block(literal) if isinstance(literal, dict) else listing(literal)
    return "\n".join([*lines, ""]) if literal else "[]\n"


def _literal(value: Any) -> Any:
    """Nothing stands for a variable in these files, so ``${`` is not escaped; and no text may be taken for a file's name."""
    if isinstance(value, Mapping):
        return {key: _literal(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_literal(item) for item in value]
    if isinstance(value, str) and not isinstance(value, Template) and value.startswith(_INCLUDE):
        raise TycoError(
            "metadata-directory",
            f"a directory cannot hold the text {value!r}: it would be read as a file's name",
            hint="export JSON",
        )
    return Template(value) if isinstance(value, str) and "${" in value else value
