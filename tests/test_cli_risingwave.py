"""init, check and cleanup as processes against a fake RisingWave that runs in the test's own loop."""

from __future__ import annotations

import json
from pathlib import Path

from tests.engines.fake_upstream import TYPES
from tests.engines.risingwave_upstream import make_engine, risingwave
from tests.engines.stream_contract import Follower
from tests.test_cli_materialize import PASSWORD, run
from tycostream.config.load import loads


async def test_init_check_and_cleanup(tmp_path: Path) -> None:
    async with risingwave(password=PASSWORD) as fake:
        fake.create_table("trades", TYPES, key=("id",))
        fake.create_materialized_view("totals", {"tag": "text", "n": "numeric"}, lambda held: [])
        fake.insert("trades", ("1", "2", "x"))
        code, _, err = await run(
            "init", "--database-url", fake.url, "-o", "tycostream.yaml", cwd=tmp_path, url=fake.url
        )
        assert code == 0, err
        text = (tmp_path / "tycostream.yaml").read_text()
        assert "engine: risingwave" in text
        assert "manage: true" in text
        assert PASSWORD not in text
        config = loads(text, environ={"DATABASE_URL": fake.url})
        assert list(config.sources) == ["trades"], "the view's key is hidden"

        code, out, err = await run("check", "--json", cwd=tmp_path, url=fake.url)
        assert code == 0, err
        findings = json.loads(out)
        assert {finding["subject"] for finding in findings} == {"database main", "source trades"}
        assert all(finding["ok"] for finding in findings)
        assert fake.subscriptions() == 0, "check makes nothing"

        engine = make_engine(fake.url, manage=True, name=config.name)
        row_type = await engine.describe(config.sources["trades"])
        follower = Follower(await engine.open(), row_type)
        await follower.stream.add(row_type, config.sources["trades"])
        await follower.until(lambda: bool(follower.snapshots))
        code, out, err = await run("cleanup", "--yes", "--json", cwd=tmp_path, url=fake.url)
        (left,) = json.loads(out)
        assert (left["kind"], left["in_use"], left["removed"]) == ("subscription", True, False)
        await engine.close()
        code, out, err = await run("cleanup", "--yes", cwd=tmp_path, url=fake.url)
        assert out.startswith('main: subscription public."tycostream_tycostream$trades$')
        assert out.endswith(": removed\n")
        assert fake.subscriptions() == 0
