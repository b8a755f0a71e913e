"""A second database written into a file that a person keeps: its text stays as it is, and new lines come between.

The places are found by parsing, the changes are made in the text, and the result is read again and compared with what
it should say: a file written in a way that this does not foresee is refused, never spoilt.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from tycostream.config.render import Draft, Taken, yaml_key
from tycostream.config.tree import Report, read_tree
from tycostream.errors import ConfigError, TycoError

_SECTIONS: Final = ("databases", "enums", "sources")
_REMEDY: Final = "write it into another file with --output, and copy its sections"
_Edit = tuple[int, int, str]  # from, to, what stands there instead


def taken(text: str, file: str) -> Taken:
    """The names of a configuration; ConfigError if it does not read, TycoError if it names no database."""
    tree = _read(text, file)
    if not _mapping(tree, "databases"):
        raise TycoError(
            "append",
            f"{file} names no database, to which another could be added",
            hint="write a `databases:` section for the one that it has",
        )
    enums = {
        tuple(map(str, labels)): str(name)
        for name, labels in _mapping(tree, "enums").items()
        if isinstance(labels, list)
    }
    databases, types, sources = (
        tuple(map(str, _mapping(tree, section))) for section in ("databases", "types", "sources")
    )
    customs = [
        custom
        for source in _mapping(tree, "sources").values()
        if isinstance(source, dict)
        for custom in _mapping(source, "custom_root_fields").values()
    ]
    names = (custom.get("name") if isinstance(custom, dict) else custom for custom in customs)
    fields = tuple(str(name) for name in names if name is not None)
    return Taken(databases, types, sources, enums, fields)


def appended(text: str, file: str, draft: Draft) -> str:
    """The text with a draft's database, enums and sources in it. TycoError if it is written too unusually for that.

    With a second database every source must say which is its own: those that do not are given the first one's name.
    """
    before = _read(text, file)
    added = _read(draft.text(), "the draft")
    databases = list(_mapping(before, "databases"))
    only = databases[0] if len(databases) == 1 else None
    wanted = _wanted(before, added, only)
    try:
        new = _edited(text, draft, added, only)
        same = _read(new, file) == wanted
    except (ConfigError, yaml.YAMLError, LookupError):
        same = False
    if not same:
        raise TycoError(
            "append",
            f"a database cannot be added to {file}: its YAML is written in a way that is not understood well enough",
            hint=_REMEDY,
        )
    return new


def _read(text: str, file: str) -> dict[str, Any]:
    report = Report(file)
    tree = read_tree(text.removeprefix("\ufeff"), report, lambda value: value)
    if report.problems:
        raise report.error()
    return tree


def _mapping(tree: Mapping[str, Any], section: str) -> dict[str, Any]:
    found = tree.get(section)
    return found if isinstance(found, dict) else {}


def _wanted(before: Mapping[str, Any], added: Mapping[str, Any], only: str | None) -> dict[str, Any]:
    """What the new file must say."""
    wanted = copy.deepcopy(dict(before))
    sources = _mapping(wanted, "sources")
    for name, source in sources.items() if only is not None else ():
        if source is None or (isinstance(source, dict) and not source.get("database")):
            sources[name] = {**(source or {}), "database": only}
    for section in _SECTIONS:
        if new := _mapping(added, section):
            wanted[section] = {**_mapping(wanted, section), **new}
    return wanted


def _edited(text: str, draft: Draft, added: Mapping[str, Any], only: str | None) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise LookupError
    sections = {key.value: (key, value) for key, value in root.value}
    edits: list[_Edit] = []
    if only is not None and "sources" in sections:
        edits += _naming(text, sections["sources"][1], only)
    tail = ""
    for section in _SECTIONS:
        if not (new := _mapping(added, section)):
            continue
        lines = draft.section(section)
        if section not in sections:
            tail += "\n".join(["", f"{section}:", *lines, ""])
            continue
        edits.append(_insertion(text, *sections[section], lines, new))
    edits.sort(key=lambda edit: edit[0])
    # from the end, so that places stay true; of two at one place the later one first, for it comes after
    for start, end, instead in reversed(edits):
        text = text[:start] + instead + text[end:]
    return text + ("\n" if tail and not text.endswith("\n") else "") + tail


def _naming(text: str, sources: yaml.Node, only: str) -> list[_Edit]:
    """Let every source say that it is of the database ``only``."""
    edits: dict[int, _Edit] = {}  # by place: two sources may be one node, by an alias
    entry = f"database: {yaml_key(only)}"
    for _, source in sources.value if isinstance(sources, yaml.MappingNode) else ():
        if isinstance(source, yaml.MappingNode):
            if any(key.value == "database" for key, _ in source.value):
                continue
            if source.flow_style:
                at = text.index("{", source.start_mark.index) + 1
                edits[at] = (at, at, entry + (", " if source.value else ""))
            else:
                first = source.value[0][0].start_mark
                edits[first.index] = (first.index, first.index, f"{entry}\n{' ' * first.column}")
        else:  # `trades:` or `trades: null`
            start, end = source.start_mark.index, source.end_mark.index
            edits[start] = (start, end, f"{'' if start < end else ' '}{{{entry}}}")
    return list(edits.values())


def _insertion(
    text: str, key: yaml.Node, value: yaml.Node, lines: Sequence[str], new: Mapping[str, Any]
) -> _Edit:
    """New entries at the end of a section, in the style that it is written in."""
    if isinstance(value, yaml.MappingNode) and value.flow_style and value.value:
        end = value.end_mark.index - 1
        listed = [
            f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(one, ensure_ascii=False)}"
            for name, one in new.items()
        ]
        return end, end, "".join(f",\n  {one}" for one in listed)
    if isinstance(value, yaml.MappingNode) and not value.flow_style:
        indent = value.value[0][0].start_mark.column
        at = _after(text, _last(value).end_mark)
        shifted = [" " * indent + line[2:] if line else line for line in lines]
        before = "" if text[:at].endswith("\n") else "\n"
        return at, at, before + "\n".join([*shifted, ""])
    block = "\n" + "\n".join(lines)
    return key.end_mark.index + 1, value.end_mark.index, block  # `sources: {}`, `sources:`


def _last(node: yaml.Node) -> yaml.Node:
    """The node with which a block ends."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        node = node.value[-1] if isinstance(node, yaml.SequenceNode) else node.value[-1][1]
    return node


def _after(text: str, mark: yaml.Mark) -> int:
    """The start of the line after a node, and after the comments that are indented below it: they are about it."""
    at = mark.index
    if mark.column or not at:
        end = text.find("\n", at)
        at = len(text) if end < 0 else end + 1
    while comment := re.compile(r"[ \t]+#[^\n]*(\n|$)").match(text, at):
        at = comment.end()
    return at
