"""Code generators and data providers that other people wrote for Hasura, against the running demo."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from graphql import build_client_schema, build_schema, get_introspection_query, print_schema

from tycostream.demo import CONFIG_PATH

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

TOOLS = Path(__file__).parent / "tools"
SIDES = {"buy", "sell"}


async def run(*command: str | Path) -> Any:
    """What a tool reports: one line of JSON."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), 120)
    except TimeoutError:
        process.kill()
        await process.communicate()
        pytest.fail(f"{command[1]} did not end")
    assert process.returncode == 0, errors.decode()
    return json.loads(output)


@pytest.fixture(scope="session")
def tools(node: str) -> str:
    """Node.js, where the tools are installed."""
    if not (TOOLS / "node_modules" / "@refinedev").is_dir():
        pytest.skip("the tools are not installed: run `make test-e2e`, or `npm ci` in tests/e2e/tools")
    return node


@pytest.fixture(scope="session")
def python_tools() -> Path:
    """The Python of the tools: they need another graphql-core than we do."""
    python = TOOLS / ".venv" / "bin" / "python"
    if not python.exists():
        pytest.skip("the Python tools are not installed: run `make test-e2e`")
    return python


async def test_graphql_codegen(demo_server, tools, tmp_path):
    found = await run(tools, TOOLS / "codegen.mjs", demo_server.graphql, tmp_path)
    assert found["invalid"] == []
    assert found["mistakes"] == []
    text = (tmp_path / "schema.ts").read_text()
    for expected in (
        "export type Trades = {",
        "export type Side =",
        "export type Instruments_Bool_Exp = {",
        "export type InstrumentListQuery = {",
        "export type TradeChangesSubscription = {",
    ):
        assert expected in text


async def test_genql(demo_server, tools, tmp_path):
    found = await run(tools, TOOLS / "genql.mjs", demo_server.graphql, tmp_path)
    assert found["mistakes"] == []
    assert found["symbols"] == ["ALDR", "BRCK"]
    assert set(found["sides"]) <= SIDES
    assert found["one"] == "ALDR"
    assert found["live"] == "subscription {trades_changes{phase,changes{operation,row{id}}}}"


async def test_ariadne_codegen(demo_server, python_tools, tmp_path):
    found = await run(python_tools, TOOLS / "ariadne_codegen.py", demo_server.graphql, tmp_path)
    assert found["symbols"] == ["ALDR", "BRCK"]
    assert set(found["sides"]) <= SIDES
    assert found["one"] == "ALDR"
    assert found["pushes"] == [["ALDR", "BRCK"]] * 2
    assert found["exact"] == "Decimal"


def check_lists(found: dict[str, Any]) -> None:
    """Pages, filters and counts of a data provider."""
    first, second, filtered = found["first"], found["second"], found["filtered"]
    assert [row["symbol"] for row in first["data"]] == ["ALDR", "BRCK", "CNDL"]
    assert [row["symbol"] for row in second["data"]] == ["DLTA", "EMBR", "FJRD"]
    assert first["total"] == second["total"] > 6
    assert [row["symbol"] for row in filtered["data"]] == ["ALDR"]
    assert filtered["total"] == 1
    assert found["one"]["data"] == first["data"][1]
    assert sorted(found["many"]["data"], key=lambda row: row["symbol"]) == first["data"]


async def test_refine(demo_server, tools):
    found = await run(tools, TOOLS / "refine.mjs", demo_server.graphql)
    check_lists(found)
    nested = found["nested"]["data"]
    assert {row["instrument"]["symbol"] for row in nested} == {"ALDR"}
    assert int(nested[0]["id"]) > int(nested[1]["id"])
    assert found["nested"]["total"] >= 2
    assert [[row["symbol"] for row in rows] for rows in found["live"]] == [["ALDR", "BRCK"]] * 2


async def test_react_admin(demo_server, tools):
    found = await run(tools, TOOLS / "react_admin.mjs", demo_server.graphql)
    check_lists(found)
    trades = found["reference"]["data"]
    assert {row["instrument_id"] for row in trades} == {found["first"]["data"][0]["id"]}
    assert found["reference"]["total"] >= len(trades) == 2
    assert all(row["side"] in SIDES for row in trades)


def test_the_printed_schema_is_the_one_that_is_served(demo_server, tmp_path):
    embedded = "embedded: true "
    text = CONFIG_PATH.read_text()
    assert embedded in text
    config = tmp_path / "tycostream.yaml"
    config.write_text(text.replace(embedded, f'url: "{demo_server.database_url}" '))
    command = [sys.executable, "-m", "tycostream", "schema", "--config", config]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    answer = httpx2.post(demo_server.graphql, json={"query": get_introspection_query()}).json()
    served = build_client_schema(answer["data"])
    assert print_schema(build_schema(printed)) == print_schema(served)
    assert printed.strip() == print_schema(served).strip()
