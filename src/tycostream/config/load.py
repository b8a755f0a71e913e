"""YAML to ``Config``: everything that is wrong is said at once, at its place (design 5.8).

text → tree (plain values with places) → environment → pydantic → rules → Config
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from tycostream.config import tree as yaml_tree
from tycostream.config.environment import (
    Environment,
    database_from_environment,
    override_server,
    with_dotenv,
)
from tycostream.config.messages import later, plain, unknown_key
from tycostream.config.model import LOADERS, Config, SourceConfig
from tycostream.config.rules import check_rules
from tycostream.config.sql_text import one_query
from tycostream.config.tree import INIT_HINT, Report, read_tree
from tycostream.config.unenforced import refuse_unenforced
from tycostream.config.values import merged
from tycostream.errors import ConfigError, Problem
from tycostream.json_shape import innermost

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)")
_SPELLED_OUT: Final = ("fields", "relationships", "permissions")
# Where a null is a value: without it a condition would let more through.
_VERBATIM: Final = ("columns", "where")


def load(path: Path, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration in a file, with ``.env`` beside it; raises ConfigError with every mistake in it.

    The real environment (``environ``; absent: this process's) wins over ``.env``.
    """
    report = Report(str(path))
    text = _read(path)
    environment = with_dotenv(os.environ if environ is None else environ, path.parent, report)
    return _finish(_checked(text, environment, report))


def loads(text: str, file: str = "tycostream.yaml", environ: Mapping[str, str] | None = None) -> Config:
    """The configuration in a text; ``file`` is its name in messages. No ``.env`` is read."""
    environment = Environment(dict(os.environ if environ is None else environ))
    return _finish(_checked(text, environment, Report(file)))


def written(path: Path, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a file says, as values with their short forms spelled out and no default added; what no server would obey yet too.

    A database's url stays as it is written, ``${DATABASE_URL}``, whether or not that variable is set: who reads this
    wants to know where a secret comes from, not what it is.
    """
    report = Report(str(path))
    text = _read(path)
    environment = with_dotenv(os.environ if environ is None else environ, path.parent, report)
    urls = _urls(text, report.file)
    _with_urls(text, report.file, environment)
    found = _checked(text, environment, report, served=False).model_dump(exclude_unset=True)
    for name, url in urls.items():
        found["databases"][name]["url"] = url
    return found


def mistakes(text: str, file: str) -> Sequence[Problem]:
    """What is wrong in a text, wherever its urls come from, and whether or not it would be served yet."""
    report = Report(file)
    try:
        _checked(text, _with_urls(text, file, Environment({})), report, served=False)
    except ConfigError as error:
        return error.problems
    return ()


def _with_urls(text: str, file: str, environment: Environment) -> Environment:
    """The environment with something in each variable of a url."""
    for name in _VARIABLE.findall("".join(_urls(text, file).values())):
        environment.values.setdefault(name, "host=unset")
    return environment


def _urls(text: str, file: str) -> dict[str, str]:
    """Each database's url as it is written."""
    databases = read_tree(text.removeprefix("\ufeff"), Report(file), lambda value: value).get("databases")
    entries = databases.items() if isinstance(databases, dict) else ()
    return {
        name: entry["url"]
        for name, entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("url"), str)
    }


def credentials(path: Path, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The url of each database as file, ``.env`` and environment give it now; a database without one is left out.

    Asked for at every reconnect, so that a password that was changed is used without a restart. ConfigError if the
    file does not load any more: who asks then keeps what it had.
    """
    databases = load(path, environ).databases
    return {name: database.url for name, database in databases.items() if database.url}


def _read(path: Path) -> str:
    def failed(message: str, line: int = 1, column: int = 1, hint: str = "") -> ConfigError:
        return ConfigError([Problem(str(path), line, column, "", message)], hint=hint)

    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise failed("there is no such file", hint=INIT_HINT) from None
    except IsADirectoryError:
        raise failed(
            "is a folder, not a file", hint="name the file in it: --config FOLDER/tycostream.yaml"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise failed(f"cannot be read: {reason}", hint="check its name and its access rights") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        raise failed(
            "is not UTF-8 from here on", line, column, "save the file with the encoding UTF-8"
        ) from None


def _checked(text: str, environment: Environment, report: Report, *, served: bool = True) -> Config:
    """What a text says, without what follows from it; ``served``: and all of it is obeyed."""
    tree = read_tree(text.removeprefix("\ufeff"), report, environment.substitute)
    for path in list(report.broken):  # values whose variable is not set
        _cut(tree, path)
    _refuse_later(tree, report)
    _fill_nulls(tree)
    override_server(tree, environment, report)
    _add_database(tree, environment, report)
    names = {section: _keys(tree.get(section)) for section in ("databases", "enums", "types", "sources")}
    config = _validate(tree, report)
    if config is not None:
        check_rules(config, names, report)
        if served:
            refuse_unenforced(config, report)
    if config is None or report.problems:
        raise report.error()
    return config


def _keys(section: object) -> list[str]:
    return list(section) if isinstance(section, dict) else []


def _refuse_later(tree: dict[str, Any], report: Report) -> None:
    """Take out what only a later version knows, and what would be mistaken for the loader's own mark."""
    places: list[tuple[yaml_tree.Path, Any]] = [((), tree)]
    places += [((section,), tree.get(section)) for section in ("live", "limits")]
    sources = tree.get("sources")
    for name, source in sources.items() if isinstance(sources, dict) else ():
        if isinstance(source, dict):
            places += [(("sources", name), source), (("sources", name, "live"), source.get("live"))]
    for path, mapping in places:
        for key in list(mapping) if isinstance(mapping, dict) else ():
            inner = (*path, key)
            message = later(inner)
            if message is None and len(inner) == 3 and inner[0] == "sources" and key in LOADERS:
                message = unknown_key(inner)
            if message:
                report.add(inner, message, key=True)
                del mapping[key]


def _fill_nulls(tree: dict[str, Any]) -> None:
    """``trades:`` is ``trades: {}``, and a setting without a value is one that is not there."""
    for section in ("databases", "sources", "allowlist"):
        entries = tree.get(section)
        if isinstance(entries, dict):
            for name, entry in entries.items():
                entries[name] = _without_nulls(_spelled_out({} if entry is None else entry))
    if "auth" in tree:  # an empty one lets nobody in, which must be said; it is not one that is absent
        tree["auth"] = _without_nulls({} if tree["auth"] is None else tree["auth"])
    for section in ("live", "limits", "server"):
        tree[section] = _without_nulls(tree.get(section))
    for key in [key for key, value in tree.items() if value is None]:
        del tree[key]


def _without_nulls(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        key: inner if key in _VERBATIM else _without_nulls(inner)
        for key, inner in value.items()
        if inner is not None
    }


def _spelled_out(entry: Any) -> Any:
    """A field without a value is one that lacks its SQL, a relationship or a permission its columns: that
    must be said."""
    if not isinstance(entry, dict):
        return entry
    spelled = dict(entry)
    for section in _SPELLED_OUT:
        if isinstance(spelled.get(section), dict):
            spelled[section] = {
                name: {} if inner is None else inner for name, inner in spelled[section].items()
            }
    return spelled


def _add_database(tree: dict[str, Any], environment: Environment, report: Report) -> None:
    if tree.get("databases") or report.is_broken(("databases",)):
        return
    database = database_from_environment(environment, report)
    if database is not None:
        tree["databases"] = {"main": database}
        return
    tree["databases"] = {}
    report.add(
        ("databases",),
        'there is no database; write `databases: {main: {engine: postgres, url: "${DATABASE_URL}"}}`, or set '
        "DATABASE_HOST, DATABASE_PORT, DATABASE_USER, DATABASE_PASSWORD and DATABASE_NAME",
    )


def _validate(tree: dict[str, Any], report: Report) -> Config | None:
    """pydantic's verdict. What is broken is cut out, so that the rules see the rest and all is said at once."""
    sources = tree.get("sources")
    for name, source in sources.items() if isinstance(sources, dict) else ():
        if isinstance(source, dict):
            source["name"] = name
    while True:
        try:
            return Config.model_validate(tree)
        except ValidationError as failure:
            progress = False
            for error in failure.errors():
                if error["type"] != "missing" or error["loc"] not in report.broken:  # else it was cut out
                    report.add(error["loc"], plain(error), key=error["type"] == "extra_forbidden")
                progress |= _cut(tree, error["loc"])
            if not progress:
                return None


def _cut(tree: dict[str, Any], path: yaml_tree.Path) -> bool:
    """Remove the value at a path; in a list, the whole list. Whether anything went."""
    here: Any = tree
    last: tuple[dict[str, Any], str] | None = None
    for part in path:
        if not isinstance(here, dict) or part not in here:
            break
        last = (here, str(part))
        here = here[part]
    if last is None:
        return False
    del last[0][last[1]]
    return True


def _finish(config: Config) -> Config:
    """Fill in what follows from the rest: the only database, the table, and the live defaults."""
    only = next(iter(config.databases)) if len(config.databases) == 1 else ""
    sources = {name: _finish_source(source, config, only) for name, source in config.sources.items()}
    return config.model_copy(update={"sources": sources})


def _finish_source(source: SourceConfig, config: Config, only: str) -> SourceConfig:
    live = merged(config.live, source.live)
    named = [*(source.columns or {}).values(), *(field.type for field in source.fields.values())]
    typed = any(name is not None and innermost(name)[0] in config.types for name in named)
    update: dict[str, Any] = {
        "database": source.database or only,
        "live": live,
        "types": config.types if typed else {},  # another type is another source, to whom it concerns
    }
    if source.query is None:
        update["table"] = source.table or source.name
    else:
        update["query"] = one_query(source.query)
    return source.model_copy(update=update)
