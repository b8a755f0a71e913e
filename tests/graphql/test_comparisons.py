"""Each operator's value: what it becomes, what is refused, and where."""

from __future__ import annotations

import time

import pytest

from tests.graphql.graphql_tables import refusals, root
from tycostream.dataflow.like import Like
from tycostream.dataflow.predicate import (
    Compare,
    Matches,
    columns_of,
    compile_predicate,
    conjunction,
    equality,
    evaluate,
    negate,
)
from tycostream.dataflow.regex import Regex, similar

SYMBOL = "$.selectionSet.trades.args.where.symbol"


@pytest.mark.parametrize(
    ("operator", "pattern", "matcher"),
    [
        ("like", "a%", Like("a%")),
        ("ilike", "a%", Like("a%", True)),
        ("similar", "(a|b)%", similar("(a|b)%")),
        ("regex", "^a", Regex("^a")),
        ("iregex", "^a", Regex("^a", True)),
    ],
)
def test_patterns(operator: str, pattern: str, matcher: Like | Regex) -> None:
    for name, negated in ((f"_{operator}", False), (f"_n{operator}", True)):
        query = f'{{trades(where: {{symbol: {{{name}: "{pattern}"}}}}) {{id}}}}'
        predicate = root(query).predicate
        assert predicate == Matches(1, matcher, negated)
        assert negate(predicate) == Matches(1, matcher, not negated)
        assert columns_of(predicate) == {1}
        for text, expected in (("ab", not negated), ("xx", negated), (None, False)):
            row = (1, text)
            assert evaluate(predicate, row) is expected
            assert compile_predicate(predicate)(row) is expected


def test_a_pattern_leaves_an_equality_to_its_index() -> None:
    predicate = root('{trades(where: {id: {_eq: 1}, symbol: {_like: "a%"}}) {id}}').predicate
    pattern = Matches(1, Like("a%"))
    assert predicate == conjunction([Compare(0, "eq", 1), pattern])
    assert equality(predicate) == (0, frozenset({1}), pattern)


@pytest.mark.parametrize(
    ("where", "message", "path"),
    [
        ('{_like: "a\\\\"}', "LIKE pattern must not end with escape character", "._like"),
        ('{_nilike: "a\\\\"}', "LIKE pattern must not end with escape character", "._nilike"),
        ('{_regex: "("}', "invalid regular expression: parentheses () not balanced", "._regex"),
        ('{_nregex: "(?=a)"}', "looking ahead or behind in a regular expression is not supported", "._nregex"),
        ('{_similar: "a**"}', "invalid regular expression: a quantifier after a quantifier", "._similar"),
        ("{_like: null}", "unexpected null value for type 'String'", "._like"),
        ("{_iregex: null}", "unexpected null value for type 'String'", "._iregex"),
        ('{_like: "\\u0000"}', "the string for type 'String' holds a null character, which PostgreSQL cannot store", "._like"),
        ('{_in: ["a", null]}', "unexpected null value for type 'String'", "._in[1]"),
        ("{_nin: [null]}", "unexpected null value for type 'String'", "._nin[0]"),
        ("{_eq: null}", "unexpected null value for type 'String'", "._eq"),
    ],
)  # fmt: skip
def test_refusals(where: str, message: str, path: str) -> None:
    (error,) = refusals(f"{{trades(where: {{symbol: {where}}}) {{id}}}}")
    assert error["message"] == message
    assert error["extensions"] == {"path": SYMBOL + path, "code": "validation-failed"}


@pytest.mark.parametrize(
    ("operator", "pattern"),
    [
        ("_like", "a" * 2**20),
        ("_nilike", "%_" * 2**19),
        ("_regex", "(" * 2**20),
        ("_similar", "%" * 2**20),
        ("_iregex", "((.{200}){200}){200}"),
        ("_iregex", "[\u0001-\U0010ffff]"),
    ],
)
def test_a_hostile_pattern_is_refused_at_once(operator: str, pattern: str) -> None:
    query = f"query($p: String!) {{trades(where: {{symbol: {{{operator}: $p}}}}) {{id}}}}"
    before = time.process_time()
    (error,) = refusals(query, {"p": pattern})
    assert error["extensions"] == {"path": f"{SYMBOL}.{operator}", "code": "validation-failed"}
    assert time.process_time() - before < 2


def test_an_item_alone_is_a_list() -> None:
    one = root('{trades(where: {symbol: {_in: "a"}}) {id}}').predicate
    assert one == root('{trades(where: {symbol: {_in: ["a"]}}) {id}}').predicate


def test_nothing_is_in_no_list() -> None:
    for operator, expected in (("_in", False), ("_nin", True)):
        predicate = root(f"{{trades(where: {{symbol: {{{operator}: []}}}}) {{id}}}}").predicate
        for cell in ("a", None):
            assert evaluate(predicate, (1, cell)) is expected
