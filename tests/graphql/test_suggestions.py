"""What was meant by a name that is not there: a hint, at a cost that does not grow with the schema."""

from __future__ import annotations

from typing import Any

import pytest

from tests.graphql.graphql_tables import PLANNER
from tycostream.auth.session import Session
from tycostream.graphql.execute import InvalidRequest
from tycostream.graphql.suggestions import suggestion


@pytest.mark.parametrize(
    ("document", "message", "hint"),
    [
        ("{ trade { id } }", "field 'trade' not found in type: 'query_root'", "Did you mean 'trades'?"),
        ("{ trades { idd } }", "field 'idd' not found in type: 'trades'", "Did you mean 'id'?"),
        ("{ trades(limits: 1) { id } }", "'trades' has no argument named 'limits'", "Did you mean 'limit'?"),
        (
            "{ trades(where: {id: {_equ: 1}}) { id } }",
            "field '_equ' not found in type: 'bigint_comparison_exp'",
            "Did you mean '_eq'?",
        ),
        (
            "{ trades(where: {id: {_like: 1}}) { id } }",
            "field '_like' not found in type: 'bigint_comparison_exp'",
            "docs/operators.md has the operators of each type, and why there are no others",
        ),
        ("{ ... on trade { id } }", "Unknown type 'trade'.", "Did you mean 'trades'?"),
        (
            "query ($w: trades_bool_ex) { trades(where: $w) { id } }",
            "Unknown type 'trades_bool_ex'.",
            "Did you mean 'trades_bool_exp'?",
        ),
        (
            "{ trades(order_by: {id: dsc}) { id } }",
            "Value 'dsc' does not exist in 'order_by' enum.",
            "Did you mean 'desc'?",
        ),
        (
            '{ trades(order_by: {id: "desc"}) { id } }',
            "Enum 'order_by' cannot represent non-enum value: \"desc\".",
            "Did you mean 'desc'?",
        ),
        ("{ nothing { id } }", "field 'nothing' not found in type: 'query_root'", ""),
    ],
)
def test_hints(document: str, message: str, hint: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        PLANNER.plan(document, None, None, Session())
    assert (caught.value.errors[0].message, caught.value.errors[0].hint) == (message, hint)


def test_only_the_first_has_one() -> None:
    with pytest.raises(InvalidRequest) as caught:
        PLANNER.plan("{ trades { idd pricee } }", None, None, Session())
    assert [bool(error.hint) for error in caught.value.errors] == [True, False]


class Counted(list[str]):
    """How many of it are looked at."""

    seen = 0

    def __iter__(self) -> Any:
        for each in super().__iter__():
            self.seen += 1
            yield each


def test_neither_long_names_nor_many_cost_much() -> None:
    assert suggestion("x" * 65, ["x" * 65]) == ""
    names = Counted(f"trades_{n}" for n in range(100_000))
    assert suggestion("trades_7x", names).startswith("Did you mean 'trades_7'")
    assert names.seen < 1000  # two hundred of those that are alike are compared, and no more
    unlike = Counted(f"prices_{n}" for n in range(100_000))
    assert suggestion("trades_7x", unlike) == ""
    assert unlike.seen == 20_000
    assert suggestion("prce", ["price", "qty", "pace"]) == "Did you mean 'price' or 'pace'?"
    assert suggestion("ab", []) == ""
