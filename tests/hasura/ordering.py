"""Examples of the pages that order, take the distinct ones, and take some of many."""

from __future__ import annotations

from typing import Final

from tests.hasura.example import Example, nested, one, row, rows

_COUNTED: Final = "json_build_object('aggregate', json_build_object('count', (SELECT count(*) FROM articles WHERE author_id = o.id)))"
_BEST: Final = "(SELECT max(rating) FROM articles WHERE author_id = o.id)"

ORDERING: Final = [
    Example(
        "queries/postgres/sorting",
        "query { authors (order_by: {name: asc}) { id name } }",
        {"authors": rows('SELECT id, name FROM authors ORDER BY name COLLATE "C"')},
    ),
    Example(
        "queries/postgres/sorting",
        """query {
          authors (order_by: {name: asc}) { id name articles(order_by: {rating: desc}) { id title rating } }
        }""",
        {
            "authors": rows(
                "SELECT id, name, "
                + nested("SELECT id, title, rating FROM articles WHERE author_id = o.id", "rating DESC, id")
                + ' AS articles FROM authors o ORDER BY name COLLATE "C"'
            )
        },
    ),
    Example(
        "queries/postgres/sorting",
        "query { articles (order_by: {author: {id: desc}}) { id rating published_on author { id name } } }",
        {
            "articles": rows(
                "SELECT id, rating, published_on, "
                + one("SELECT id, name FROM authors WHERE id = author_id")
                + " AS author FROM articles a ORDER BY author_id DESC, id"
            )
        },
    ),
    Example(
        "queries/postgres/sorting",
        "query { authors (order_by: { articles_aggregate: {count: desc} }) { id name articles_aggregate { aggregate{ count } } } }",
        {
            "authors": rows(
                f"SELECT id, name, {_COUNTED} AS articles_aggregate FROM authors o "
                "ORDER BY (SELECT count(*) FROM articles WHERE author_id = o.id) DESC, id"
            )
        },
    ),
    Example(
        "queries/postgres/sorting",
        """query {
          authors(order_by: { articles_aggregate: { max: {rating: asc_nulls_last} } }) {
            id name articles_aggregate { aggregate{ max {rating} } }
          }
        }""",
        {
            "authors": rows(
                "SELECT id, name, json_build_object('aggregate', json_build_object('max', json_build_object('rating', "
                f"{_BEST}))) AS articles_aggregate FROM authors o ORDER BY {_BEST} NULLS LAST, id"
            )
        },
    ),
    Example(
        "queries/postgres/sorting",
        "query { student(order_by: {total_marks: desc}){ id name total_marks physics chemistry maths } }",
        {
            "student": rows(
                "SELECT id, name, physics + chemistry + maths AS total_marks, physics, chemistry, maths FROM student "
                "ORDER BY 3 DESC, roll_no"
            )
        },
    ),
    Example(
        "queries/postgres/sorting",
        "query { articles (order_by: [ {rating: desc}, {published_on: asc_nulls_first} ]) { id rating published_on } }",
        {
            "articles": rows(
                "SELECT id, rating, published_on FROM articles ORDER BY rating DESC, published_on NULLS FIRST, id"
            )
        },
    ),
    Example(
        "queries/postgres/distinct-queries",
        """query {
          employees (distinct_on: [department] order_by: [ {department: asc}, {salary: desc} ]) {
            id name department salary
          }
        }""",
        {
            "employees": rows(
                "SELECT DISTINCT ON (department) id, name, department, salary FROM employees "
                "ORDER BY department, salary DESC, id"
            )
        },
    ),
    Example(
        "queries/postgres/pagination",
        "query { authors(limit: 5) { id name } }",
        {"authors": rows("SELECT id, name FROM authors ORDER BY id LIMIT 5")},
    ),
    Example(
        "queries/postgres/pagination",
        "query { authors(limit: 5, offset:5) { id name } }",
        {"authors": rows("SELECT id, name FROM authors ORDER BY id LIMIT 5 OFFSET 5")},
    ),
    Example(
        "queries/postgres/pagination",
        "query { authors { id name articles (limit: 2 offset: 0) { id title } } }",
        {
            "authors": rows(
                "SELECT id, name, "
                + nested(
                    "SELECT id, title FROM (SELECT * FROM articles WHERE author_id = o.id ORDER BY id LIMIT 2) a"
                )
                + " AS articles FROM authors o"
            )
        },
    ),
    Example(
        "queries/postgres/pagination",
        "query { authors(limit: 5, where: { id: {_gt: 5} }) { id name } }",
        {"authors": rows("SELECT id, name FROM authors WHERE id > 5 ORDER BY id LIMIT 5")},
    ),
    Example(
        "queries/postgres/pagination",
        """query articles ($where: articles_bool_exp!) {
          articles_aggregate(where: $where) { aggregate { totalCount: count } }
          articles (where: $where limit: 4) { id title }
        }""",
        {
            "articles_aggregate": row(
                "SELECT json_build_object('totalCount', count(*)) AS aggregate FROM articles WHERE rating >= 3"
            ),
            "articles": rows("SELECT id, title FROM articles WHERE rating >= 3 ORDER BY id LIMIT 4"),
        },
        {"where": {"rating": {"_gte": 3}}},
    ),
    Example(
        "api-reference/graphql-api/query",
        "query { article(distinct_on: title) { title content } }",
        {
            "article": rows(
                'SELECT DISTINCT ON (title COLLATE "C") title, content FROM articles ORDER BY title COLLATE "C", id'
            )
        },
    ),
    Example(
        "api-reference/graphql-api/query",
        "query ArticlesOrderedByRating { article(order_by: { rating: desc }) { name rating } }",
        {"article": rows("SELECT name, rating FROM articles ORDER BY rating DESC, id")},
    ),
    Example(
        "api-reference/graphql-api/query",
        "query ArticlesOrderedByRatingAndAuthorId { article(order_by: [{ id: desc }, { author: { id: asc } }]) { title rating } }",
        {"article": rows("SELECT title, rating FROM articles ORDER BY id DESC")},
    ),
    Example(
        "api-reference/graphql-api/query",
        "query { article(order_by: { rating: asc }) { title content } }",
        {"article": rows("SELECT title, content FROM articles ORDER BY rating, id")},
    ),
    Example(
        "api-reference/graphql-api/query",
        "query { article(order_by: { author: { rating: desc } }) { title content } }",
        {
            "article": rows(
                "SELECT title, content FROM articles a ORDER BY "
                "(SELECT rating FROM authors WHERE id = author_id) DESC, id"
            )
        },
    ),
    Example(
        "api-reference/graphql-api/query",
        "query { author(order_by: { articles_aggregate: { max: { rating: asc } } }) { name } }",
        {"author": rows(f"SELECT name FROM authors o ORDER BY {_BEST}, id")},
    ),
    Example(
        "api-reference/graphql-api/query",
        "query AuthorOrderBySumOfArticles { author(order_by: { articles_aggregate: { sum: { id: desc } } }) { id } }",
        {
            "author": rows(
                "SELECT id FROM authors o ORDER BY (SELECT sum(id) FROM articles WHERE author_id = o.id) DESC, id"
            )
        },
    ),
    Example(
        "api-reference/graphql-api/query",
        """query AggregateOrderBy {
          orders_aggregate(order_by: { total_price: desc }) { aggregate { sum { total_price } } nodes { customer_id } }
        }""",
        {
            "orders_aggregate": row(
                "SELECT json_build_object('sum', json_build_object('total_price', sum(total_price))) AS aggregate, "
                "json_agg(json_build_object('customer_id', customer_id) ORDER BY total_price DESC, id) AS nodes FROM orders"
            )
        },
        note="a list is ordered by columns; there is no sum_total_price",
    ),
    Example(
        "api-reference/graphql-api/query",
        "query ArticlesPagination { article(limit: 6, offset: 2) { title content } }",
        {
            "article": "SELECT json_agg(json_build_object('title', title, 'content', content) ORDER BY id) "
            "FROM (SELECT * FROM articles ORDER BY id LIMIT 6 OFFSET 2) a"
        },
    ),
]
