"""Imports point one way (design 3); a cycle or a short cut fails here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "tycostream"
TEXTS = {
    "array_text",
    "calendar_text",
    "interval_text",
    "json_text",
    "network_text",
    "number_text",
    "string_text",
}
VALUES = {"rows", "changes", "scalars", "json_shape", "json_path", "errors", "clock"} | TEXTS
# Each room and what it may import besides itself.
MAY_IMPORT: dict[str, set[str]] = {
    "rows": {"scalars", "json_shape"},
    "changes": {"rows"},
    "json_shape": {"scalars", "number_text"},
    "json_path": {"number_text"},
    "scalars": {"rows"} | TEXTS,
    "array_text": {"rows"},
    "calendar_text": set(),
    "interval_text": {"calendar_text"},
    "network_text": set(),
    "string_text": {"rows", "number_text"},
    "number_text": {"rows"},
    "json_text": {"number_text"},
    "errors": set(),
    "clock": set(),
    "config": VALUES,
    "resilience": VALUES | {"config"},
    "observe": VALUES | {"config"},
    "dataflow": VALUES | {"config"},
    "auth": VALUES | {"config", "dataflow", "observe", "state"},
    "graphql": VALUES | {"config", "dataflow", "auth"},
    "engines": VALUES | {"config", "resilience", "observe"},
    "state": VALUES | {"config", "engines"},
    "live": VALUES | {"config", "dataflow", "auth", "graphql", "observe", "resilience", "engines", "state"},
    "admin": VALUES | {"config", "auth", "graphql", "live", "observe", "state"},
    "transports": VALUES | {"config", "admin", "auth", "graphql", "live", "observe", "resilience"},
    "demo": VALUES | {"config", "engines"},
    "metadata": VALUES | {"config"},
    "testing": VALUES | {"config", "dataflow", "auth", "graphql", "live", "transports", "engines", "observe"},
    "upstreams": VALUES | {"config", "engines", "observe"},
    "planners": VALUES | {"config", "auth", "graphql", "live", "observe"},
    "app": VALUES
    | {
        "admin",
        "planners",
        "config",
        "dataflow",
        "auth",
        "graphql",
        "live",
        "transports",
        "engines",
        "observe",
        "state",
        "upstreams",
    },
    "cli": VALUES
    | {
        "admin",
        "auth",
        "config",
        "metadata",
        "engines",
        "graphql",
        "app",
        "upstreams",
        "demo",
        "observe",
        "state",
        "transports",
    },
    "__main__": {"cli"},
}
NO_ASYNCIO = ("dataflow", "engines/decode", "transports/wire", "graphql", "rows.py", "scalars.py")
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    rooms = {
        parts[1]
        for name in imported(path)
        if (parts := name.split("."))[0] == "tycostream" and len(parts) > 1 and parts[1] != "__version__"
    }
    assert rooms - {room} <= MAY_IMPORT[room], f"{path} reaches into {rooms - {room} - MAY_IMPORT[room]}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_pure_rooms_never_import_asyncio(path: Path) -> None:
    if str(path.relative_to(PACKAGE)).startswith(NO_ASYNCIO):
        assert not {
            name for name in imported(path) if name.split(".")[0] in {"asyncio", "socket", "time", "random"}
        }


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_live_knows_only_the_contract_of_engines(path: Path) -> None:
    if room_of(path) == "live":
        names = {name for name in imported(path) if name.startswith("tycostream.engines.")}
        assert all(name.startswith("tycostream.engines.base") for name in names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_state_knows_of_engines_only_how_to_connect(path: Path) -> None:
    if room_of(path) == "state":
        names = {name for name in imported(path) if name.startswith("tycostream.engines.")}
        assert all(name.startswith("tycostream.engines.libpq") for name in names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_under_500_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500
