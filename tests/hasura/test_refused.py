"""What Hasura's documentation prints and is not served here: each is refused with words that say what is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hasura.world import documented
from tycostream.graphql.execute import InvalidRequest

PAGE = (Path(__file__).parents[2] / "docs" / "graphql.md").read_text().partition("## What differs")[2]
TREE = "CREATE EXTENSION ltree; CREATE TABLE tree (path ltree PRIMARY KEY); INSERT INTO tree VALUES ('Top'), ('Top.Science');"
# a type of the name that PostGIS, which no wheel brings, gives to its own
PLACES = "CREATE TYPE geometry AS (x float8, y float8); CREATE TABLE geom_table (id int PRIMARY KEY, geom_col geometry)"
OPERATORS = "docs/operators.md has the operators of each type, and why there are no others"

# What docs/graphql.md calls it, what is asked, and the messages.
LEFT_OUT = [
    (
        "mutations",
        'mutation { insert_articles(objects: [{title: "a"}]) { affected_rows } }',
        ["no mutations exist"],
    ),
    (
        "_jsonb_path_exists",
        'query { orders(where: { items: { _jsonb_path_exists: "$[*] ? (@.quantity > 5)" } }) { id items } }',
        ["field '_jsonb_path_exists' not found in type: 'jsonb_comparison_exp'"],
    ),
    (
        "_jsonb_path_match",
        'query { orders(where: { items: { _jsonb_path_match: "$.price < 50" } }) { id } }',
        ["field '_jsonb_path_match' not found in type: 'jsonb_comparison_exp'"],
    ),
    (
        "_cast",
        """query cities_near($point: geography!, $distance: Float!) {
          items(where: {tags: { _cast: {geography: { _st_d_within: {from: $point, distance: $distance} }} }}) { name }
        }""",
        ["Unknown type 'geography'.", "field 'geography' not found in type: 'jsonb_cast_exp'"],
    ),
    (
        "_st_",
        """query geom_table($point: geometry){
          geom_table(where: {geom_col: {_st_d_within: {distance: 3, from: $point}}}){ id geom_col }
        }""",
        ["field '_st_d_within' not found in type: 'geometry_comparison_exp'"],
    ),
    (
        "_ancestor",
        'query { tree (where: {path: {_ancestor: "Top.Science"}}) { path } }',
        ["field '_ancestor' not found in type: 'ltree_comparison_exp'"],
    ),
    (
        "_matches",
        'query { tree (where: { path: { _matches: "*.Science.*" } }) { path } }',
        ["field '_matches' not found in type: 'ltree_comparison_exp'"],
    ),
    (
        "corr",
        "query { restaurant(where: {reviews_aggregate: {corr: "
        "{arguments: {X: rating, Y: rating}, predicate: {_gt: 0.6}}}}) { name } }",
        ["field 'corr' not found in type: 'review_aggregate_bool_exp'"],
    ),
    (
        "computed fields",
        'query { author(where: {get_published_articles: {type: {_eq: "medicine"}}}){ id name } }',
        ["field 'get_published_articles' not found in type: 'author_bool_exp'"],
    ),
    (
        "computed fields",
        "query{ author(order_by: {get_articles_aggregate: {count: desc}}){ id get_articles{ id title content } } }",
        [
            "field 'get_articles_aggregate' not found in type: 'author_order_by'",
            "field 'get_articles' not found in type: 'author'",
        ],
    ),
    (
        "functions as root fields",
        'query { search_articles(args: {search: "hasura"}) { id title } }',
        ["field 'search_articles' not found in type: 'query_root'"],
    ),
    (
        "Relay",
        "query { articles_connection(first: 1) { edges { node { id } } } }",
        ["field 'articles_connection' not found in type: 'query_root'"],
    ),
    (
        "several root fields in a subscription",
        "subscription { authors(limit: 2) { id } articles(limit: 2) { id } }",
        ["subscriptions must select one top level field"],
    ),
]
# What is printed there and is no operation for Hasura either.
MISPRINTED = [
    (
        "query { authors(where: {id: { _eq: null }}) { id } }",  # the page says that it is an error
        ["unexpected null value for type 'Int'"],
    ),
    (
        'query { restaurant(where: { reviews_aggregate: { average: { arguments: "rating", predicate: { _gt: 5 } } } }) '
        "{ name } }",
        ["field 'average' not found in type: 'review_aggregate_bool_exp'"],
    ),
    (
        'query { restaurant(where: {reviews_aggregate: {count: {arguments: ["reviewer"], predicate: {_gt: 10}}}}) { name } }',
        ["Enum 'review_select_column' cannot represent non-enum value: \"reviewer\"."],
    ),
    (
        "query { orders_aggregate(order_by: { sum_total_price: desc }) { nodes { customer_id } } }",
        ["field 'sum_total_price' not found in type: 'orders_order_by'"],
    ),
    (
        "subscription { messages(where: { group_id: 1 }, order_by: { created_at: asc }) { id } }",
        ["Expected value of type 'Int_comparison_exp' to be an object, found: 1."],
    ),
    (
        'query { user { id permissions(where: {_has_keys_any: ["admin", "editor"]}) { id name } } }',
        [
            "Field 'permissions' must not have a selection since type 'jsonb' has no subfields.",
            "'permissions' has no argument named 'where'",
        ],
    ),
]


@pytest.mark.parametrize("name", sorted({name for name, _, _ in LEFT_OUT}))
def test_what_is_left_out_stands_in_the_docs(name: str) -> None:
    assert name in PAGE


async def test_what_is_left_out_is_refused_in_so_many_words(database: str) -> None:
    async with documented(database, TREE + PLACES, "  tree: {}\n  geom_table: {}\n") as world:
        for text, messages in [*((text, messages) for _, text, messages in LEFT_OUT), *MISPRINTED]:
            with pytest.raises(InvalidRequest) as refused:
                world.plan(text, {})
            errors = refused.value.errors
            assert [error.message for error in errors] == messages
            assert {error.code for error in errors} == {"validation-failed"}
            of_operators = [
                error
                for error in errors
                if "_comparison_exp'" in error.message and "found in" in error.message
            ]
            assert all(error.hint == OPERATORS for error in of_operators)
        # what it has no operators for it shows, and counts
        tree = "tree(where: {path: {_is_null: false}}) { path } tree_aggregate { aggregate { count } }"
        assert await world.answer(f"{{ {tree} }}", {}) == {
            "tree": [{"path": "Top"}, {"path": "Top.Science"}],
            "tree_aggregate": {"aggregate": {"count": 2}},
        }
