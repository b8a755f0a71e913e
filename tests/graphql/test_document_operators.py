"""The operators of jsonb, of arrays and of padded text, from GraphQL to the predicate; and the schema that offers them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from graphql import print_type

from tycostream.auth.session import Session
from tycostream.dataflow.predicate import compile_predicate, evaluate
from tycostream.graphql.execute import InvalidRequest, Planner
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS, scalar_for

THINGS = RowType(
    "things",
    (
        Column("id", SCALARS["int4"], nullable=False),
        Column("info", SCALARS["jsonb"]),
        Column("raw", SCALARS["json"]),
        Column("tags", scalar_for("text[]")),
        Column("code", SCALARS["bpchar"]),
    ),
    key=(0,),
)
PLANNER = Planner([THINGS])
CELLS = (
    SCALARS["jsonb"].parse('{"a": 1.50, "b": [1, {"c": null}], "k": "x"}'),
    "{}",
    scalar_for("text[]").parse("{a,b,NULL}"),
    SCALARS["bpchar"].parse("ab  "),
)
ROW = (1, *CELLS)
NULLS = (1, None, None, None, None)


def predicate(where: str, variables: dict[str, object] | None = None) -> Any:
    declared = "($v: jsonb)" if variables else ""
    query = f"query{declared} {{things(where: {where}) {{id}}}}"
    return PLANNER.plan(query, None, variables, Session()).roots[0].predicate  # type: ignore[union-attr]


def holds(where: str, row: tuple[Any, ...] = ROW, variables: dict[str, object] | None = None) -> bool:
    found = predicate(where, variables)
    result = evaluate(found, row)
    assert bool(compile_predicate(found)(row)) is result
    return result


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ('{info: {_contains: {a: 1.5}}}', True),
        ('{info: {_contains: {b: [{c: null}]}}}', True),
        ('{info: {_contains: {a: "1.5"}}}', False),
        ('{info: {_contains: []}}', False),
        ('{info: {_contained_in: {a: 1.5, b: [1, 2, {c: null}], k: "x", l: 0}}}', True),
        ('{info: {_contained_in: {}}}', False),
        ('{info: {_has_key: "a"}}', True),
        ('{info: {_has_key: "x"}}', False),
        ('{info: {_has_keys_any: ["x", "k"]}}', True),
        ('{info: {_has_keys_any: []}}', False),
        ('{info: {_has_keys_all: ["a", "k"]}}', True),
        ('{info: {_has_keys_all: ["a", "x"]}}', False),
        ('{info: {_has_keys_all: []}}', True),
        ('{info: {_has_keys_all: "a"}}', True),
        ('{info: {_eq: {k: "x", b: [1.0, {c: null}], a: 1.5}}}', True),
        ('{info: {_neq: {k: "x", b: [1.0, {c: null}], a: 1.5}}}', False),
        ('{info: {_in: [1, {k: "x", b: [1.0, {c: null}], a: 1.5}]}}', True),
        ('{info: {_nin: [1, {k: "x", b: [1.0, {c: null}], a: 1.5}]}}', False),
        ('{info: {_gt: [1, 2, 3]}}', True),
        ('{info: {_lt: {a: 1, b: 2}}}', False),
        ('{info: {_cast: {String: {_like: "%\\"a\\": 1.50%"}}}}', True),
        ('{info: {_cast: {String: {_eq: "{}"}}}}', False),
        ('{info: {_cast: {String: {_regex: "null", _neq: "x", _is_null: false}}}}', True),
        ('{info: {_cast: {}}}', True),
        ('{tags: {_contains: ["b", "a", "a"]}}', True),
        ('{tags: {_contains: []}}', True),
        ('{tags: {_contains: ["c"]}}', False),
        ('{tags: {_contained_in: ["a", "b", "c"]}}', False),  # a NULL is in nothing
        ('{code: {_eq: "ab"}}', True),
        ('{code: {_like: "ab"}}', False),
        ('{code: {_like: "ab  "}}', True),
        ('{code: {_ilike: "AB%"}}', True),
        ('{code: {_regex: "^ab *$"}}', True),
        ('{code: {_nsimilar: "ab"}}', True),
        ('{raw: {_is_null: false}}', True),
    ],
)  # fmt: skip
def test_operators(where: str, expected: bool) -> None:
    assert holds(where) is expected
    if "_nin" not in where and where != "{info: {_cast: {}}}":
        assert holds(f"{{_not: {where}}}") is not expected


@pytest.mark.parametrize(
    "condition",
    ['_contains: {}', '_contained_in: {}', '_has_key: "a"', "_has_keys_any: []", "_has_keys_all: []", "_eq: 1", "_lt: 1",
     '_cast: {String: {_like: "%"}}', '_cast: {String: {_in: ["a"]}}', "_cast: {String: {_is_null: false}}"],
)  # fmt: skip
def test_null_is_unknown(condition: str) -> None:
    assert not holds(f"{{info: {{{condition}}}}}", NULLS)
    negated = f"{{_not: {{info: {{{condition}}}}}}}"
    assert holds(negated, NULLS) is ("_is_null" in condition)


def test_what_is_true_of_null_is_true_of_its_text() -> None:
    assert holds("{info: {_cast: {String: {_is_null: true}}}}", NULLS)
    assert holds("{info: {_cast: {String: {_nin: []}}}}", NULLS)
    assert not holds("{info: {_cast: {String: {_in: []}}}}", NULLS)


def test_numbers_inside_of_a_value_keep_every_digit() -> None:
    exact = "12345678901234567890.12345678901234567890"
    row = (1, SCALARS["jsonb"].parse(f'{{"n": [{exact}]}}'), None, None, None)
    assert holds(f"{{info: {{_eq: {{n: [{exact}]}}}}}}", row)
    assert not holds(f"{{info: {{_eq: {{n: [{exact}1]}}}}}}", row)
    assert holds("{info: {_eq: $v}}", row, {"v": {"n": [Decimal(exact)]}})
    assert holds("{info: {_contains: {n: [$v]}}}", row, {"v": Decimal(exact)})


@pytest.mark.parametrize(
    ("where", "message", "path"),
    [
        ("{_contains: null}", "unexpected null value for type 'jsonb'", "._contains"),
        ("{_has_key: null}", "unexpected null value for type 'String'", "._has_key"),
        ("{_has_keys_any: null}", "unexpected null value for type '[String!]'", "._has_keys_any"),
        ('{_has_keys_all: ["a", null]}', "unexpected null value for type 'String'", "._has_keys_all[1]"),
        ("{_cast: null}", "unexpected null value for type 'jsonb_cast_exp'", "._cast"),
        ("{_cast: {String: null}}", "unexpected null value for type 'String_comparison_exp'", "._cast.String"),
        ("{_cast: {String: {_eq: null}}}", "unexpected null value for type 'String'", "._cast.String._eq"),
        ('{_cast: {String: {_regex: "("}}}', "invalid regular expression: parentheses () not balanced", "._cast.String._regex"),
        ("{_eq: [1e131072]}", "a number of the JSON value is out of range for type 'numeric'", "._eq"),
        ('{_has_key: "\\u0000"}', "the string for type 'String' holds a null character, which PostgreSQL cannot store", "._has_key"),
        ("{_in: [1, null]}", "unexpected null value for type 'jsonb'", "._in[1]"),
    ],
)  # fmt: skip
def test_refusals(where: str, message: str, path: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        predicate(f"{{info: {where}}}")
    (error,) = [dict(error.to_graphql()) for error in caught.value.errors]
    assert error["message"] == message
    assert error["extensions"] == {
        "path": f"$.selectionSet.things.args.where.info{path}",
        "code": "validation-failed",
    }


def test_large_values_are_refused() -> None:
    counts = {10_000: 10_000, 1_000: 1_500}
    for operator, limit in (("_eq", 10_000), ("_contains", 1_000)):
        with pytest.raises(InvalidRequest, match=f"a JSON value of more than {limit} members"):
            predicate(f"{{info: {{{operator}: $v}}}}", {"v": [0] * counts[limit]})


def fields(name: str) -> dict[str, str]:
    found: Any = PLANNER.schema.type_map[name]
    return {name: str(field.type) for name, field in found.fields.items()}


def test_the_schema_offers_them_as_hasura_does() -> None:
    ordered = {f"_{name}": "jsonb" for name in ("eq", "gt", "gte", "lt", "lte", "neq")}
    assert fields("jsonb_comparison_exp") == ordered | {
        "_cast": "jsonb_cast_exp", "_contained_in": "jsonb", "_contains": "jsonb", "_has_key": "String",
        "_has_keys_all": "[String!]", "_has_keys_any": "[String!]", "_in": "[jsonb!]", "_is_null": "Boolean", "_nin": "[jsonb!]",
    }  # fmt: skip
    assert fields("jsonb_cast_exp") == {"String": "String_comparison_exp"}
    assert fields("json_comparison_exp") == {"_is_null": "Boolean"}
    array = fields("String_array_comparison_exp")
    assert array["_contains"] == array["_contained_in"] == array["_eq"] == "[String!]"
    assert fields("bpchar_comparison_exp")["_niregex"] == "bpchar"
    described = print_type(PLANNER.schema.type_map["jsonb_comparison_exp"])
    assert '"""does the string exist as a top-level key in the column"""' in described
    assert set(fields("things_order_by")) == {"id", "info", "tags", "code"}
