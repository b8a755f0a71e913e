"""A second database in files that people wrote: their text stays, and what is new reads as it should."""

from __future__ import annotations

import pytest

from tycostream.config.append import appended, taken
from tycostream.config.load import loads
from tycostream.config.render import draft_of
from tycostream.config.table_facts import TableFacts
from tycostream.errors import ConfigError, TycoError

TRADES = TableFacts("public", "trades", (("id", "bigint"), ("side", "side")), ("id",), {"side": ("side", ("a", "b"))})  # fmt: skip
QUOTES = TableFacts("public", "quotes", (("id", "bigint"),), ("id",), {})


def add(text: str, *tables: TableFacts) -> str:
    draft = draft_of("ticks", "${TICKS_URL}", "risingwave", tables, taken(text, "t.yaml"))
    return appended(text, "t.yaml", draft)


BLOCK = """# mine
databases:
    main:   # the first
        url: host=db
    # more to come

enums:
  side: [buy, sell]
sources:
  trades:
    # my key
    primary_key: id
  bare:
  empty: {}
  flow: {primary_key: id}   # why
  last:
    query: |
      SELECT 1 AS id

    # about last
# the end
server: {port: 5000}
"""


def test_a_file_in_blocks() -> None:
    new = add(BLOCK, TRADES, QUOTES)
    lines = iter(new.replace("database: main, ", "").splitlines())
    kept = [line for line in BLOCK.splitlines() if line not in ("  bare:", "  empty: {}")]
    assert all(line in lines for line in kept), "nothing is lost, and the order is kept"
    assert (
        """    primary_key: id
  bare: {database: main}
  empty: {database: main}
  flow: {database: main, primary_key: id}   # why
  last:
    database: main
    query: |
      SELECT 1 AS id

    # about last
  ticks_trades:
    database: ticks
    table: trades
    primary_key: id
    columns:
      id:    # bigint
      side: ticks_side  # side
  quotes:
    database: ticks
"""
        in new
    )
    assert "    # more to come\n    ticks:\n      engine: risingwave\n" in new
    assert new.endswith("# the end\nserver: {port: 5000}\n")
    config = loads(new, environ={"TICKS_URL": "host=rw"})
    assert {name: source.database for name, source in config.sources.items()} == {
        **dict.fromkeys(("trades", "bare", "empty", "flow", "last"), "main"),
        **dict.fromkeys(("ticks_trades", "quotes"), "ticks"),
    }
    assert config.enums == {"side": ("buy", "sell"), "ticks_side": ("a", "b")}
    assert config.server.port == 5000


def test_a_root_field_of_another_name_is_taken_too() -> None:
    for written in ("quotes", "{name: quotes}"):
        text = f"databases: {{main: {{url: host=db}}}}\nsources: {{trades: {{custom_root_fields: {{select: {written}}}}}}}\n"
        config = loads(add(text, QUOTES), environ={"TICKS_URL": "host=rw"})
        assert list(config.sources) == ["trades", "ticks_quotes"]


@pytest.mark.parametrize(
    "text",
    [
        "databases: {main: {url: host=db}}\nsources: {trades: {}}",
        "databases: {main: {url: host=db}}\nsources: {trades: {primary_key: id}, } # x\n",
        "databases: {\n  main: {url: host=db} # first\n}\nsources:\n  trades:",
        "sources: {trades: {database: main}}\ndatabases:\n  main: {url: host=db}",
        "databases:\n  main: {url: host=db}\nsources: {trades: null}\n",
        "databases:\n  main: &a {url: host=db}\nsources:\n  trades: &b {}\n",
        "\ufeffdatabases: {main: {url: host=db}}\nsources:\n  trades:\n    columns:\n      - id\n",
    ],
)
def test_other_ways_to_write_it(text: str) -> None:
    try:
        new = add(text, QUOTES, TRADES)
    except TycoError as error:
        assert error.code == "append"  # noqa: PT017
        assert ", }" in text, "a comma too many is the only one that is refused"
        return
    config = loads(new, environ={"TICKS_URL": "host=rw"})
    assert {name: source.database for name, source in config.sources.items()} == {
        "trades": "main",
        "quotes": "ticks",
        "ticks_trades": "ticks",
    }
    assert config.databases["main"].url == "host=db"
    assert config.enums == {"side": ("a", "b")}


def test_a_third_database_leaves_all_sources_as_they_are() -> None:
    text = add("databases: {main: {url: host=db}}\nsources: {trades: {}}\n", QUOTES)
    draft = draft_of("more", "${MORE_URL}", "materialize", [QUOTES], taken(text, "t.yaml"))
    config = loads(appended(text, "t.yaml", draft), environ={"TICKS_URL": "host=a", "MORE_URL": "host=b"})
    assert {name: source.database for name, source in config.sources.items()} == {
        "trades": "main",
        "quotes": "ticks",
        "more_quotes": "more",
    }


def test_an_enum_of_the_same_labels_is_shared() -> None:
    new = add("databases: {main: {url: host=db}}\nenums: {ab: [a, b]}\nsources: {t: {}}\n", TRADES)
    config = loads(new, environ={"TICKS_URL": "host=a"})
    assert list(config.enums) == ["ab"]
    assert config.sources["trades"].columns == {"id": None, "side": "ab"}


def test_what_cannot_be_added_to() -> None:
    with pytest.raises(TycoError, match=r"t\.yaml names no database") as caught:
        add("sources: {trades: {}}\n", QUOTES)
    assert caught.value.hint == "write a `databases:` section for the one that it has"
    with pytest.raises(TycoError, match="written in a way that is not understood") as caught:
        add('{"databases": {"main": {"url": "host=db"}}, "sources": {"a": {}}}', QUOTES)
    assert caught.value.hint == "write it into another file with --output, and copy its sections"
    with pytest.raises(ConfigError, match=r"t\.yaml:2:3"):
        add("databases: {main: {url: host=db}}\n  sources: {}\n", QUOTES)
