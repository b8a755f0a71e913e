"""Documents to plans: what they mean, what they refuse, and what the encoders write, with graphql-core as oracle."""

from __future__ import annotations

import contextlib
import json
from decimal import Decimal
from typing import Any

import pytest
from graphql import build_client_schema, execute, get_introspection_query, parse
from hypothesis import given, settings
from hypothesis import strategies as st

from tycostream.auth.session import Session
from tycostream.config.model import SourceConfig
from tycostream.dataflow.predicate import evaluate
from tycostream.graphql.execute import InvalidRequest, Planner
from tycostream.graphql.plan import Coalesce, Phase, Plan, RootPlan, Strategy
from tycostream.graphql.schema import build_schema, print_sdl
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS, enum_scalar

SIDE = enum_scalar("side", ["buy", "sell"], lambda label: None)
TRADES = RowType(
    "trades",
    (
        Column("id", SCALARS["int8"], nullable=False),
        Column("symbol", SCALARS["text"]),
        Column("price", SCALARS["numeric"]),
        Column("qty", SCALARS["int4"]),
        Column("side", SIDE),
        Column("executed_at", SCALARS["timestamptz"], field="executedAt", comment="exchange time"),
        Column("info", SCALARS["jsonb"]),
    ),
    key=(0,),
)
NOTES = RowType("notes", (Column("text", SCALARS["text"]),))
PLANNER = Planner([TRADES, NOTES])
ROW = (2**62, 'a"é\n', Decimal("1.50"), 7, 0, 0, '{"b": [1, 2.50]}')


def plan(query: str, variables: dict[str, object] | None = None, name: str | None = None) -> Plan:
    return PLANNER.plan(query, name, variables, Session())


def root(query: str, variables: dict[str, object] | None = None) -> Any:
    found = plan(query, variables).roots[0]
    assert isinstance(found, RootPlan)
    return found


def refusal(
    query: str, variables: dict[str, object] | None = None, name: str | None = None
) -> dict[str, Any]:
    with pytest.raises(InvalidRequest) as caught:
        plan(query, variables, name)
    entry = caught.value.errors[0].to_graphql()
    assert isinstance(entry["extensions"], dict)
    return {"message": entry["message"], **entry["extensions"]}


def test_the_schema_has_hasuras_names() -> None:
    sdl = print_sdl(build_schema([TRADES, NOTES]))
    for expected in (
        "type query_root {",
        "  trades(",
        "  trades_by_pk(id: bigint!): trades\n",
        "input trades_bool_exp {",
        "  _and: [trades_bool_exp!]",
        "input bigint_comparison_exp {",
        "  executedAt: timestamptz_comparison_exp",
        '  """exchange time"""\n  executedAt: timestamptz\n',
        "type trades_change_set {",
        "enum side {\n  buy\n  sell\n}",
        "scalar jsonb",
        "  id: bigint!\n",
        "directive @coalesce(",
    ):
        assert expected in sdl
    assert "notes_by_pk" not in sdl


def test_introspection_satisfies_a_client() -> None:
    payload = plan(get_introspection_query()).roots[0]
    schema = build_client_schema({"__schema": json.loads(payload.value)})  # type: ignore[union-attr]
    assert schema.subscription_type is not None
    assert "trades_changes" in schema.subscription_type.fields


def test_no_sources_is_a_schema_too() -> None:
    assert "no_queries_available: String!" in print_sdl(build_schema([]))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("{}", True),
        ("{_and: []}", True),
        ("{_or: []}", False),
        ("{id: {_in: []}}", False),
        ("{id: {_nin: []}}", True),
        ('{symbol: {_eq: "x"}, qty: {_eq: 7}}', False),
        ("{qty: {_gt: 6, _lt: 8}}", True),
        ("{qty: {_gte: 8}}", False),
        ("{_or: {qty: {_eq: 7}}}", True),
        ("{_not: {qty: {_neq: 7}}}", True),
        ("{price: {_eq: 1.5}}", True),
        ('{price: {_eq: "1.500"}}', True),
        ("{price: {_lt: 1.4999999999999999999999}}", False),
        ("{id: {_eq: 4611686018427387904}}", True),
        ('{id: {_eq: "4611686018427387904"}}', True),
        ("{side: {_lt: sell}}", True),
        ('{executedAt: {_eq: "1970-01-01T01:00:00+01:00"}}', True),
        ("{qty: {_is_null: false}}", True),
        ("{qty: {_in: 7}}", True),
    ],
)
def test_where(where: str, expected: bool) -> None:
    assert evaluate(root(f"{{trades(where: {where}) {{id}}}}").predicate, ROW) is expected


@pytest.mark.parametrize("where", ["{qty: {_neq: 1}}", "{qty: {_nin: [1]}}", "{_not: {qty: {_eq: 1}}}"])
def test_null_is_unknown(where: str) -> None:
    row = (1, None, None, None, None, None, None)
    assert evaluate(root(f"{{trades(where: {where}) {{id}}}}").predicate, row) is False


def test_variables_keep_every_digit() -> None:
    query = "query($w: trades_bool_exp, $p: numeric) {a: trades(where: $w) {id} trades(where: {price: {_eq: $p}}) {id}}"
    bound = plan(query, {"w": {"price": {"_eq": Decimal("0.1000000000000000000001")}}, "p": Decimal("1.50")})
    first, second = bound.roots
    assert isinstance(first, RootPlan)
    assert isinstance(second, RootPlan)
    assert first.predicate.value == Decimal("0.1000000000000000000001")  # type: ignore[union-attr]
    assert second.predicate.value == Decimal("1.5")  # type: ignore[union-attr]


def test_order_limit_offset() -> None:
    found = root("{trades(order_by: [{qty: desc, id: asc}, {qty: asc}], limit: 2, offset: 1) {id}}")
    assert [(t.column, t.descending, t.nulls_first) for t in found.order] == [
        (3, True, True),
        (0, False, False),
    ]
    assert (found.limit, found.offset) == (2, 1)
    assert root("{trades(limit: null, where: null, order_by: null) {id}}").limit is None


def test_equal_meaning_is_one_cohort_and_roles_are_not() -> None:
    one = plan('subscription A {trades_changes(where: {symbol: {_eq: "x"}, qty: {_gt: 1}}) {phase}}')
    two = plan(
        "subscription B($w: trades_bool_exp!) {trades_changes(where: $w, snapshot: false) {...f}} fragment f on trades_change_set {phase}",
        {"w": {"_and": [{"qty": {"_gt": 1}}, {"symbol": {"_eq": "x"}}]}},
    )
    seen = {"name": "trades", "permissions": {"user": {"columns": "*"}}}
    users = Planner([TRADES], sources={"trades": SourceConfig.model_validate(seen)}, role="user")
    other = users.plan("subscription {trades_changes {phase}}", None, None, Session(role="user"))
    assert one.key == two.key
    assert one.key != other.key
    assert plan("subscription {trades_changes {phase}}").key != other.key


def test_coalesce() -> None:
    assert plan("subscription @coalesce(ms: 50) {trades {id}}").coalesce == Coalesce(50)
    found = plan("subscription {trades_changes @coalesce(ms: 9, strategy: window) {phase}}").coalesce
    assert found == Coalesce(9, Strategy.WINDOW)


@pytest.mark.parametrize(
    ("query", "message", "path"),
    [
        ("{", "not a valid graphql query", "$.query"),
        ("", "not a valid graphql query", "$.query"),
        ("{nope}", "field 'nope' not found in type: 'query_root'", "$.selectionSet.nope"),
        ("{trades {nope}}", "field 'nope' not found in type: 'trades'", "$.selectionSet.trades.selectionSet.nope"),
        ("{trades(limit: -1) {id}}", "expected a non-negative 32-bit integer for type 'Int', but found -1", "$.selectionSet.trades.args.limit"),
        ("{trades(where: {qty: {_eq: null}}) {id}}", "unexpected null value for type 'Int'", "$.selectionSet.trades.args.where.qty._eq"),
        ("{trades(where: {id: {_eq: \"x\"}}) {id}}", "expected an integer", "$.selectionSet.trades.args.where.id._eq"),
        ("subscription {trades {id} notes {text}}", "subscriptions must select one top level field", "$"),
        ("mutation {x}", "mutation", "$"),
        ("query a {trades {id}} query b {trades {id}}", "exactly one operation", "$.operationName"),
        ("subscription @coalesce(ms: -1) {trades {id}}", "from 0 to 3600000", "$"),
        ("subscription {trades_changes {a: changes {operation} changes {changed}}}", "selected once", "$.selectionSet.trades_changes.selectionSet.changes"),
        ("query($x: Int!) {trades(limit: $x) {id}}", "$x", "$.variables"),
        ("{trades {" + "a: id " * 6000 + "}}", "15000 tokens|more than 5000 fields|not a valid", None),
        ("{" * 300, "not a valid graphql query", "$.query"),
    ],
)  # fmt: skip
def test_refusals(query: str, message: str, path: str | None) -> None:
    found = refusal(query)
    assert any(part in str(found["message"]) for part in message.split("|")), found
    assert found["code"] == "validation-failed"
    assert path is None or found["path"] == path


def test_fragments_cannot_explode() -> None:
    layers = "".join(f"fragment f{n} on trades {{...f{n + 1} ...f{n + 1}}}" for n in range(40))
    found = refusal("{trades {...f0}}" + layers + "fragment f40 on trades {id}")
    assert "more than 5000 fields" in str(found["message"])


def test_change_sets_are_written_as_selected() -> None:
    found = root(
        "subscription {trades_changes {__typename p: phase complete resync cursor changes "
        "{operation changed row {id price __typename} old {p: price}}}}"
    )
    new = (*ROW[:2], Decimal("1.500"), *ROW[3:])
    entry = found.encoder.change(ROW, new)
    text = found.encoder.result(Phase.LIVE, [entry], complete=True, resync=False, cursor="c").decode()
    assert text == (
        '{"__typename":"trades_change_set","p":"live","complete":true,"resync":false,"cursor":"c",'
        '"changes":[{"operation":"update","changed":["price"],'
        '"row":{"id":4611686018427387904,"price":1.500,"__typename":"trades"},"old":{"p":1.50}}]}'
    )
    assert json.loads(found.encoder.change(None, ROW))["old"] is None
    assert json.loads(found.encoder.change(ROW, None))["row"] is None
    assert found.encoder.differs(ROW, new)
    only_id = root("subscription {trades_changes {changes {row {id}}}}").encoder
    assert not only_id.differs(ROW, new)


def test_stringified_numbers() -> None:
    planner = Planner([TRADES], stringify_numbers=True)
    found: Any = planner.plan("{trades {id price qty}}", None, None, Session()).roots[0]
    assert found.encoder.row(ROW) == b'{"id":"4611686018427387904","price":"1.50","qty":7}'


FIELDS = ["id", "symbol", "qty", "side", "executedAt", "__typename", "n: qty", "id2: id"]


@st.composite
def selections(draw: st.DrawFn, depth: int = 2) -> str:
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.integers(0, 3)) if depth else 0
        flag = draw(st.sampled_from(["", "@include(if: $t)", "@skip(if: $f)"]))
        if kind < 2:
            parts.append(f"{draw(st.sampled_from(FIELDS))} {flag}")
        elif kind == 2:
            parts.append(f"... on trades {flag} {{{draw(selections(depth - 1))}}}")
        else:
            parts.append(f"...f {flag}")
    return " ".join(parts)


@settings(max_examples=60, deadline=None)
@given(selections(), selections(0), st.booleans(), st.booleans(), st.tuples(st.integers(0, 2**60), st.text()))
def test_encoders_agree_with_graphql_core(
    selection: str, fragment: str, t: bool, f: bool, cells: tuple[int, str]
) -> None:
    query = f"query($t: Boolean!, $f: Boolean!) {{trades {{id x: qty @include(if: $t) y: qty @skip(if: $f) {selection} ...f}}}} fragment f on trades {{{fragment}}}"
    variables: dict[str, object] = {"t": t, "f": f}
    row = (*cells, None, 3, 1, 1_000_000, None)
    found = root(query, variables)
    ours = json.loads(b'{"trades":' + found.encoder.result([found.encoder.row(row)]) + b"}")
    value = {
        column.field: None if cell is None else json.loads(column.scalar.json(cell))
        for column, cell in zip(TRADES.columns, row, strict=True)
    }
    result: Any = execute(PLANNER.schema, parse(query), {"trades": [value]}, variable_values=variables)
    assert result.errors is None
    assert ours == result.data
    assert json.dumps(ours) == json.dumps(result.data), "the order of fields is graphql-core's too"


@given(st.text(max_size=200))
def test_no_text_breaks_the_planner(text: str) -> None:
    with contextlib.suppress(InvalidRequest):  # and nothing else
        plan(text)
