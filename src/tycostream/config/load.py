"""From YAML to ``Config``: YAML 1.2 rules, ${ENV}, exact positions, and every mistake at once."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ValidationError

from tycostream.config import legacy
from tycostream.config.model import Config, ServerConfig
from tycostream.config.rules import cross_check, refuse_later
from tycostream.errors import ConfigError, Problem

Path_ = tuple[str | int, ...]
_VARIABLE: Final = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})")
_INT: Final = re.compile(r"[-+]?[0-9]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NODES_MAX: Final = 200_000  # aliases are expanded: a bomb must not be
_WORDS: Final = {"true": True, "false": False, "null": None, "~": None, "": None}


class Document:
    """A YAML text as plain values, with the place of every value and key, and the mistakes found on the way."""

    def __init__(self, text: str, file: str, environ: Mapping[str, str]) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.places: dict[Path_, tuple[int, int]] = {(): (1, 1)}
        self._environ = environ
        self._nodes = 0
        self.value: Any = None
        try:
            loader = yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader
            node = yaml.compose(text, Loader=loader)
            self.value = None if node is None else self._construct(node, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            self.add((), f"not valid YAML: {error.problem or error.context}", place)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            self.add(
                (), f"not valid YAML: {str(error).splitlines()[0] if str(error) else 'nested too deeply'}"
            )

    def add(self, path: Path_, message: str, place: tuple[int, int] | None = None) -> None:
        """Note a mistake at a path (or at its nearest known parent)."""
        if place is None:
            known = path
            while known not in self.places:
                known = known[:-1]
            place = self.places[known]
        self.problems.append(Problem(self.file, *place, _dotted(path), message))

    def _construct(self, node: yaml.Node, path: Path_) -> Any:
        self._nodes += 1
        if self._nodes > _NODES_MAX:
            raise ValueError(f"more than {_NODES_MAX} values (aliases count each time)")
        here = (node.start_mark.line + 1, node.start_mark.column + 1)
        self.places.setdefault(path, here)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._construct(item, (*path, n)) for n, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                self.add(path, "a key must be a plain word", place)
                continue
            key = key_node.value
            if key in result:
                self.add((*path, key), f"the key {key!r} is here twice; remove one", place)
                continue
            self.places[(*path, key)] = place
            result[key] = self._construct(value_node, (*path, key))
        return result

    def _scalar(self, node: yaml.ScalarNode, path: Path_) -> Any:
        text = _VARIABLE.sub(lambda match: self._variable(match, path), node.value)
        if node.style is not None:
            return text  # quoted: a string, whatever it looks like
        if text.lower() in _WORDS and text in (text.lower(), text.upper(), text.capitalize()):
            return _WORDS[text.lower()]
        if _INT.fullmatch(text):
            return int(text)
        return float(text) if _FLOAT.fullmatch(text) else text

    def _variable(self, match: re.Match[str], path: Path_) -> str:
        name, default = match[1], match[2]
        if name is None:
            return "$"  # "$$" is a dollar
        value = self._environ.get(name) or default
        if value is None:
            self.add(
                path, f"the environment variable {name} is not set; set it, or write ${{{name}:-a default}}"
            )
            return ""
        return value


def load(path: Path, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration in a file; ConfigError lists every mistake. ``.env`` beside it is read, real variables win."""
    environ = dict(os.environ if environ is None else environ)
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        problem = Problem(str(path), 1, 1, "", "there is no such file")
        raise ConfigError(
            [problem], hint="write one with: tycostream init --database-url … > tycostream.yaml"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(str(path), 1, 1, "", f"cannot be read: {error}")]) from None
    return loads(text, str(path), _with_dotenv(path.parent / ".env", environ))


def loads(text: str, file: str = "tycostream.yaml", environ: Mapping[str, str] | None = None) -> Config:
    """The configuration in a text."""
    environ = os.environ if environ is None else environ
    document = Document(text, file, environ)
    value = document.value
    if value is None and not document.problems:
        document.add((), "the file is empty; name at least a database and a source")
    elif not document.problems and not isinstance(value, dict):
        document.add((), "the file must be a mapping with databases and sources")
    if not isinstance(value, dict):
        raise ConfigError(document.problems)
    refuse_later(value, document.add)
    legacy.fill_in(value, environ)
    _normalise(value)
    _override(value, environ, document)
    config = _validate(value, document)
    if config is not None:
        config = cross_check(config, document.add)
    if document.problems or config is None:
        raise ConfigError(sorted(document.problems, key=lambda problem: (problem.line, problem.column)))
    return config


def _normalise(value: dict[str, Any]) -> None:
    """Spell short forms out: null sources, lists of columns, a single key column, inherited `live` settings."""
    sources = value.get("sources")
    live = value.get("live")
    if not isinstance(sources, dict):
        return
    for name, source in sources.items():
        if source is None:
            source = sources[name] = {}
        if not isinstance(source, dict):
            continue
        source["name"] = name
        if isinstance(source.get("primary_key"), str):
            source["primary_key"] = [source["primary_key"]]
        columns = source.get("columns")
        if isinstance(columns, list) and all(isinstance(column, str) for column in columns):
            source["columns"] = dict.fromkeys(columns)
        if isinstance(live, dict):
            given = source.get("live")
            own: dict[str, Any] = given if isinstance(given, dict) else {}
            merged = {**live, **own}
            if isinstance(live.get("log"), dict) and isinstance(own.get("log"), dict):
                merged["log"] = {**live["log"], **own["log"]}
            source["live"] = merged


def _override(value: dict[str, Any], environ: Mapping[str, str], document: Document) -> None:
    """``TYCO_PORT`` and its like set server settings."""
    server = value.setdefault("server", {})
    if not isinstance(server, dict):
        return
    if isinstance(server.get("cursor_key"), str):
        server["cursor_key"] = [server["cursor_key"]]
    for name, field in ServerConfig.model_fields.items():
        text = environ.get(f"TYCO_{name.upper()}")
        if text is not None:
            is_list = "tuple" in str(field.annotation)
            server[name] = [part.strip() for part in text.split(",")] if is_list else text
            document.places[("server", name)] = document.places.get(("server",), (1, 1))


def _validate(value: dict[str, Any], document: Document) -> Config | None:
    try:
        return Config.model_validate(value)
    except ValidationError as error:
        for entry in error.errors():
            path = tuple(entry["loc"])
            document.add(path, _plain(entry, path))
        return None


def _plain(entry: Any, path: Path_) -> str:
    """pydantic's finding in plain words, with what would be right."""
    kind, context = entry["type"], entry.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(path[:-1])
        close = difflib.get_close_matches(str(path[-1]), known, 1)
        guess = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
        return f"unknown key {path[-1]!r}; {guess}"
    if kind == "missing":
        return f"{path[-1]} is missing"
    if kind == "enum":
        return f"{entry['input']!r} is none of {context.get('expected', '')}"
    if kind == "value_error":
        return str(context.get("error", entry["msg"]))
    message: str = entry["msg"].replace("Input should be", "should be")
    return f"{message}, but is {entry['input']!r:.60}"


def _known_keys(path: Path_) -> list[str]:
    model: Any = Config
    for step in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[str(step)].annotation if str(step) in model.model_fields else None
            arguments = getattr(model, "__args__", ())
            inner = [a for a in arguments if isinstance(a, type) and issubclass(a, BaseModel)]
            if inner:
                model = ("values", inner[0])
        elif isinstance(model, tuple):
            model = model[1]
    if isinstance(model, type) and issubclass(model, BaseModel):
        return sorted(name for name, field in model.model_fields.items() if not field.exclude)
    return []


def _dotted(path: Path_) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _with_dotenv(path: Path, environ: dict[str, str]) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return environ
    values: dict[str, str] = {}
    for line in lines:
        name, found, text = line.strip().removeprefix("export ").partition("=")
        if not found or name.startswith("#"):
            continue
        text = text.strip()
        if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
            text = text[1:-1]
        else:
            text = text.split(" #")[0].rstrip()
        values[name.strip()] = text
    return {**values, **environ}
