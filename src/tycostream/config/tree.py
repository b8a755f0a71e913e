"""YAML as plain values that know their places: YAML 1.2's scalars, no surprises, and nothing that explodes.

PyYAML only tokenises here. Its own constructor would read ``no`` as false, ``1:30`` as ninety and ``2024-01-01`` as a
date, would take the last of two equal keys, and would follow aliases without bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from tycostream.errors import ConfigError, Problem

Path = tuple[str | int, ...]
Place = tuple[str, int, int]  # file, line, column; both from one

INIT_HINT: Final = "`tycostream init` writes a configuration from a database's catalogue"
_NODES_MAX: Final = 200_000  # after aliases are followed
_DEPTH_MAX: Final = 50
_TOO_DEEP: Final = f"is nested more than {_DEPTH_MAX} levels deep"
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")  # longer ones stay texts: no setting is that large
_FLOAT: Final = re.compile(r"[-+]?(?:[0-9]{1,18}\.[0-9]{0,18}|\.[0-9]{1,18})(?:[eE][-+]?[0-9]{1,3})?")
_CONSTANTS: Final = dict.fromkeys(("", "~", "null", "Null", "NULL")) | {
    word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")
}
_STRING_TAGS: Final = ("!", "tag:yaml.org,2002:str")
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def path_text(path: Path) -> str:
    """``sources.trades.primary_key[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    # A key may hold anything; one problem stays one line.
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@dataclass
class Report:
    """The problems found so far, and the places of everything in the file."""

    file: str
    problems: list[Problem] = field(default_factory=list)
    broken: set[Path] = field(default_factory=set)  # paths that already have a problem of their own
    _above: set[Path] = field(default_factory=set)  # all that hold a broken one: thousands must stay quick
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    labels: dict[Path, str] = field(default_factory=dict)  # what to call a path that came from elsewhere

    def add(self, path: Path, message: str, *, key: bool = False) -> None:
        """A problem at a path; ``key``: its key is wrong, not its value. An absent path takes its parent's place."""
        self.problems.append(Problem(*self.place(path, key=key), self._label(path), message))
        self.broken.add(path)
        self._above.update(path[:end] for end in range(len(path)))

    def _label(self, path: Path) -> str:
        for end in range(len(path), 0, -1):
            if path[:end] in self.labels:
                return self.labels[path[:end]] + path_text(path[end:])
        return path_text(path)

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Where a path is written, or what holds it."""
        if key and path in self.keys:
            return self.keys[path]
        for end in range(len(path), -1, -1):
            if path[:end] in self.values:
                exact = end == len(path)
                return (
                    self.values[path[:end]] if exact else self.keys.get(path[:end], self.values[path[:end]])
                )
        return self.file, 1, 1

    def is_broken(self, path: Path, *, below: bool = True) -> bool:
        """Whether a problem was reported at or above a path, or ``below`` it: what follows from it need not be."""
        inside = any(path[:end] in self.broken for end in range(len(path) + 1))
        return inside or (below and path in self._above)

    def error(self, hint: str = "") -> ConfigError:
        """All problems, in the order of the file; other files (.env) and the environment come after."""
        order = sorted(
            dict.fromkeys(self.problems),
            key=lambda p: (p.file != self.file, p.file, p.line, p.column, p.path),
        )
        return ConfigError(order, hint=hint)


@dataclass(slots=True)
class _Node:
    """A scalar (text), list (nodes) or mapping (pairs of key node and node)."""

    kind: str
    line: int
    column: int
    value: Any
    plain: bool = False


class _Composer:
    """Events to nodes. An anchor is known only after its node: a node cannot hold itself."""

    def __init__(self, events: Iterator[yaml.Event], file: str) -> None:
        self._events = events
        self._file = file
        self._anchors: dict[str, _Node] = {}

    def document(self) -> _Node | None:
        """The only document, or None for an empty file."""
        root: _Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise self._refuse(
                        event, "a second document starts here; one file holds one configuration"
                    )
                root = self._node(next(self._events), 0)
        return root

    def _refuse(self, event: yaml.Event, message: str) -> ConfigError:
        mark = event.start_mark
        assert mark is not None  # every event of a parser has its place
        return ConfigError([Problem(self._file, mark.line + 1, mark.column + 1, "", message)])

    def _node(self, event: yaml.Event, depth: int) -> _Node:
        if depth > _DEPTH_MAX:
            raise self._refuse(event, _TOO_DEEP)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise self._refuse(event, f"alias *{event.anchor} has no anchor &{event.anchor} before it")
            return self._anchors[event.anchor]
        node = self._fresh(event, depth)
        if getattr(event, "anchor", None):
            self._anchors[event.anchor] = node  # type: ignore[attr-defined]
        return node

    def _fresh(self, event: yaml.Event, depth: int) -> _Node:
        assert event.start_mark is not None
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        tag = getattr(event, "tag", None)
        if isinstance(event, yaml.ScalarEvent):
            if tag is not None and tag not in _STRING_TAGS:
                raise self._refuse(event, f"tag {tag} is not allowed; write the value without a tag")
            return _Node("scalar", line, column, event.value, event.implicit[0] and tag is None)
        if tag is not None and tag != "!":
            raise self._refuse(event, f"tag {tag} is not allowed; write the value without a tag")
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
                items.append(self._node(event, depth + 1))
            return _Node("list", line, column, items)
        pairs = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            pairs.append((key, self._node(next(self._events), depth + 1)))
        return _Node("mapping", line, column, pairs)


class _Constructor:
    """Nodes to values; duplicate keys and unset variables go to the report."""

    def __init__(self, report: Report, substitute: Callable[[str], str]) -> None:
        self._report = report
        self._substitute = substitute
        self._count = 0
        self._depth = 0  # aliases and merges followed: each may lead to one as deep as the composer lets it

    def value(self, node: _Node, path: Path) -> Any:
        """The plain value of a node."""
        if self._depth > _DEPTH_MAX:
            raise ConfigError([self._problem(node, path, f"{_TOO_DEEP}, aliases followed")])
        self._depth += 1
        found = self._value(node, path)
        self._depth -= 1
        return found

    def _value(self, node: _Node, path: Path) -> Any:
        self._count += 1
        if self._count > _NODES_MAX:
            problem = self._problem(node, path, f"holds more than {_NODES_MAX} values, aliases followed")
            raise ConfigError([problem])
        self._report.values[path] = (self._report.file, node.line, node.column)
        if node.kind == "scalar":
            return self._scalar(node, path)
        if node.kind == "list":
            return self._list(node, path)
        return self._mapping(node, path)

    def _problem(self, node: _Node, path: Path, message: str) -> Problem:
        return Problem(self._report.file, node.line, node.column, path_text(path), message)

    def _list(self, node: _Node, path: Path) -> list[Any]:
        items = [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        for i, item in enumerate(items):
            if isinstance(item, str):  # rules speak of `columns.price` however it was written
                self._report.values.setdefault((*path, item), self._report.values[*path, i])
        return items

    def _scalar(self, node: _Node, path: Path) -> Any:
        text: str = node.value
        if "${" in text:
            try:
                return self._substitute(text)
            except ValueError as error:
                self._report.add(path, str(error))
                return ""
        if not node.plain:
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _INTEGER.fullmatch(text):
            return int(text)
        return float(text) if _FLOAT.fullmatch(text) else text

    def _mapping(self, node: _Node, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        # Merged keys come first, so that the places of the mapping's own keys win.
        for key, value in sorted(node.value, key=lambda pair: not self._is_merge(pair[0])):
            if self._is_merge(key):
                for name, inherited in self._merge(value, path).items():
                    merged.setdefault(name, inherited)
            elif key.kind != "scalar":
                self._report.problems.append(self._problem(key, path, "a key must be a plain text"))
            elif key.value in lines:
                here = self._problem(
                    key,
                    (*path, key.value),
                    f"is a second time here, first in line {lines[key.value]}; keep one",
                )
                self._report.problems.append(here)
            else:
                lines[key.value] = key.line
                self._report.keys[*path, key.value] = (self._report.file, key.line, key.column)
                result[key.value] = self.value(value, (*path, key.value))
        return {**merged, **result}

    @staticmethod
    def _is_merge(key: _Node) -> bool:
        return key.kind == "scalar" and key.plain and key.value == "<<"

    def _merge(self, node: _Node, path: Path) -> dict[str, Any]:
        sources = node.value if node.kind == "list" else [node]
        merged: dict[str, Any] = {}
        for source in sources:
            if source.kind != "mapping":
                self._report.problems.append(
                    self._problem(source, (*path, "<<"), "merges a mapping or a list of mappings only")
                )
                continue
            merged = {**self.value(source, path), **merged}
        return merged


def read_tree(text: str, report: Report, substitute: Callable[[str], str]) -> dict[str, Any]:
    """The file's mapping; raises ConfigError where nothing can be read, else notes problems in the report."""
    root = _root(text, report)
    if root is None or (root.kind == "scalar" and root.plain and root.value in ("", "~", "null")):
        raise ConfigError([Problem(report.file, 1, 1, "", "is empty; it needs `sources:`")], hint=INIT_HINT)
    if root.kind != "mapping":
        found = "a list" if root.kind == "list" else "a single value"
        message = f"is {found}, but must be a mapping with keys such as `databases:` and `sources:`"
        raise ConfigError([Problem(report.file, root.line, root.column, "", message)], hint=INIT_HINT)
    tree: dict[str, Any] = _Constructor(report, substitute).value(root, ())
    return tree


def read_value(text: str, file: str) -> Any:
    """Whatever a file of another program holds, None if nothing; ConfigError with every mistake in it."""
    report = Report(file)
    root = _root(text, report)
    value = None if root is None else _Constructor(report, lambda text: text).value(root, ())
    if report.problems:
        raise report.error()
    return value


def _root(text: str, report: Report) -> _Node | None:
    try:
        return _Composer(yaml.parse(text, Loader=_Loader), report.file).document()
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_syntax_problem(error, report.file)]) from None
    except yaml.YAMLError as error:
        raise ConfigError([_character_problem(error, text, report.file)]) from None
    except UnicodeEncodeError as error:
        line, column = _line_column(text, error.start)
        raise ConfigError([Problem(report.file, line, column, "", "is not valid Unicode")]) from None


def _syntax_problem(error: yaml.MarkedYAMLError, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    parts = [part for part in (error.context, error.problem) if part]
    message = f"is not YAML: {', '.join(parts)}; check indentation, quotes and brackets here"
    if "maximum nesting depth" in message:  # libyaml's own bound, far beyond ours, since PyYAML 6.0.4
        message = _TOO_DEEP
    return Problem(file, line, column, "", message.replace("\n", " "))


def _character_problem(error: yaml.YAMLError, text: str, file: str) -> Problem:
    position = getattr(error, "position", 0)
    # libyaml counts bytes, so the character is looked for: it is one that YAML forbids.
    found = re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]", text)
    line, column = _line_column(text, found.start() if found else min(position or 0, len(text)))
    return Problem(file, line, column, "", "holds a character that YAML does not allow; remove it")


def _line_column(text: str, position: int) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1
