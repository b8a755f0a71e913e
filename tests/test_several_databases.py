"""Databases of one configuration that do not fit into one schema, or would not, and what is said of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.conftest import PostgresServer, fresh_database
from tests.test_cli import run
from tycostream.app import App
from tycostream.auth.session import Session
from tycostream.clock import SystemClock
from tycostream.config.load import load, loads
from tycostream.errors import ConfigError
from tycostream.observe.events import silent


@pytest.fixture
def two(postgres: PostgresServer) -> Iterator[list[str]]:
    """The URLs of two databases, whose enums of one name have different labels."""
    with fresh_database(postgres) as one, fresh_database(postgres) as another:
        for url, labels in ((one, "'calm', 'wild'"), (another, "'calm', 'tame'")):
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(f"CREATE TYPE mood AS ENUM ({labels})".encode())
                connection.execute(b"CREATE TABLE people (id int PRIMARY KEY, mood mood)")
                connection.execute(b"INSERT INTO people VALUES (1, 'calm')")
        yield [one, another]


def yaml(urls: list[str], second: str = "") -> str:
    databases = "".join(
        f"  {name}: {{url: '{url}', manage: true}}\n" for name, url in zip(("one", "two"), urls, strict=True)
    )
    return (
        f"databases:\n{databases}sources:\n  people: {{database: one}}\n"
        f"  others: {{database: two, table: people{second}}}\n"
    )


async def test_enums_that_differ_fail_one_source_and_not_the_schema(two: list[str]) -> None:
    app = App(loads(yaml(two), environ={}), SystemClock(), silent)
    async with app.running():
        await asyncio.wait_for(app.settled(), 20)
        ready, entries = app.ready()
        assert not ready
        states = {str(entry["state"]): entry for entry in entries}
        assert set(states) == {"live", "failed"}, "which of them is described first, nobody knows"
        assert "enums called 'mood' with different labels" in str(states["failed"]["reason"])
        live = states["live"]["source"]
        plan = app.prepare(f"{{ {live} {{ id mood }} }}", None, {}, Session())
        assert json.loads(await app.query(plan)) == {"data": {live: [{"id": 1, "mood": "calm"}]}}


async def test_an_enum_that_is_altered_comes_back_with_all_its_sources(database: str) -> None:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as db:
        await db.execute("CREATE TYPE mood AS ENUM ('calm', 'wild')")
        for table in ("people", "pets", "plants"):
            await db.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, mood mood)".encode())
            await db.execute(f"INSERT INTO {table} VALUES (1, 'calm')".encode())
        text = f"databases: {{main: {{url: '{database}', manage: true, reconnect_delay_max: 200ms}}}}\n"
        app = App(loads(f"{text}sources: {{people: , pets: , plants: }}\n"), SystemClock(), silent)
        async with app.running(), asyncio.timeout(40):
            await app.settled()
            assert app.ready()[0]
            await db.execute("ALTER TYPE mood ADD VALUE 'tame'")
            await db.execute("INSERT INTO pets VALUES (2, 'tame')")
            await db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            while app.ready()[0]:
                await asyncio.sleep(0.005)
            while not app.ready()[0]:
                await asyncio.sleep(0.02)
            plan = app.prepare("{ pets(order_by: {id: asc}) { mood } people { mood } }", None, {}, Session())
            assert json.loads(await app.query(plan)) == {
                "data": {"pets": [{"mood": "calm"}, {"mood": "tame"}], "people": [{"mood": "calm"}]}
            }


def test_check_says_so_and_has_a_section_for_each_database(two: list[str], tmp_path: Path) -> None:
    file = tmp_path / "tycostream.yaml"
    file.write_text(yaml(two))
    checked = run("check", cwd=tmp_path)
    assert checked.returncode == 1
    lines = checked.stdout.splitlines()
    sections = [line for line in lines if line in ("one: postgres, 1 source", "two: postgres, 1 source")]
    assert len(sections) == 2
    assert lines.index(sections[0]) < lines.index(sections[1])
    assert "schema: all databases together" in lines
    assert "enums called 'mood' with different labels" in checked.stdout
    found = json.loads(run("check", "--json", cwd=tmp_path).stdout)
    assert {finding["database"] for finding in found} == {"one", "two", ""}
    assert [f["subject"] for f in found if not f["ok"] and f["fatal"]] == ["source others"]
    # the remedy that it gives
    file.write_text("enums: {their_mood: [calm, tame]}\n" + yaml(two, ", columns: {id: , mood: their_mood}"))
    mended = run("check", cwd=tmp_path)
    assert mended.returncode == 0, mended.stdout
    assert "schema:" not in mended.stdout


def test_names_that_clash_in_the_file_are_refused_with_their_place() -> None:
    text = yaml(["host=a", "host=b"]).replace("others:", "people_old:")
    with pytest.raises(ConfigError) as caught:
        loads(text, "t.yaml", {})
    assert [str(problem) for problem in caught.value.problems] == [
        "t.yaml:6:3: sources.people_old: its type people_old is also one of source people; "
        "rename one of them; a source's `table:` may stay"
    ]


def test_init_adds_a_second_database_and_loses_nothing_of_the_first(two: list[str], tmp_path: Path) -> None:
    first = run("init", "--database-url", two[0], "-o", "tycostream.yaml", "--name", "one", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    file = tmp_path / "tycostream.yaml"
    before = file.read_text()
    (tmp_path / ".env").write_text(f"ONE_URL={two[0]}\nTWO_URL={two[1]}\n")
    again = run("init", "--database-url", two[1], "-o", "tycostream.yaml", cwd=tmp_path)
    assert again.returncode == 1
    assert "add this database to it with --append" in again.stderr
    second = ("init", "--database-url", two[1], "-o", "tycostream.yaml", "--append", "--name")
    taken = run(*second, "one", cwd=tmp_path)
    assert taken.returncode == 1
    assert "has a database 'one' already" in taken.stderr
    assert file.read_text() == before
    added = run(*second, "two", cwd=tmp_path)
    assert added.returncode == 0, added.stderr
    assert "added two to tycostream.yaml: 1 sources; now: export TWO_URL=…" in added.stderr
    lines = iter(file.read_text().splitlines())
    assert all(line in lines for line in before.splitlines()), "nothing is lost, and the order is kept"
    config = load(file, {})
    assert {name: (source.database, source.table) for name, source in config.sources.items()} == {
        "people": ("one", "people"),
        "two_people": ("two", "people"),
    }
    assert config.enums == {"mood": ("calm", "wild"), "two_mood": ("calm", "tame")}
    assert (config.sources["two_people"].columns or {})["mood"] == "two_mood"
    checked = run("check", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("more", [["--append"], ["--append", "-o", "missing.yaml"]])
def test_append_needs_a_file(more: list[str], tmp_path: Path) -> None:
    refused = run("init", "--database-url", "host=nowhere", *more, cwd=tmp_path)
    assert refused.returncode == 1
    assert "--append adds to a file that exists" in refused.stderr
