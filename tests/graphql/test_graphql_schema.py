"""The schema, whole: what tools that read it may rely on."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from graphql import build_client_schema, get_introspection_query, validate_schema
from graphql import build_schema as build_from_sdl

from tests.graphql.graphql_tables import PLANNER, POSITIONS, SIDE, TRADES
from tycostream.auth.session import Session
from tycostream.errors import TycoError
from tycostream.graphql.execute import Planner
from tycostream.graphql.schema import build_schema, print_sdl
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS, array_of, enum_scalar

ORDERS = RowType("orders", (Column("id", SCALARS["int8"], nullable=False), Column("side", SIDE)), key=(0,))
EXPECTED = """
schema {
  query: query_root
  subscription: subscription_root
}

directive @coalesce(ms: Int!, strategy: coalesce_strategy = throttle) on SUBSCRIPTION | FIELD

directive @cached(refresh: Boolean! = false, ttl: Int! = 60) on QUERY
directive @now on FIELD

directive @_multiple_top_level_fields on SUBSCRIPTION

input String_comparison_exp {
  _eq: String
  _gt: String
  _gte: String
  _ilike: String
  _in: [String!]
  _iregex: String
  _is_null: Boolean
  _like: String
  _lt: String
  _lte: String
  _neq: String
  _nilike: String
  _nin: [String!]
  _niregex: String
  _nlike: String
  _nregex: String
  _nsimilar: String
  _regex: String
  _similar: String
}

scalar bigint

input bigint_comparison_exp {
  _eq: bigint
  _gt: bigint
  _gte: bigint
  _in: [bigint!]
  _is_null: Boolean
  _lt: bigint
  _lte: bigint
  _neq: bigint
  _nin: [bigint!]
}

enum change_operation {
  delete
  insert
  update
}

enum change_phase {
  live
  ready
  reset
  snapshot
}

enum coalesce_strategy {
  debounce
  throttle
  window
}

enum cursor_ordering {
  ASC
  DESC
}

enum order_by {
  asc
  asc_nulls_first
  asc_nulls_last
  desc
  desc_nulls_first
  desc_nulls_last
}

type orders {
  id: bigint!
  side: side
}

type orders_aggregate {
  aggregate: orders_aggregate_fields
  nodes: [orders!]!
}

type orders_aggregate_fields {
  avg: orders_avg_fields
  count(columns: [orders_select_column!], distinct: Boolean): Int!
  max: orders_max_fields
  min: orders_min_fields
  stddev: orders_stddev_fields
  stddev_pop: orders_stddev_pop_fields
  stddev_samp: orders_stddev_samp_fields
  sum: orders_sum_fields
  var_pop: orders_var_pop_fields
  var_samp: orders_var_samp_fields
  variance: orders_variance_fields
}

type orders_avg_fields {
  id: Float
}

input orders_bool_exp {
  _and: [orders_bool_exp!]
  _not: orders_bool_exp
  _or: [orders_bool_exp!]
  id: bigint_comparison_exp
  side: side_comparison_exp
}

type orders_change {
  changed: [orders_select_column!]!
  old: orders_old
  operation: change_operation!
  row: orders
}

type orders_change_set {
  changes: [orders_change!]!
  complete: Boolean!
  cursor: String
  phase: change_phase!
  resync: Boolean!
}

type orders_max_fields {
  id: bigint
  side: side
}

type orders_min_fields {
  id: bigint
  side: side
}

type orders_old {
  id: bigint
  side: side
}

input orders_order_by {
  id: order_by
  side: order_by
}

enum orders_select_column {
  id
  side
}

type orders_stddev_fields {
  id: Float
}

type orders_stddev_pop_fields {
  id: Float
}

type orders_stddev_samp_fields {
  id: Float
}

input orders_stream_cursor_input {
  initial_value: orders_stream_cursor_value_input!
  ordering: cursor_ordering
}

input orders_stream_cursor_value_input {
  id: bigint
  side: side
}

type orders_sum_fields {
  id: bigint
}

type orders_var_pop_fields {
  id: Float
}

type orders_var_samp_fields {
  id: Float
}

type orders_variance_fields {
  id: Float
}

type positions {
  Isin: String!
  book: String!
}

type positions_aggregate {
  aggregate: positions_aggregate_fields
  nodes: [positions!]!
}

type positions_aggregate_fields {
  count(columns: [positions_select_column!], distinct: Boolean): Int!
  max: positions_max_fields
  min: positions_min_fields
}

input positions_bool_exp {
  Isin: String_comparison_exp
  _and: [positions_bool_exp!]
  _not: positions_bool_exp
  _or: [positions_bool_exp!]
  book: String_comparison_exp
}

type positions_change {
  changed: [positions_select_column!]!
  old: positions_old
  operation: change_operation!
  row: positions
}

type positions_change_set {
  changes: [positions_change!]!
  complete: Boolean!
  cursor: String
  phase: change_phase!
  resync: Boolean!
}

type positions_max_fields {
  Isin: String
  book: String
}

type positions_min_fields {
  Isin: String
  book: String
}

type positions_old {
  Isin: String
  book: String
}

input positions_order_by {
  Isin: order_by
  book: order_by
}

enum positions_select_column {
  Isin
  book
}

input positions_stream_cursor_input {
  initial_value: positions_stream_cursor_value_input!
  ordering: cursor_ordering
}

input positions_stream_cursor_value_input {
  Isin: String
  book: String
}

type query_root {
  orders(distinct_on: [orders_select_column!], limit: Int, offset: Int, order_by: [orders_order_by!], where: orders_bool_exp): [orders!]!
  orders_aggregate(distinct_on: [orders_select_column!], limit: Int, offset: Int, order_by: [orders_order_by!], where: orders_bool_exp): orders_aggregate!
  orders_by_pk(id: bigint!): orders
  positions(distinct_on: [positions_select_column!], limit: Int, offset: Int, order_by: [positions_order_by!], where: positions_bool_exp): [positions!]!
  positions_aggregate(distinct_on: [positions_select_column!], limit: Int, offset: Int, order_by: [positions_order_by!], where: positions_bool_exp): positions_aggregate!
  positions_by_pk(Isin: String!, book: String!): positions
}

enum side {
  buy
  sell
}

input side_comparison_exp {
  _eq: side
  _gt: side
  _gte: side
  _in: [side!]
  _is_null: Boolean
  _lt: side
  _lte: side
  _neq: side
  _nin: [side!]
}

type subscription_root {
  orders(distinct_on: [orders_select_column!], limit: Int, offset: Int, order_by: [orders_order_by!], where: orders_bool_exp): [orders!]!
  orders_aggregate(distinct_on: [orders_select_column!], limit: Int, offset: Int, order_by: [orders_order_by!], where: orders_bool_exp): orders_aggregate!
  orders_by_pk(id: bigint!): orders
  orders_changes(after: String, snapshot: Boolean = true, where: orders_bool_exp): orders_change_set!
  orders_stream(batch_size: Int!, cursor: [orders_stream_cursor_input]!, where: orders_bool_exp): [orders!]!
  positions(distinct_on: [positions_select_column!], limit: Int, offset: Int, order_by: [positions_order_by!], where: positions_bool_exp): [positions!]!
  positions_aggregate(distinct_on: [positions_select_column!], limit: Int, offset: Int, order_by: [positions_order_by!], where: positions_bool_exp): positions_aggregate!
  positions_by_pk(Isin: String!, book: String!): positions
  positions_changes(after: String, snapshot: Boolean = true, where: positions_bool_exp): positions_change_set!
  positions_stream(batch_size: Int!, cursor: [positions_stream_cursor_input]!, where: positions_bool_exp): [positions!]!
}
"""


def tokens(sdl: str) -> list[str]:
    """Without descriptions, and without the line breaks that print_schema makes for them."""
    return re.findall(r"\w+|[^\s,\w]", re.sub(r'""".*?"""', "", sdl, flags=re.DOTALL))


def test_the_whole_sdl() -> None:
    assert tokens(print_sdl(build_schema([ORDERS, POSITIONS]))) == tokens(EXPECTED)


def test_the_sdl_is_a_schema_again() -> None:
    documents = RowType(
        "documents", (Column("labels", array_of(SCALARS["text"])), Column("at", SCALARS["jsonb"]))
    )
    schema = Planner([TRADES, POSITIONS, ORDERS, documents]).schema
    sdl = print_sdl(schema)
    again = build_from_sdl(sdl)
    assert not validate_schema(again)
    assert print_sdl(again) == sdl
    assert set(again.type_map) == set(schema.type_map)


def test_hasuras_descriptions() -> None:
    schema = build_schema([TRADES, POSITIONS])
    query: Any = schema.query_type
    trades = query.fields["trades"]
    assert trades.description == 'fetch data from the table: "trades"'
    assert (
        query.fields["trades_by_pk"].description
        == 'fetch data from the table: "trades" using primary key columns'
    )
    assert {name: argument.description for name, argument in trades.args.items()} == {
        "distinct_on": "distinct select on columns",
        "limit": "limit the number of rows returned",
        "offset": "skip the first n rows. Use only with order_by",
        "order_by": "sort the rows by one or more columns",
        "where": "filter the rows returned",
    }
    described = {
        "trades": 'columns and relationships of "trades"',
        "trades_bool_exp": "Boolean expression to filter rows from the table \"trades\". All fields are combined with a logical 'AND'.",
        "Int_comparison_exp": "Boolean expression to compare columns of type \"Int\". All fields are combined with logical 'AND'.",
        "trades_order_by": 'Ordering options when selecting data from "trades".',
        "trades_select_column": 'select columns of table "trades"',
        "order_by": "column ordering options",
        "trades_aggregate": 'aggregated selection of "trades"',
        "trades_aggregate_fields": 'aggregate fields of "trades"',
        "trades_avg_fields": "aggregate avg on columns",
    }
    assert {name: schema.type_map[name].description for name in described} == described
    positions: Any = schema.type_map["positions"]
    assert positions.fields["Isin"].description == "who"


def test_types_come_in_the_order_of_their_names() -> None:
    plan = PLANNER.plan(get_introspection_query(), None, None, Session())
    introspection: Any = json.loads(plan.payload([root.value for root in plan.roots]))["data"]  # type: ignore[union-attr]
    names = [entry["name"] for entry in introspection["__schema"]["types"]]
    assert names == sorted(names)
    client = build_client_schema(introspection)
    assert set(client.type_map) == set(PLANNER.schema.type_map)


def test_a_multiset_has_no_key_and_a_plain_type_no_operators_but_one() -> None:
    notes = RowType("notes", (Column("info", SCALARS["point"]),))
    schema = Planner([notes]).schema
    query: Any = schema.query_type
    assert list(query.fields) == ["notes", "notes_aggregate"]
    fields: Any = schema.type_map["notes_aggregate_fields"]
    assert list(fields.fields) == ["count"]
    assert set(query.fields["notes"].args) == {"limit", "offset", "where"}  # nothing to order by
    bool_exp: Any = schema.type_map["notes_bool_exp"]
    assert list(bool_exp.fields) == ["_and", "_not", "_or", "info"]
    assert list(bool_exp.fields["info"].type.fields) == ["_is_null"]


def test_an_enum_whose_labels_are_no_names_is_a_scalar() -> None:
    state = enum_scalar("state", ["in progress", "true"], lambda label: None)
    planner = Planner([RowType("jobs", (Column("state", state),))])
    assert "scalar state" in print_sdl(planner.schema)
    found: Any = planner.plan('{jobs(where: {state: {_eq: "true"}}) {state}}', None, None, Session()).roots[0]
    assert found.predicate.value == 1
    assert found.encoder.row((0,)) == b'{"state":"in progress"}'


def test_names_that_two_things_want() -> None:
    other = enum_scalar("side", ["left", "right"], lambda label: None)
    with pytest.raises(TycoError, match="two enums called 'side'"):
        build_schema([ORDERS, RowType("shoes", (Column("side", other),))])
    with pytest.raises(TycoError, match="the type 'side' of a column is also a type of source 'side'"):
        build_schema([RowType("side", (Column("side", SIDE),))])
