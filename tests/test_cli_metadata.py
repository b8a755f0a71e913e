"""`tycostream metadata` as people use it: a project of Hasura's and the database that it was made for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tycostream.config.load import load
from tycostream.metadata.directory import read_directory

MUSIC = Path(__file__).parent / "metadata" / "music"
TABLES = """
CREATE TABLE artist (artist_id int PRIMARY KEY, name text NOT NULL, formed_on date);
CREATE TABLE album (
  album_id int PRIMARY KEY, title text NOT NULL, artist_id int NOT NULL REFERENCES artist, withdrawn_at timestamptz);
CREATE TABLE genre (name text PRIMARY KEY, comment text);
CREATE TABLE track (
  track_id int PRIMARY KEY, name text, milliseconds int, album_id int REFERENCES album, genre_name text REFERENCES genre);
CREATE TABLE customer (customer_id int PRIMARY KEY, email text, country text, newest_invoice_id int);
CREATE SCHEMA billing;
CREATE TABLE billing.invoice (
  invoice_id int PRIMARY KEY, customer_id int NOT NULL REFERENCES customer, total numeric, credit numeric);
CREATE TABLE billing.invoice_line (
  invoice_line_id int PRIMARY KEY, invoice_id int NOT NULL REFERENCES billing.invoice, track_id int NOT NULL REFERENCES track,
  quantity int, unit_price numeric);
CREATE PUBLICATION tycostream_tycostream FOR ALL TABLES;
"""
LEFT = [  # of the project, whatever the database says
    "sources.shop.configuration.connection_info.pool_settings",
    "sources.shop.configuration.connection_info.use_prepared_statements",
    "sources.shop.tables.billing.invoice_line.delete_permissions (support)",
    "sources.shop.tables.public.artist.configuration.custom_root_fields.insert_one",
    "sources.shop.tables.public.artist.computed_fields (track_count)",
    "sources.shop.tables.public.artist.insert_permissions (editor)",
    "sources.shop.tables.public.artist.select_permissions.editor.permission.computed_fields",
    "sources.shop.tables.public.customer.remote_relationships.loyalty",
    "sources.shop.tables.public.customer.event_triggers (customer_signed_up)",
    "sources.shop.tables.public.genre.is_enum",
    "sources.shop.functions",
    "actions (refund)",
    "custom_types",
    "cron_triggers (close_month)",
    "remote_schemas (loyalty)",
    "actions.graphql",
]


def run(*arguments: str, cwd: Path, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tycostream", *arguments]
    env = {**os.environ, "COLUMNS": "300", **environ}
    env.pop("DATABASE_URL", None)
    return subprocess.run(
        command, cwd=cwd, env=env, input=stdin, capture_output=True, text=True, timeout=50, check=False
    )


@pytest.fixture
def shop(database: str) -> str:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(TABLES.encode())
    return database


def test_a_project_with_its_database(shop: str, tmp_path: Path) -> None:
    """Everything that this version knows is carried, and the rest is told."""
    ask = ("metadata", "import", str(MUSIC), "--database-url", shop, "--report", "json", "--no-permissions")
    made = run(*ask, "-o", "tycostream.yaml", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    told, _, report = made.stderr.partition("\n")
    assert told == "wrote tycostream.yaml: 7 sources"
    told_of = {one["name"]: one["reason"] for one in json.loads(report)}
    assert {name for name in LEFT if "select_permissions" not in name} <= told_of.keys()
    assert (
        told_of["sources.shop.tables.public.track.select_permissions (anonymous)"]
        == "left out by --no-permissions"
    )
    config = load(tmp_path / "tycostream.yaml", {"SHOP_DATABASE_URL": shop})
    assert {name: source.relationships for name, source in config.sources.items() if source.relationships}.keys() == {
        "billing_invoice", "InvoiceLine", "album", "Artist", "customer", "track",
    }  # fmt: skip
    artist = config.sources["album"].relationships["artist"]
    assert (artist.object, artist.on, artist.required) == ("Artist", {"artist_id": "artist_id"}, True)
    lines = config.sources["billing_invoice"].relationships["lines"]
    assert (lines.array, lines.on) == ("InvoiceLine", {"invoice_id": "invoice_id"})

    # ... and it works: check has nothing against it, and the schema is the one that the project's clients know
    checked = run("check", cwd=tmp_path, SHOP_DATABASE_URL=shop)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    sdl = run("schema", cwd=tmp_path, SHOP_DATABASE_URL=shop)
    assert sdl.returncode == 0, sdl.stderr
    assert "  artist(id: Int!): Artist\n" in sdl.stdout
    assert "  formedOn: date\n" in sdl.stdout
    assert "  artist: Artist!\n" in sdl.stdout
    assert '"""What a customer owes"""\ntype billing_invoice {' in sdl.stdout


def test_there_and_back(shop: str, tmp_path: Path) -> None:
    made = run(
        "metadata", "import", str(MUSIC), "--database-url", f"shop={shop}", "-o", "a.yaml", cwd=tmp_path
    )
    assert made.returncode == 0, made.stderr
    assert "permissions, allowlist, introspection: for nobody until `auth` says who is asking" in made.stderr
    text = (tmp_path / "a.yaml").read_text()
    head, _, tail = text.partition("\n# Not carried over from the metadata:\n")
    assert [line[4:].partition(": ")[0] for line in tail.splitlines()] == LEFT
    assert shop not in text

    served = run("serve", "-c", "a.yaml", cwd=tmp_path, SHOP_DATABASE_URL=shop)
    assert served.returncode == 1
    assert (
        "permissions: permissions hold for nobody without `auth`: whoever reaches the port is admin"
        in served.stderr
    )

    out = run("metadata", "export", "-c", "a.yaml", "--directory", "hasura/metadata", cwd=tmp_path)
    assert out.returncode == 0, out.stderr
    assert "sources.album.relationships.artist.required" in out.stderr
    again = run("metadata", "import", "hasura", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout.replace(", required: true", "") == head.replace(", required: true", "")

    # what the project's directory said and is carried, the new one says too
    before, after = read_directory(MUSIC), read_directory(tmp_path / "hasura")
    for key in ("inherited_roles", "query_collections", "allowlist", "graphql_schema_introspection"):
        assert after[key] == before[key]
    roles = {
        name: {one["role"] for one in table.get("select_permissions", ())} for name, table in tables(before)
    }
    assert {
        name: {one["role"] for one in table.get("select_permissions", ())} for name, table in tables(after)
    } == roles


def tables(metadata: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(table["table"]["name"], table) for table in metadata["sources"][0]["tables"]]


def test_strict_and_standard_input(tmp_path: Path) -> None:
    table = {"table": {"schema": "public", "name": "a"}}
    metadata: dict[str, Any] = {
        "version": 3,
        "sources": [{"name": "default", "kind": "postgres", "tables": [table]}],
    }
    metadata["sources"][0]["configuration"] = {"connection_info": {"database_url": {"from_env": "PG_URL"}}}
    body = json.dumps({"resource_version": 1, "metadata": metadata})
    all_of_it = run("metadata", "import", "-", "--strict", cwd=tmp_path, stdin=body)
    assert (all_of_it.returncode, all_of_it.stderr) == (0, "")
    assert all_of_it.stdout.endswith(
        '  default:\n    engine: postgres\n    url: "${PG_URL}"\nsources:\n  a: {}\n'
    )

    metadata["cron_triggers"] = [{"name": "nightly"}]
    (tmp_path / "m.json").write_text(json.dumps(metadata))
    some = run("metadata", "import", "m.json", "--strict", "-o", "t.yaml", cwd=tmp_path)
    assert some.returncode == 3
    assert "not carried over         why" in some.stderr
    assert "cron_triggers (nightly)  triggers are not run by this version" in some.stderr
    assert (
        (tmp_path / "t.yaml")
        .read_text()
        .endswith(
            "# Not carried over from the metadata:\n# - cron_triggers (nightly): triggers are not run by this version\n"
        )
    )
    back = run("metadata", "export", "-c", "t.yaml", "--strict", "-o", "back.json", cwd=tmp_path)
    assert (back.returncode, back.stderr) == (0, "wrote back.json\n")
    del metadata["cron_triggers"]
    assert json.loads((tmp_path / "back.json").read_text()) == metadata
    (tmp_path / "t.yaml").write_text("databases: {x: {url: 'host=y'}}\nsources: {a: {}}\n")
    told = run("metadata", "export", "-c", "t.yaml", "--strict", "--report", "json", cwd=tmp_path)
    assert told.returncode == 3
    assert json.loads(told.stderr) == [
        {
            "path": "$.databases.x.url",
            "name": "databases.x.url",
            "reason": "it may hold a password, so it was not copied: set X_URL for Hasura",
        }
    ]


def test_what_makes_mistakes_is_written_and_said(tmp_path: Path) -> None:
    names = ("orders", "orders_bool_exp")
    tables = [{"table": {"schema": "public", "name": name}} for name in names]
    (tmp_path / "m.json").write_text(json.dumps({"version": 3, "sources": [{"name": "d", "tables": tables}]}))
    made = run("metadata", "import", "m.json", "-o", "t.yaml", cwd=tmp_path)
    assert made.returncode == 1
    assert "what the metadata says makes mistakes in a configuration; mend them there:" in made.stderr
    assert (
        "t.yaml:9:3: sources.orders_bool_exp: its type orders_bool_exp is also one of source orders"
        in made.stderr
    )
    assert (tmp_path / "t.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("import", "nowhere"), "nowhere cannot be read: No such file or directory"),
        (("import", "bytes"), "bytes is not UTF-8"),
        (("import", "."), ". has no version.yaml"),
        (("import", "m.json", "-o", "m.json"), "m.json exists already"),
        (
            ("import", "m.json", "--database-url", "host=x"),
            "the metadata has several databases; --database-url must",
        ),
        (("export", "-o", "x.json", "--directory", "x"), "--output and --directory contradict each other"),
        (("export", "-o", "m.json"), "m.json exists already"),
        (("export", "-c", "nowhere.yaml"), "nowhere.yaml:1:1: there is no such file"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff")
    (tmp_path / "m.json").write_text('{"version": 3, "sources": [{"name": "a"}, {"name": "b"}]}')
    failed = run("metadata", *arguments, cwd=tmp_path)
    assert failed.returncode == 1
    assert message in failed.stderr
    assert failed.stdout == ""
