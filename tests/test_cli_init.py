"""`tycostream init` over whole schemas: what it writes loads, and `check` finds nothing wrong with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest

from tests.test_cli import run
from tycostream.config.load import load
from tycostream.config.model import Config, RelationshipConfig
from tycostream.demo.market import create_schema

SCHEMAS = """
CREATE TYPE mood AS ENUM ('calm', 'wild');
CREATE TABLE venues (id int PRIMARY KEY, name text);
COMMENT ON TABLE venues IS 'where ${it} happens: "here"';
CREATE TABLE loose (n int);
CREATE TABLE heap (n int);
ALTER TABLE heap REPLICA IDENTITY FULL;
CREATE SCHEMA sales;
CREATE TABLE sales.orders (
  id bigint PRIMARY KEY, venue_id int REFERENCES venues, mood mood, moods mood[], "odd name" text COMPRESSION pglz,
  price numeric, twice numeric GENERATED ALWAYS AS (price * 2) STORED);
COMMENT ON COLUMN sales.orders.price IS 'in cents';
CREATE TABLE sales.lines (order_id bigint REFERENCES sales.orders, n int, PRIMARY KEY (order_id, n));
CREATE SCHEMA "Odd.Schema";
CREATE TABLE "Odd.Schema"."a ""b"" table" (id int PRIMARY KEY);
CREATE TABLE "Odd.Schema".trade_bool_exp (id int PRIMARY KEY);
CREATE TABLE "Odd.Schema".trade (id int PRIMARY KEY);
CREATE TABLE noidentity (id int PRIMARY KEY);
ALTER TABLE noidentity REPLICA IDENTITY NOTHING;
"""


@pytest.fixture
def several(database: str) -> str:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(SCHEMAS.replace(" COMPRESSION pglz", "").encode())
    return database


def written(folder: Path, url: str, *options: str) -> tuple[str, Config]:
    """What init writes, loaded, after `check` has found nothing fatal in it."""
    made = run("init", "--database-url", url, "-o", "tycostream.yaml", *options, cwd=folder)
    assert made.returncode == 0, made.stderr
    checked = run("check", cwd=folder, url=url)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    file = folder / "tycostream.yaml"
    return file.read_text(), load(file, {"DATABASE_URL": url})


def test_all_of_it(several: str, tmp_path: Path) -> None:
    text, config = written(tmp_path, several, "--all")
    assert list(config.sources) == [
        *("Odd_Schema_a_b_table", "Odd_Schema_trade", "Odd_Schema_trade_bool_exp_2"),
        *("heap", "venues", "sales_lines", "sales_orders"),
    ]
    assert "# public.loose is left out: before it can be followed, ALTER TABLE public.loose REPLICA" in text
    assert "# public.noidentity is left out" in text
    orders = config.sources["sales_orders"]
    assert orders.table == "sales.orders"
    assert list(orders.columns or ()) == ["id", "venue_id", "mood", "moods", "odd name", "price"]
    assert (orders.columns or {})["mood"] == "mood"
    assert config.enums == {"mood": ("calm", "wild")}
    assert orders.column_config["price"].comment == "in cents"
    assert orders.column_config["odd name"].name == "odd_name"
    assert config.sources["venues"].comment == 'where ${it} happens: "here"'
    assert orders.relationships == {
        "venue": RelationshipConfig(object="venues", on={"venue_id": "id"}),
        "sales_lines": RelationshipConfig(array="sales_lines", on={"id": "order_id"}),
    }
    (line,) = config.sources["sales_lines"].relationships.values()
    assert line == RelationshipConfig(object="sales_orders", on={"order_id": "id"}, required=True)
    assert config.sources["sales_lines"].primary_key == ("order_id", "n")


def test_schemas_and_sources_that_are_named(several: str, tmp_path: Path) -> None:
    text, config = written(
        tmp_path, several, "--schema", "sales", "--source", "venues", "--source", "public.venues"
    )
    assert list(config.sources) == ["venues", "sales_lines", "sales_orders"]
    assert "loose" not in text
    missing = run("init", "--database-url", several, "--schema", "sale", cwd=tmp_path)
    assert missing.returncode == 1
    assert "there is no readable table in schema sale" in missing.stderr
    assert "schemas with tables: Odd.Schema, public, sales" in missing.stderr
    both = run("init", "--database-url", several, "--all", "--source", "venues", cwd=tmp_path)
    assert both.returncode == 1
    assert "contradict" in both.stderr
    loose = run("init", "--database-url", several, "--source", "loose", cwd=tmp_path)
    assert "  loose:\n    # first: ALTER TABLE" in loose.stdout, "who names it gets it, and what it needs"


def test_the_demo_s_database(database: str, tmp_path: Path) -> None:
    asyncio.run(create_schema(database))
    _, config = written(tmp_path, database)
    assert {"trades", "instruments"} <= set(config.sources)


VIEWS = """
CREATE TABLE stock (id int PRIMARY KEY, mood text, price numeric);
CREATE VIEW cheap AS SELECT id, mood, price FROM stock WHERE price < 10;
COMMENT ON VIEW cheap IS 'what goes fast';
CREATE VIEW "of two" AS SELECT mood, count(*) AS n FROM cheap GROUP BY mood;
CREATE VIEW moving AS SELECT * FROM stock WHERE now() > '2020-01-01';
CREATE TABLE faceless (n int);
CREATE VIEW unnamed AS SELECT n FROM faceless;
"""


def test_views_are_offered_and_what_keeps_one_from_being_followed_is_said(
    database: str, tmp_path: Path
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(VIEWS.encode())
    text, config = written(tmp_path, database)
    assert {"stock", "cheap", "of_two"} <= set(config.sources)
    assert config.sources["of_two"].table == "of two"
    assert config.sources["cheap"].comment == "what goes fast"
    assert not config.sources["cheap"].primary_key
    assert "No key of a view is known here. Name the columns" in text
    assert "# public.moving is left out: before it can be followed, " in text
    assert "refresh" in next(line for line in text.splitlines() if "public.moving" in line)
    assert "unnamed is left out: before it can be followed, ALTER TABLE public.faceless REPLICA" in text
