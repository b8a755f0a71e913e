"""What `init` writes loads back, whatever the names are."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from tycostream.config.load import loads
from tycostream.config.model import Config, EngineName
from tycostream.config.names import identifier
from tycostream.config.render import render_yaml
from tycostream.config.table_facts import Reference, TableFacts
from tycostream.config.table_name import parts


def table(name: str, *columns: str, schema: str = "public", key: tuple[str, ...] = ()) -> TableFacts:
    return TableFacts(schema, name, tuple((column, "text") for column in columns or ("id",)), key, {})


def round_trip(*tables: TableFacts) -> Config:
    return loads(
        render_yaml("${DATABASE_URL}", "postgres", tables), environ={"DATABASE_URL": "postgresql://h/d"}
    )


def test_an_ordinary_table() -> None:
    trades = TableFacts(
        "public",
        "trades",
        (("id", "bigint"), ("side", "side"), ("executed_at", "timestamp with time zone")),
        ("id",),
        {"side": ("side", ("buy", "sell"))},
        "Every trade: ever.",
    )
    text = render_yaml("${DATABASE_URL}", "postgres", [trades])
    assert text.endswith(
        """
databases:
  main:
    engine: postgres
    url: "${DATABASE_URL}"
    manage: true              # tycostream may create and alter its own publication

server:
  stringify_numbers: true     # bigint and numeric as strings: exact in browsers too

enums:                        # ordered
  side: [buy, sell]

sources:
  trades:
    comment: "Every trade: ever."
    primary_key: id
    columns:
      id:           # bigint
      side: side    # side
      executed_at:  # timestamp with time zone
"""
    )
    loaded = round_trip(trades)
    assert loaded.databases["main"].engine is EngineName.POSTGRES
    assert loaded.databases["main"].url == "postgresql://h/d"
    assert loaded.server.stringify_numbers
    assert loaded.sources["trades"].columns == {"id": None, "side": "side", "executed_at": None}


def test_materialize_without_and_with_a_key() -> None:
    totals = TableFacts("public", "totals", (("symbol", "text"), ("count", "uint8")), ("symbol",), {})
    raw = TableFacts("feed", "raw", (("payload", "jsonb"), ("tags", "list")), (), {}, "As it came.")
    text = render_yaml("${DATABASE_URL}", "materialize", [totals, raw])
    assert text.endswith(
        """
databases:
  main:
    engine: materialize
    url: "${DATABASE_URL}"
    # cluster: my_cluster     # which one computes; absent: the default of the user in the url
    # consistency: database   # all sources of this database at one moment, not each at its own

server:
  stringify_numbers: true     # bigint and numeric as strings: exact in browsers too

sources:
  totals:
    primary_key: symbol
    columns:
      symbol:  # text
      count:   # uint8
  feed_raw:
    table: feed.raw
    comment: "As it came."
    # Materialize knows no key here. Name the columns that make a row unique, for updates and _by_pk;
    # without them equal rows are only counted, and a change is a delete and an insert.
    # primary_key: …
    columns:
      payload:  # jsonb
      tags:     # list
"""
    )
    loaded = loads(text, environ={"DATABASE_URL": "postgresql://u@mz:6875/materialize"})
    assert loaded.databases["main"].engine is EngineName.MATERIALIZE
    assert loaded.sources["totals"].primary_key == ("symbol",)
    assert (loaded.sources["feed_raw"].table, loaded.sources["feed_raw"].primary_key) == ("feed.raw", ())


def test_weird_names() -> None:
    columns = (
        "Grün & blau",
        "1st",
        'quo"te',
        "back\\slash",
        "no",
        "${HOME}",
        "<<",
        "__x",
        "grun_blau",
        "_and",
        "日本",
    )
    loaded = round_trip(
        table("my table", *columns, key=("1st", "${HOME}")), table("Größe", schema="Über uns")
    )
    source = loaded.sources["my_table"]
    assert source.table == "my table"
    assert source.primary_key == ("1st", "${HOME}")
    assert source.columns is not None
    assert tuple(source.columns) == columns
    assert {column: config.name for column, config in source.column_config.items()} == {
        "Grün & blau": "Grun_blau",
        "1st": "_1st",
        'quo"te': "quo_te",
        "back\\slash": "back_slash",
        "${HOME}": "_HOME_",
        "<<": "unnamed",
        "__x": "_x",
        "_and": "_and_2",
        "日本": "unnamed_2",
    }
    assert loaded.sources["Uber_uns_Groe"].table == "Über uns.Größe"


def test_names_that_would_clash() -> None:
    loaded = round_trip(
        table("a b"), table("a_b"), table("a_b_changes"), table("date"), table("x", schema="y"), table("y_x"),
        table("c", "p q", "p_q", "p q "),
    )  # fmt: skip
    assert {name: source.table for name, source in loaded.sources.items()} == {
        "a_b": "a b",
        "a_b_2": "a_b",
        "a_b_changes_2": "a_b_changes",
        "date_2": "date",
        "y_x": "y.x",
        "y_x_2": "y_x",
        "c": "c",
    }
    names = [config.name for config in loaded.sources["c"].column_config.values()]
    assert names == ["p_q_2", "p_q_"]


def test_enums() -> None:
    def one(name: str, labels: tuple[str, ...]) -> TableFacts:
        return TableFacts("public", f"t_{name}", (("e", name),), (), {"e": (name, labels)})

    loaded = round_trip(
        one("mood", ("no", "yes")),
        one("date", ("a",)),
        one("spaced", ("a b",)),
        one("bool", ("true",)),
        one("again", ("a",)),
    )
    assert loaded.enums == {"mood": ("no", "yes"), "date_2": ("a",)}
    types = [next(iter((source.columns or {}).values())) for source in loaded.sources.values()]
    assert types == ["mood", "date_2", None, None, "date_2"]


def test_what_cannot_be_written_is_a_comment() -> None:
    text = render_yaml("${U}", "postgres", [TableFacts("public", "empty", (), (), {})])
    assert "  # public.empty is left out: it has no columns" in text
    assert "\nsources: {}\n" in text


def test_a_name_with_a_dot_in_it_is_quoted() -> None:
    loaded = round_trip(table("a.b\nc"), TableFacts('o"d.d', "t", (("id", "integer"),), ("id",), {}))
    assert [source.table for source in loaded.sources.values()] == ['"a.b\nc"', '"o""d.d".t']


def test_what_is_said_of_columns_and_tables_is_carried() -> None:
    said = TableFacts(
        "public",
        "notes",
        (("id", "int"), ("a b", "text"), ("c", "text")),
        ("id",),
        {},
        "one line,\nand ${another}",
        {"a b": 'with {braces}, "quotes": and # marks', "c": "yes"},
    )
    source = round_trip(said).sources["notes"]
    assert source.comment == "one line,\nand ${another}"
    shown = source.column_config
    assert shown["a b"].name == "a_b"
    assert shown["a b"].comment == 'with {braces}, "quotes": and # marks'
    assert (shown["c"].name, shown["c"].comment) == (None, "yes")


def test_foreign_keys_become_relationships_both_ways() -> None:
    key = Reference(("venue_id",), "public", "venues", ("id",), always=True)
    pair = Reference(("a", "b c"), "sales", "orders", ("x", "y"))
    alone = Reference(("id",), "hidden", "secrets", ("id",))
    trades = TableFacts(
        "public",
        "trades",
        (("id", "int"), ("venue_id", "int"), ("a", "int"), ("b c", "int")),
        ("id",),
        {},
        references=(key, pair, alone),
    )
    venues = TableFacts("public", "venues", (("id", "int"), ("trades", "text")), ("id",), {})
    orders = TableFacts("sales", "orders", (("x", "int"), ("y", "int")), ("x", "y"), {})
    text = render_yaml("${U}", "postgres", [trades, venues, orders])
    assert (
        """
    relationships:            # by foreign keys
      venue: {object: venues, on: {venue_id: id}, required: true}
      sales_order: {object: sales_orders, on: {a: x, "b c": "y"}}
  venues:
"""
        in text
    )
    assert "      trades_by_venue_id: {array: trades, on: {id: venue_id}}\n  sales_orders:" in text, (
        "trades is a column"
    )
    assert text.endswith('      trades: {array: trades, on: {x: a, "y": "b c"}}\n')
    assert "secrets" not in text, "what is not a source is no end of a relationship"
    loaded = round_trip(trades, venues, orders).sources
    assert set(loaded) == {"trades", "venues", "sales_orders"}
    assert loaded["trades"].relationships["sales_order"].on == {"a": "x", "b c": "y"}


def test_a_table_that_cannot_be_followed_yet_is_left_out_unless_it_was_named() -> None:
    loose = TableFacts("public", "loose", (("n", "int"),), (), {}, remedy="ALTER TABLE\nloose …")
    text = render_yaml("${U}", "postgres", [loose])
    assert "  # public.loose is left out: before it can be followed, ALTER TABLE loose …\n" in text
    named = render_yaml("${U}", "postgres", [replace(loose, wanted=True)])
    assert "  loose:\n    # first: ALTER TABLE loose …\n" in named


def test_identifiers() -> None:
    assert [identifier(name) for name in ("a", "9", "é", "a-b", "___", "", "__a", "_a")] == [
        "a", "_9", "e", "a_b", "unnamed", "unnamed", "_a", "_a",
    ]  # fmt: skip


NAMES = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8
) | st.sampled_from(
    [
        "a",
        "a_b",
        "a b",
        "a-b",
        "__a",
        "_and",
        "date",
        "no",
        "true",
        "null",
        "~",
        "<<",
        "${X}",
        "a_old",
        "1",
        "#",
        ": ",
    ]
)


@st.composite
def facts(draw: st.DrawFn) -> TableFacts:
    columns = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    key = tuple(columns[: draw(st.integers(0, 2))])
    enums = {
        column: (draw(NAMES), tuple(draw(st.lists(NAMES, max_size=3, unique=True)))) for column in columns[:1]
    }
    comment = draw(st.none() | NAMES)
    types = st.just("int4") | NAMES
    return TableFacts(draw(NAMES), draw(NAMES), tuple((c, draw(types)) for c in columns), key, enums, comment)


@st.composite
def catalogues(draw: st.DrawFn) -> list[TableFacts]:
    """Tables, and foreign keys between them."""
    tables = draw(st.lists(facts(), min_size=1, max_size=4))

    def key(of: TableFacts) -> st.SearchStrategy[Reference]:
        to = draw(st.sampled_from(tables))
        count = draw(st.integers(1, min(2, len(of.columns), len(to.columns))))
        ours, theirs = draw(st.permutations(of.columns)), draw(st.permutations(to.columns))
        pair = tuple(name for name, _ in ours[:count]), tuple(name for name, _ in theirs[:count])
        return st.builds(
            Reference, st.just(pair[0]), st.just(to.schema), st.just(to.name), st.just(pair[1]), st.booleans()
        )

    return [
        replace(each, references=tuple(draw(key(each)) for _ in range(draw(st.integers(0, 3)))))
        for each in tables
    ]


# a table whose relationship would be called _and
@example(
    [TableFacts(":", "and", (("0", "int4"),), (), {}, references=(Reference(("0",), ":", "and", ("0",)),))]
)
@given(catalogues())
def test_any_catalogue_loads_back(tables: list[TableFacts]) -> None:
    loaded = round_trip(table("sure"), *tables)
    sources = list(loaded.sources.values())[1:]
    for source, wanted in zip(sources, tables, strict=True):
        schema = () if wanted.schema == "public" else (wanted.schema,)
        assert parts(source.table or source.name) == (*schema, wanted.name)
        assert source.primary_key == wanted.primary_key
        assert source.comment == wanted.comment
        assert tuple(source.columns or {}) == tuple(name for name, _ in wanted.columns)
