"""Which relationships of the configuration the described sources bear out."""

from __future__ import annotations

import pytest

from tycostream.config.load import loads
from tycostream.dataflow.relation import Join
from tycostream.graphql.relationships import Misfit, Relationship, Resolved, resolved
from tycostream.rows import Column, RowType
from tycostream.scalars import Scalar, enum_scalar, scalar_for

TEXT = """databases: {main: {url: 'host=db'}}
sources:
  trades: {relationships: {%s}}
  instruments: {}
"""
SIDE = enum_scalar("side", ("buy", "sell"), None)


def row_type(source: str, **columns: str | Scalar) -> RowType:
    """Columns by name; a type that ends in ``!`` is NOT NULL."""
    made = []
    for name, given in columns.items():
        text = given if isinstance(given, str) else ""
        scalar = scalar_for(text.removesuffix("!")) if isinstance(given, str) else given
        made.append(Column(name, scalar, nullable=not text.endswith("!")))
    return RowType(source, tuple(made), (0,))


def outcome(
    text: str, trades: RowType, instruments: RowType | None
) -> tuple[tuple[Relationship, ...], list[Misfit]]:
    row_types = {each.source: each for each in (trades, instruments) if each is not None}
    found, misfits = resolved(loads(TEXT % text, environ={}).sources, row_types)
    return found["trades"], misfits


TRADES = row_type("trades", id="int4!", instrument_id="int8!", symbol="varchar", side=SIDE, tags="text[]")
INSTRUMENTS = row_type("instruments", symbol="text!", id="numeric!", json="json", side="text", tag="text[]")


def test_places_come_from_the_columns_names() -> None:
    text = "instrument: {object: instruments, on: {instrument_id: id, symbol: symbol}, comment: what}"
    found, misfits = outcome(text, TRADES, INSTRUMENTS)
    assert found == (
        Relationship("instrument", Join("instruments", (1, 2), (1, 0)), many=False, comment="what"),
    )
    assert misfits == []


def test_a_source_that_is_not_described_is_not_led_to_yet() -> None:
    assert outcome("a: {array: instruments, on: {id: nothing}}", TRADES, None) == ((), [])


@pytest.mark.parametrize(
    ("on", "required", "told"),
    [
        ("{instrument_id: id}", True, []),
        (
            "{instrument_id: id, symbol: symbol}",
            False,
            ["it is `required`, but its column 'symbol' may be NULL: it is nullable in the schema"],
        ),
    ],
)
def test_required_takes_columns_that_are_not_null(on: str, required: bool, told: list[str]) -> None:
    text = f"instrument: {{object: instruments, on: {on}, required: true}}"
    (found,), misfits = outcome(text, TRADES, INSTRUMENTS)
    assert found.required is required
    assert [(each.message, each.fatal) for each in misfits] == [(message, False) for message in told]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "x: {object: instruments, on: {instrument: id}}",
            "source trades has no column 'instrument'",
            "name another in `on:`; did you mean instrument_id?",
        ),
        (
            "x: {object: instruments, on: {id: key}}",
            "source instruments has no column 'key'",
            "name another in `on:`",
        ),
        (
            "side: {object: instruments, on: {id: id}}",
            "its field 'side' has the name of column 'side'",
            "rename the relationship, or give the column another name in `column_config:`",
        ),
        (
            "x: {object: instruments, on: {id: symbol}}",
            "column 'id' of type int4 and column 'symbol' of instruments, of type text, have no equality here",
            "join columns of one type, or give one of them the type of the other in the database",
        ),
        (
            "x: {object: instruments, on: {side: side}}",
            "column 'side' of type side and column 'side' of instruments, of type text, have no equality here",
            "join columns of one type, or give one of them the type of the other in the database",
        ),
    ],
)
def test_what_does_not_fit_is_left_out_and_told(text: str, message: str, hint: str) -> None:
    name = text.partition(":")[0]
    assert outcome(text, TRADES, INSTRUMENTS) == ((), [Misfit("trades", name, message, hint)])
    assert Misfit("trades", name, message, hint).subject == f"relationship trades.{name}"


def test_an_aggregate_field_may_clash_with_a_column_too() -> None:
    trades = row_type("trades", id="int4!", fills_aggregate="int8")
    found, (misfit,) = outcome("fills: {array: instruments, on: {id: id}}", trades, INSTRUMENTS)
    assert (found, misfit.message) == (
        (),
        "its field 'fills_aggregate' has the name of column 'fills_aggregate'",
    )


EQUAL = [("int2", "int4"), ("int8", "numeric"), ("uint4", "int4"), ("text", "varchar"), ("uuid", "uuid")]
EQUAL += [("text[]", "text[]"), ("jsonb", "jsonb"), ("float8", "float8"), ("bpchar", "bpchar")]
UNEQUAL = [("json", "json"), ("point", "point"), ("text", "bpchar"), ("float4", "float8"), ("int4", "float8")]
UNEQUAL += [
    ("timestamp", "timestamptz"),
    ("text[]", "varchar[]"),
    ("int4", "text"),
    ("name", "text"),
    ("oid", "int4"),
]


@pytest.mark.parametrize(("ours", "theirs", "fits"), [(*pair, True) for pair in EQUAL] + [(*pair, False) for pair in UNEQUAL])  # fmt: skip
def test_columns_join_where_their_cells_are_equal_as_postgresql_says(
    ours: str, theirs: str, fits: bool
) -> None:
    found, misfits = outcome(
        "x: {array: instruments, on: {a: b}}", row_type("trades", a=ours), row_type("instruments", b=theirs)
    )
    assert (bool(found), bool(misfits)) == (fits, not fits)


def test_enums_join_if_their_labels_are_the_same() -> None:
    text = "x: {array: instruments, on: {a: a}}"
    same = enum_scalar("side", ("buy", "sell"), None)
    other = enum_scalar("side", ("sell", "buy"), None)
    assert outcome(text, row_type("trades", a=SIDE), row_type("instruments", a=same))[0]
    assert not outcome(text, row_type("trades", a=SIDE), row_type("instruments", a=other))[0]


def test_what_one_description_cannot_touch_is_not_looked_at() -> None:
    text = """
databases: {main: {url: 'host=db'}}
sources:
  a: {relationships: {to_b: {object: b, on: {id: id}}, wrong: {object: b, on: {x: id}}}}
  b: {relationships: {to_c: {object: c, on: {id: id}}}}
  c: {}
"""
    sources = loads(text, environ={}).sources
    described = {name: row_type(name, id="int4!") for name in ("a", "b", "c")}
    known = Resolved(sources)
    row_types: dict[str, RowType] = {}
    for name, touched in (("c", {"c", "b"}), ("b", {"b", "a"}), ("a", {"a"})):
        row_types[name] = described[name]
        found = known.look(row_types, [name])
        assert set(found) == touched
    whole, misfits = resolved(sources, row_types)
    assert known.look(row_types, sources) == whole
    assert known.misfits == set(misfits)
    assert [each.name for each in known.misfits_of("a")] == ["wrong"]
    del row_types["b"]
    assert known.look(row_types, ["b"]) == {"b": (), "a": ()}
    assert known.misfits == set()
