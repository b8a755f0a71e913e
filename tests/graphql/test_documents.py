"""Object types: their schema, what of a JSON value fits, and what is said of the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from graphql import print_type

from tests.graphql.graphql_tables import root
from tycostream.errors import TycoError
from tycostream.graphql.documents import Flawed
from tycostream.graphql.execute import Planner
from tycostream.json_shape import ObjectShape, object_shape
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS, enum_scalar

TYPES = {
    "person": {
        "name": "String", "age": "Integer", "big": "BigInt", "price": "Numeric", "ratio": "Float", "born": "Date",
        "at": "Timestamp", "id": "UUID", "ok": "Boolean", "any": "JSON", "side": "side", "tags": "[String]",
        "grid": "[[Integer]]", "friends": "[person]", "home": "place",
    },
    "place": {"city": "String"},
}  # fmt: skip
ENUMS = {"side": ("buy", "sell")}
PEOPLE = RowType(
    "people",
    (
        Column("id", SCALARS["int4"], nullable=False),
        Column("one", SCALARS["jsonb"], document=object_shape("person", TYPES, ENUMS)),
        Column("many", SCALARS["json"], document=object_shape("[person]", TYPES, ENUMS)),
    ),
    key=(0,),
)
PLANNER = Planner([PEOPLE])


def shown(selection: str, one: str | None, many: str | None = None, planner: Planner = PLANNER) -> Any:
    """A row's JSON as text, and what is told of it."""
    encoder = root(f"{{people_by_pk(id: 1) {{{selection}}}}}", planner=planner).encoder
    cells = [
        None if text is None else PEOPLE.columns[i].scalar.parse(text) for i, text in ((1, one), (2, many))
    ]
    written = encoder.row((1, *cells))
    return bytes(written).decode(), list(written.flaws) if isinstance(written, Flawed) else []


def test_types() -> None:
    types = PLANNER.schema.type_map
    fields = [line.strip() for line in print_type(types["person"]).splitlines()[4:-1]]
    assert fields == [
        "age: Int", "any: jsonb", "at: timestamp", "big: bigint", "born: date", "friends: [person]", "grid: [[Int]]",
        "home: place", "id: uuid", "name: String", "ok: Boolean", "price: numeric", "ratio: float8", "side: side",
        "tags: [String]",
    ]  # fmt: skip
    assert "  one: person\n" in print_type(types["people"])
    assert "  many: [person]\n" in print_type(types["people_old"])
    assert "one: jsonb_comparison_exp" in print_type(types["people_bool_exp"])


@pytest.mark.parametrize(
    ("field", "value", "written", "message"),
    [
        ("name", '"é\\u0000"', "null", "the string for type 'String' holds a null character, which PostgreSQL cannot store"),
        ("name", '"é"', '"é"', ""),
        ("name", "1", "null", "expected a string for type 'String', but found a number"),
        ("age", "7", "7", ""),
        ("age", "7.0", "7", ""),
        ("age", "2147483648", "null", "value 2147483648 is out of range for type 'Int'"),
        ("age", '"7"', "null", "expected a number for type 'Int', but found a string"),
        ("age", "true", "null", "expected an integer for type 'Int', but found a boolean"),
        ("age", "null", "null", ""),
        ("big", "9007199254740993", "9007199254740993", ""),
        ("big", '"9007199254740993"', "9007199254740993", ""),
        ("price", "0.10000000000000000000000000001", "0.10000000000000000000000000001", ""),
        ("price", "1" * 5000, "1" * 5000, ""),
        ("price", "NaN", '"NaN"', ""),  # Materialize's
        ("price", "-Infinity", '"-Infinity"', ""),
        ("ratio", "0.5", "0.5", ""),
        ("ratio", "1e999", "null", "out of range for type 'float8'"),
        ("born", '"2024-02-30"', "null", "there is no such day"),
        ("at", '"2024-02-01T10:00:00Z"', '"2024-02-01T10:00:00"', ""),
        ("id", '"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"', '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"', ""),
        ("ok", "true", "true", ""),
        ("ok", "0", "null", "expected a boolean for type 'Boolean', but found a number"),
        ("any", '{"a": [1.50, null, true, "x"]}', '{"a":[1.50,null,true,"x"]}', ""),
        ("any", '"\\ud800"', '"\\ud800"', ""),
        ("side", '"sell"', '"sell"', ""),
        ("side", '"hold"', "null", "expected one of buy, sell for type 'side', but found 'hold'"),
        ("tags", '["a", null]', '["a",null]', ""),
        ("tags", '"a"', "null", "expected a list for type '[String]', but found a string"),
        ("grid", "[[1], [], null]", "[[1],[],null]", ""),
    ],
)  # fmt: skip
def test_values(field: str, value: str, written: str, message: str) -> None:
    text, flaws = shown(f"one {{{field}}}", f'{{"other": 1, "{field}": {value}}}')
    assert text == f'{{"one":{{"{field}":{written}}}}}'
    if message:
        ((path, said),) = flaws
        assert path == ("one", field)
        assert message in said
    else:
        assert not flaws


def test_a_selection_takes_what_it_names() -> None:
    value = '{"name": "Ann", "home": {"city": "Rome", "more": 1}, "friends": [{"name": "Bo"}, {}, null]}'
    text, flaws = shown("x: one {__typename n: name ... on person {home {city}} friends {name}}", value)
    assert text == (
        '{"x":{"__typename":"person","n":"Ann","home":{"city":"Rome"},"friends":[{"name":"Bo"},{"name":null},null]}}'
    )
    assert not flaws


def test_paths_name_response_keys_and_places() -> None:
    many = '[{"friends": [{}, {"age": "x"}], "home": 5, "grid": [[1, 2.5]]}, 7]'
    text, flaws = shown("m: many {friends {a: age} home {city} grid}", "5", many)
    assert text == '{"m":[{"friends":[{"a":null},{"a":null}],"home":null,"grid":[[1,null]]},null]}'
    assert [path for path, _ in flaws] == [
        ("m", 0, "friends", 1, "a"), ("m", 0, "home"), ("m", 0, "grid", 0, 1), ("m", 1),
    ]  # fmt: skip
    assert flaws[1][1] == "expected an object for type 'place', but found a number"
    assert flaws[3][1] == "expected an object for type 'person', but found a number"


@pytest.mark.parametrize("value", [None, "null"])
def test_null_is_null(value: str | None) -> None:
    assert shown("one {name} many {name}", value, value) == ('{"one":null,"many":null}', [])


def test_a_document_that_is_nested_too_deeply() -> None:
    text, flaws = shown("one {name}", "[" * 200_000 + "]" * 200_000)
    assert (text, flaws) == ('{"one":null}', [(("one",), "the JSON is nested too deeply")])


def test_json_that_no_jsonb_would_take_ends_nothing() -> None:
    """json, unlike jsonb, keeps whatever was written: a row's text must never be an exception of the whole encoder."""
    _, flaws = shown("many {any}", None, '[{"any": 1e99999999999999999999}]')
    assert flaws == [(("many",), "a number of the JSON is out of every range")]
    deep = "[" * 900 + "]" * 900
    text, flaws = shown("many {any}", None, f'[{{"any": {deep}}}]')
    assert (text, flaws) == (
        '{"many":[{"any":null}]}',
        [(("many", 0, "any"), "the JSON is nested too deeply")],
    )


def test_numbers_as_strings() -> None:
    planner = Planner([PEOPLE], stringify_numbers=True)
    text, flaws = shown("one {big age price}", '{"big": 5, "age": 6, "price": 1.50}', planner=planner)
    assert json.loads(text) == {"one": {"big": "5", "age": 6, "price": "1.50"}}
    assert not flaws


def test_equal_configurations_have_equal_layouts_and_others_have_not() -> None:
    def layout(types: dict[str, dict[str, str]], name: str = "a") -> Any:
        document = object_shape(name, types, {})
        return RowType("t", (Column("x", SCALARS["json"], document=document),)).layout

    assert layout({"a": {"b": "String"}}) == layout({"a": {"b": "String"}})
    assert layout({"a": {"b": "String"}}) != layout({"a": {"b": "Integer"}})
    assert layout({"a": {"b": "String"}}) != layout({"a": {"b": "String"}}, "[a]")


def test_a_type_of_the_database_must_not_have_the_name() -> None:
    person = Column("p", SCALARS["json"], document=object_shape("person", {"person": {"a": "String"}}, {}))
    enum = Column("e", enum_scalar("person", ["x"], lambda label: None))
    for columns in ((person, enum), (enum, person)):
        with pytest.raises(TycoError) as caught:
            Planner([RowType(f"t{n}", (column,)) for n, column in enumerate(columns)])
        assert caught.value.code == "type-name-taken"
        assert "'person' is a type of the configuration, and the type of a column" in caught.value.message


def test_a_name_that_is_no_type_of_the_file_is_no_shape() -> None:
    assert object_shape("String", TYPES, ENUMS) is None
    assert isinstance(object_shape(" person ", TYPES, ENUMS), ObjectShape)
