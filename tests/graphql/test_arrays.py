"""Arrays are lists: their types, their conditions, their order, their JSON."""

from __future__ import annotations

import pytest
from graphql import print_type

from tests.graphql.graphql_tables import root
from tycostream.auth.session import Session
from tycostream.dataflow.predicate import compile_predicate, evaluate
from tycostream.graphql.execute import InvalidRequest, Planner
from tycostream.rows import Column, RowType
from tycostream.scalars import array_of, enum_scalar, scalar_for

TAGS, SIZES, MOODS, PLACES = (
    scalar_for("text[]"),
    scalar_for("bigint[]"),
    array_of(enum_scalar("mood", ["sad", "glad"], lambda label: None)),
    scalar_for("point[]"),
)
ROWS = RowType(
    "things",
    (
        Column("id", scalar_for("int4"), nullable=False),
        Column("tags", TAGS, nullable=False),
        Column("sizes", SIZES),
        Column("moods", MOODS),
        Column("places", PLACES),
    ),
    key=(0,),
)
PLANNER = Planner([ROWS])
ROW = (
    1,
    TAGS.parse('{a,"b c",NULL}'),
    SIZES.parse("{{1,2},{3,9007199254740993}}"),
    MOODS.parse("{glad,odd}"),
    None,
)


def test_types() -> None:
    types = PLANNER.schema.type_map
    assert print_type(types["things"]).splitlines()[4:-1] == [
        "  id: Int!", "  moods: [mood!]", "  places: [point!]", "  sizes: [bigint!]", "  tags: [String!]!",
    ]  # fmt: skip
    printed = print_type(types["String_array_comparison_exp"]).splitlines()
    assert [line for line in printed if '  """' not in line and line] == [
        '"""', 'Boolean expression to compare columns of type "String". All fields are combined with logical \'AND\'.', '"""',
        "input String_array_comparison_exp {",
        "  _contained_in: [String!]", "  _contains: [String!]", "  _eq: [String!]", "  _gt: [String!]",
        "  _gte: [String!]", "  _in: [[String!]!]", "  _is_null: Boolean", "  _lt: [String!]", "  _lte: [String!]",
        "  _neq: [String!]", "  _nin: [[String!]!]", "}",
    ]  # fmt: skip
    assert print_type(types["point_array_comparison_exp"]).splitlines()[4:] == ["  _is_null: Boolean", "}"]
    assert "enum mood {" in print_type(types["mood"])


@pytest.mark.parametrize(("stringify", "big"), [(False, "9007199254740993"), (True, '"9007199254740993"')])
def test_json(stringify: bool, big: str) -> None:
    planner = Planner([ROWS], stringify_numbers=stringify)
    encoder = root("{things {tags sizes moods places}}", planner=planner).encoder
    sizes = f"[[1,2],[3,{big}]]" if not stringify else f'[["1","2"],["3",{big}]]'
    expected = f'{{"tags":["a","b c",null],"sizes":{sizes},"moods":["glad",null],"places":null}}'
    assert encoder.row(ROW).decode() == expected


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ('tags: {_contains: "a"}', True),
        ('tags: {_contains: ["b c", "a", "a"]}', True),
        ('tags: {_contains: ["a", "x"]}', False),
        ("tags: {_contains: []}", True),
        ('tags: {_contained_in: ["a", "b c", "d"]}', False),  # the row's NULL is in nothing
        ('_not: {tags: {_contained_in: ["a", "b c"]}}', True),
        ("sizes: {_contained_in: [1, 2, 3, 9007199254740993]}", True),
        ('tags: {_gt: ["a", "b"]}', True),
        ('tags: {_eq: ["a", "b c"]}', False),
        ("moods: {_in: [[sad], [glad]]}", False),
        ("moods: {_contains: [glad]}", True),
        ("places: {_is_null: true}", True),
        ("_not: {places: {_is_null: true}}", False),
    ],
)
def test_conditions(where: str, expected: bool) -> None:
    predicate = root(f"{{things(where: {{{where}}}) {{id}}}}", planner=PLANNER).predicate
    assert evaluate(predicate, ROW) is compile_predicate(predicate)(ROW) is expected


def test_a_condition_on_null_is_unknown() -> None:
    row = (1, TAGS.parse("{}"), None, None, None)
    for where in ("sizes: {_contains: []}", "_not: {sizes: {_contains: []}}", "sizes: {_neq: [1]}"):
        predicate = root(f"{{things(where: {{{where}}}) {{id}}}}", planner=PLANNER).predicate
        assert evaluate(predicate, row) is compile_predicate(predicate)(row) is False


def test_variables_take_lists_of_any_depth_where_they_are_postgresqls_text() -> None:
    query = "query($w: things_bool_exp!) {things(where: $w) {id}}"
    predicate = root(query, {"w": {"sizes": {"_eq": ["1", "2"]}}}, PLANNER).predicate
    assert predicate.value == SIZES.parse("{1,2}")
    assert SIZES.literal("{{1},{2}}") == SIZES.literal([[1], [2]])


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("sizes: {_eq: [1, 9223372036854775808]}",
         "invalid value for type '[bigint!]': value 9223372036854775808 is out of range for type 'bigint'"),
        ("sizes: {_eq: null}", "unexpected null value for type '[bigint!]'"),
        ("sizes: {_in: [[1], null]}", "unexpected null value for type '[bigint!]'"),
    ],
)  # fmt: skip
def test_refusals(where: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        PLANNER.plan(f"{{things(where: {{{where}}}) {{id}}}}", None, {}, Session())
    assert message in str(caught.value)


def test_a_key_without_equality_cannot_be_asked_for() -> None:
    lookups = []
    for name in ("text", "citext", "inet", "money", "int4[]"):
        row_type = RowType("t", (Column("id", scalar_for(name), nullable=False),), key=(0,))
        if "t_by_pk" in Planner([row_type]).schema.query_type.fields:  # type: ignore[union-attr]
            lookups.append(name)
    assert lookups == ["text", "inet", "int4[]"]
