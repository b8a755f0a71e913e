"""init, check and schema as processes against a fake Materialize that runs in the test's own loop."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.engines.fake_upstream import TYPES
from tests.engines.materialize_upstream import materialize
from tycostream.testing.materialize import FakeMaterialize

PASSWORD = "mzp_s3cret-app-password"


async def run(*arguments: str, cwd: Path, url: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tycostream", *arguments),
        cwd=cwd,
        env={**os.environ, "DATABASE_URL": url, "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 50)
    assert process.returncode is not None
    for text in (out, err):
        assert PASSWORD.encode() not in text, "no password in what is printed"
        assert b"Traceback" not in text
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
async def fake() -> AsyncIterator[FakeMaterialize]:
    async with materialize(password=PASSWORD) as made:
        made.create_table("trades", TYPES, key=("id",), comment="what was traded")
        made.create_view("totals", {"tag": "text", "n": "numeric"}, lambda held: [], schema="sums")
        made.insert("trades", ("1", "2", "x"))
        yield made


async def test_init_writes_what_check_and_schema_accept(fake: FakeMaterialize, tmp_path: Path) -> None:
    code, _, err = await run(
        "init", "--database-url", fake.url, "-o", "tycostream.yaml", cwd=tmp_path, url=fake.url
    )
    assert code == 0, err
    text = (tmp_path / "tycostream.yaml").read_text()
    assert "engine: materialize" in text
    assert "${DATABASE_URL}" in text
    assert PASSWORD not in text
    code, out, err = await run("check", "--json", cwd=tmp_path, url=fake.url)
    findings = json.loads(out)
    assert {finding["subject"] for finding in findings} >= {"database main", "source trades"}
    problems = [finding for finding in findings if not finding["ok"]]
    assert [finding["message"] for finding in problems] == ["has no key"], "of the view, a warning"
    assert code == 0, err
    code, out, err = await run("schema", cwd=tmp_path, url=fake.url)
    assert code == 0, err
    assert "trades_by_pk(id: bigint!): trades" in out
    assert "what was traded" in out
    await fake.until(lambda: fake.connections == 0)


async def test_init_of_one_source_and_of_one_that_is_not_there(fake: FakeMaterialize, tmp_path: Path) -> None:
    code, out, _ = await run(
        "init", "--database-url", fake.url, "--source", "sums.totals", cwd=tmp_path, url=fake.url
    )
    assert code == 0
    assert "totals" in out
    assert "trades" not in out
    code, _, err = await run(
        "init", "--database-url", fake.url, "--source", "trade", cwd=tmp_path, url=fake.url
    )
    assert code == 1
    assert "trades" in err


async def test_check_and_schema_of_what_is_wrong(fake: FakeMaterialize, tmp_path: Path) -> None:
    (tmp_path / "tycostream.yaml").write_text(
        "databases: {main: {engine: materialize, url: '${DATABASE_URL}'}}\nsources: {trade: {}}"
    )
    code, out, _ = await run("check", cwd=tmp_path, url=fake.url)
    assert code == 1
    assert "did you mean public.trades?" in out
    code, _, err = await run("schema", cwd=tmp_path, url=fake.url)
    assert code == 1
    assert "there is no table, source or view public.trade" in err
    code, _, err = await run("schema", cwd=tmp_path, url=fake.url.replace(PASSWORD, "wr0ng-password"))
    assert code == 1
    assert "refused the login" in err
    assert "wr0ng-password" not in err
