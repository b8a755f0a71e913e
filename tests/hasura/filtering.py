"""Examples of the pages that filter: comparisons, texts, documents, booleans, and rows related to the row."""

from __future__ import annotations

from typing import Final

from tests.hasura.example import Example, nested, one, rows

_COMPARISON: Final = "queries/postgres/filters/comparison-operators"
_TEXT: Final = "queries/postgres/filters/text-search-operators"
_JSONB: Final = "queries/postgres/filters/jsonb-operators"
_BOOLEAN: Final = "queries/postgres/filters/boolean-operators"
_NESTED: Final = "queries/postgres/filters/using-nested-objects"
_REFERENCE: Final = "api-reference/graphql-api/query"
_OF_AUTHOR: Final = nested("SELECT title, is_published FROM articles WHERE author_id = o.id")
_WRITTEN: Final = "SELECT FROM articles WHERE author_id = o.id"
_COUNTED: Final = "json_build_object('aggregate', json_build_object('count', (SELECT count(*) FROM articles WHERE author_id = o.id)))"
_REVIEWERS: Final = "SELECT count(DISTINCT reviewer) FROM review WHERE restaurant_id = r.id"


def _plain(
    page: str, table: str, columns: str, where: str, sql: str, *, note: str = "", nothing: bool = False
) -> Example:
    """An example that lists columns of the rows that a condition lets through, by key."""
    empty = frozenset([table] if nothing else [])
    return Example(
        page,
        f"query {{ {table}(where: {where}) {{ {columns} }} }}",
        {table: f"SELECT coalesce(json_agg((SELECT to_json(q) FROM (SELECT {', '.join(columns.split())}) q) "
                f"ORDER BY id), '[]') FROM {_TABLE.get(table, table)} o WHERE {sql}"},
        empty=empty,
        note=note,
    )  # fmt: skip


_TABLE: Final = {"article": "articles", "author": "authors", "user": '"user"', "named_author": "authors"}

FILTERING: Final = [
    _plain("queries/postgres/filters/index", "authors", "id name", '{ name: { _eq: "Sidney" } }', "name = 'Sidney'"),
    Example(
        "queries/postgres/filters/index",
        """query {
          authors(where: { articles: { rating: { _gt: 4 } } }) {
            id name articles(where: { rating: { _gt: 4 } }) { id title rating }
          }
        }""",
        {
            "authors": rows(
                "SELECT id, name, "
                + nested("SELECT id, title, rating FROM articles WHERE author_id = o.id AND rating > 4")
                + f" AS articles FROM authors o WHERE EXISTS ({_WRITTEN} AND rating > 4)"
            )
        },
    ),
    Example(
        "queries/postgres/filters/index",
        "{ authors { id name articles(where: {rating: {_eq: 5}}) { title rating } } }",
        {
            "authors": rows(
                "SELECT id, name, "
                + nested("SELECT title, rating FROM articles WHERE author_id = o.id AND rating = 5")
                + " AS articles FROM authors o"
            )
        },
    ),
    Example(
        "queries/postgres/filters/index",
        """query get_authors_in_bengaluru {
          authors(where: { address: {_cast: {String: {_ilike: "%bengaluru%"}}} }) { id name address }
        }""",
        {"authors": rows("SELECT id, name, address FROM authors WHERE address::text ILIKE '%bengaluru%'")},
    ),
    _plain("queries/postgres/filters/index", "authors", "id", "{}", "true"),
    # comparisons
    _plain(_COMPARISON, "authors", "id name", "{id: {_eq: 3}}", "id = 3"),
    _plain(_COMPARISON, "articles", "id title is_published", "{is_published: {_eq: false}}", "NOT is_published"),
    _plain(_COMPARISON, "articles", "id title published_on", '{published_on: {_eq: "2017-05-26"}}',
           "published_on = '2017-05-26'"),
    _plain(_COMPARISON, "users", "id name age", "{ age: { _neq: 30 } }", "age <> 30"),
    _plain(_COMPARISON, "articles", "id title is_published",
           "{ _or: [ {is_published: {_eq: false}}, {is_published: {_is_null: true}} ] }", "is_published IS NOT true"),
    _plain(_COMPARISON, "users", "id name age", "{ age: { _lt: 30 }}", "age < 30"),
    _plain(_COMPARISON, "authors", "id name", '{name: {_gt: "M"}}', """name COLLATE "C" > 'M'"""),
    _plain(_COMPARISON, "products", "name price", "{ price: { _lte: 10 } }", "price <= 10"),
    _plain(_COMPARISON, "articles", "id title rating", "{rating: {_gte: 4}}", "rating >= 4"),
    _plain(_COMPARISON, "articles", "id title published_on", '{published_on: {_gte: "2018-01-01"}}',
           "published_on >= '2018-01-01'"),
    _plain(_COMPARISON, "articles", "id title rating", "{rating: {_in: [1,3,5]}}", "rating IN (1, 3, 5)"),
    _plain(_COMPARISON, "authors", "id name", '{name: {_nin: ["Justin","Sidney","April"]}}',
           "name NOT IN ('Justin', 'Sidney', 'April')"),
    _plain(_COMPARISON, "articles", "id title published_on", "{published_on: {_is_null: false}}",
           "published_on IS NOT NULL"),
    # texts
    _plain(_TEXT, "articles", "id title", '{title: {_like: "%amet%"}}', "title LIKE '%amet%'"),
    _plain(_TEXT, "users", "id name", '{ name: { _ilike: "%john%" } }', "name ILIKE '%john%'"),
    _plain(_TEXT, "users", "name", '{ name: { _nilike: "%John%" } }', "name NOT ILIKE '%John%'"),
    _plain(_TEXT, "authors", "id name", '{name: {_similar: "(A|C)%"}}', "name SIMILAR TO '(A|C)%'"),
    _plain(_TEXT, "authors", "id name", '{name: {_nsimilar: "(A|C)%"}}', "name NOT SIMILAR TO '(A|C)%'"),
    _plain(_TEXT, "articles", "id title", '{title: {_regex: "[ae]met"}}', "title ~ '[ae]met'"),
    # the slashes belong to the pattern, in PostgreSQL as here: nothing can stand before the beginning
    _plain(_TEXT, "users", "id name", '{ name: { _iregex: "/^joh?n$/i" } }', "name ~* '/^joh?n$/i'", nothing=True),
    _plain(_TEXT, "users", "id name", '{ name: { _iregex: "^joh?n$" } }', "name ~* '^joh?n$'",
           note="without the slashes, which PostgreSQL would look for in the text"),
    _plain(_TEXT, "users", "id name", '{ name: { _nregex: "/^J/" } }', "name !~ '/^J/'"),
    # documents
    Example(
        _JSONB,
        """query get_authors_in_pincode ($jsonFilter: jsonb){
          authors(where: { address: {_contains: $jsonFilter } }) { id name address }
        }""",
        {"authors": rows("""SELECT id, name, address FROM authors WHERE address @> '{"pincode": 560095}'""")},
        {"jsonFilter": {"pincode": 560095}},
    ),
    Example(
        _JSONB,
        """query get_items_with_tags{
          items(where: { tags: { _contained_in: { value: ["tag1", "tag2"] } } }) { id name tags }
        }""",
        {"items": rows("""SELECT id, name, tags FROM items WHERE tags <@ '{"value": ["tag1", "tag2"]}'""")},
    ),
    _plain(_JSONB, "items", "id name tags", '{ tags: { _contained_in: ["tag1", "tag2"] } }',
           """tags <@ '["tag1", "tag2"]'""", note="the list itself: printed is an object, which holds no list"),
    Example(
        _JSONB,
        'query get_authors_if_phone { authors(where: { address: {_has_key: "phone" } }) { id name address } }',
        {"authors": rows("SELECT id, name, address FROM authors WHERE address ? 'phone'")},
    ),
    _plain(_JSONB, "user", "id name permissions", '{ permissions: {_has_keys_any: ["admin", "editor"]} }',
           "permissions ?| '{admin,editor}'", note="an operator is a column's, not a relationship's"),
    _plain(_JSONB, "user", "name address", '{ address: {_has_keys_all: ["street", "city", "state", "zip"]} }',
           "address ?& '{street,city,state,zip}'", note="what is printed cannot be parsed"),
    # _and, _or, _not
    Example(
        _BOOLEAN,
        """{
          authors(where: { _not: { articles: { is_published: {_eq: true} } } }) {
            id name articles { title is_published }
          }
        }""",
        {
            "authors": rows(
                f"SELECT id, name, {_OF_AUTHOR} AS articles FROM authors o WHERE NOT EXISTS ({_WRITTEN} AND is_published)"
            )
        },
    ),
    _plain(_BOOLEAN, "articles", "id title published_on",
           '{ _and: [ { published_on: {_gte: "2017-01-01"}}, { published_on: {_lte: "2017-12-31"}} ] }',
           "published_on BETWEEN '2017-01-01' AND '2017-12-31'"),
    _plain(_BOOLEAN, "articles", "id title rating published_on",
           '{ _or: [ {rating: {_gte: 4}}, {published_on: {_gte: "2018-01-01"}} ] }',
           "rating >= 4 OR published_on >= '2018-01-01'"),
    _plain(_REFERENCE, "article", "title content",
           '{ _and: [{ rating: { _gt: 4 } }, { published_on: { _gt: "2018-01-01" } }] }',
           "rating > 4 AND published_on > '2018-01-01'"),
    _plain(_REFERENCE, "article", "id", '{ rating: { _gte: 4 }, published_on: { _gte: "2018-01-01" } }',
           "rating >= 4 AND published_on >= '2018-01-01'"),
    _plain(_REFERENCE, "article", "id", "{ _and: [ { rating: { _gt: 1 } }, { rating: { _lt: 5 } } ] }",
           "rating > 1 AND rating < 5"),
    _plain(_REFERENCE, "article", "id", "{ rating: { _gt: 1, _lt: 5 } }", "rating > 1 AND rating < 5"),
    _plain(_REFERENCE, "article", "title content",
           "{ _or: [{ rating: { _gt: 4 } }, { is_published: { _eq: true } }] }", "rating > 4 OR is_published"),
    _plain(_REFERENCE, "article", "id", '{ _or: { rating: { _gte: 4 }, published_on: { _gte: "2018-01-01" } } }',
           "rating >= 4 AND published_on >= '2018-01-01'"),
    _plain(_REFERENCE, "article", "title content", '{ _not: { title: { _eq: "" } } }', "NOT title = ''"),
    _plain(_REFERENCE, "author", "name", "{ articles: {} }", f"EXISTS ({_WRITTEN})"),
    _plain(_REFERENCE, "article", "title content", '{ title: { _eq: "GraphQL Tutorial" } }',
           "title = 'GraphQL Tutorial'"),
    Example(
        _REFERENCE,
        """query AuthorQuery {
          author(where: { articles: { rating: { _gte: 4 } } }, order_by: { name: asc }) { id name }
        }""",
        {
            "author": rows(
                f"SELECT id, name FROM authors o WHERE EXISTS ({_WRITTEN} AND rating >= 4) "
                'ORDER BY name COLLATE "C"'
            )
        },
    ),
    Example(
        _REFERENCE,
        "query { author(where: { rating: { _gt: 4 } }) { name articles { title } } }",
        {
            "author": "SELECT json_agg(json_build_object('name', name, 'articles', "
            + nested("SELECT title FROM articles WHERE author_id = o.id")
            + ") ORDER BY id) FROM authors o WHERE rating > 4"
        },
    ),
    # related rows
    _plain(_NESTED, "articles", "id title", '{ author: { name: { _eq: "Sidney" } } }',
           "EXISTS (SELECT FROM authors WHERE id = author_id AND name = 'Sidney')"),
    Example(
        _NESTED,
        '{ articles (where: { author: { name: { _similar: "A%"} } }) { id title author { name } } }',
        {
            "articles": rows(
                f"SELECT id, title, {one('SELECT name FROM authors WHERE id = author_id')} AS author FROM articles "
                "WHERE EXISTS (SELECT FROM authors WHERE authors.id = author_id AND name SIMILAR TO 'A%')"
            )
        },
    ),
    Example(
        _NESTED,
        "{ authors(where: { articles: {rating: {_eq: 1}} }) { id name articles { title rating } } }",
        {
            "authors": rows(
                f"SELECT id, name, {nested('SELECT title, rating FROM articles WHERE author_id = o.id')} AS articles "
                f"FROM authors o WHERE EXISTS ({_WRITTEN} AND rating = 1)"
            )
        },
    ),
    Example(
        _NESTED,
        """{
          authors (where: { _not: { articles: {is_published: {_neq: true}} } }) {
            id name articles { title is_published }
          }
        }""",
        {
            "authors": rows(
                f"SELECT id, name, {_OF_AUTHOR} AS articles FROM authors o "
                f"WHERE NOT EXISTS ({_WRITTEN} AND is_published <> true)"
            )
        },
    ),
    *(
        Example(
            _NESTED,
            f"{{ authors (where: {where}) {{ id name articles_aggregate {{ aggregate {{ count }} }} }} }}",
            {"authors": rows(f"SELECT id, name, {_COUNTED} AS articles_aggregate FROM authors o WHERE {sql}")},
        )
        for where, sql in (
            ("{ articles: {} }", f"EXISTS ({_WRITTEN})"),
            ("{ _not: { articles: {} } }", f"NOT EXISTS ({_WRITTEN})"),
        )
    ),
    Example(
        _NESTED,
        """query {
          restaurant (
            limit: 3,
            where: {
              _and: [
                { reviews_aggregate: { avg: { arguments: rating, predicate: { _gt: 5 } } } },
                { reviews_aggregate: { count: { arguments: [reviewer], distinct: true, predicate: { _gt: 10 } } } }
              ]
            }
          )
          { name }
        }""",
        {
            "restaurant": rows(
                "SELECT name FROM restaurant r WHERE (SELECT avg(rating) FROM review WHERE restaurant_id = r.id) > 5 "
                f"AND ({_REVIEWERS}) > 10 ORDER BY id LIMIT 3"
            )
        },
        note="the function is called avg, and arguments are names, not texts",
    ),
    Example(
        _REFERENCE,
        """query RestaurantsWithHighRatings {
          restaurant(where: { reviews_aggregate: { avg: { arguments: rating, predicate: { _gt: 5 } } } }) { name }
        }""",
        {
            "restaurant": rows(
                "SELECT name FROM restaurant r WHERE (SELECT avg(rating) FROM review WHERE restaurant_id = r.id) > 5 "
                "ORDER BY id"
            )
        },
        note="as above",
    ),
    _plain(_REFERENCE, "restaurant", "name",
           "{ reviews_aggregate: { count: { arguments: [], predicate: { _gt: 10 } } } }",
           "(SELECT count(*) FROM review WHERE restaurant_id = o.id) > 10"),
    _plain(_REFERENCE, "restaurant", "name",
           "{ reviews_aggregate: { count: { arguments: [reviewer, id], predicate: { _lt: 2 } } } }",
           "(SELECT count((reviewer, id)) FILTER (WHERE reviewer IS NOT NULL) FROM review WHERE restaurant_id = o.id) < 2"),
    # computed fields that are custom fields here
    Example(
        "queries/postgres/filters/using-computed-fields",
        "query { student(where: {total_marks: {_gte: 59}}){ roll_no name } }",
        {"student": rows("SELECT roll_no, name FROM student WHERE physics + chemistry + maths >= 59")},
    ),
    _plain("queries/postgres/filters/using-computed-fields", "named_author", "id first_name last_name",
           '{ full_name: { _ilike: "%bob%" } }', "first_name || ' ' || last_name ILIKE '%bob%'"),
]  # fmt: skip
