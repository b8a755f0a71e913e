"""Examples of the pages that select: simple, nested and aggregate queries, several at once, variables and the like."""

from __future__ import annotations

from typing import Final

from tests.hasura.example import Example, nested, one, row, rows

AUTHORS_ARTICLES: Final = "query { authors { id name articles { id title } } }"
_RATED: Final = "count(*), json_build_object('rating', avg(rating)) AS avg, json_build_object('rating', max(rating)) AS max"
_STATISTICS: Final = (
    "sum",
    "avg",
    "stddev",
    "stddev_samp",
    "stddev_pop",
    "variance",
    "var_samp",
    "var_pop",
    "max",
    "min",
)
_DISTINCT: Final = "(SELECT DISTINCT ON (category) * FROM products ORDER BY category, id)"

SELECTING: Final = [
    Example(
        "queries/postgres/simple-object-queries",
        "query { authors { id name } }",
        {"authors": rows("SELECT id, name FROM authors")},
    ),
    Example(
        "queries/postgres/simple-object-queries",
        "query { authors_by_pk(id: 1) { id name } }",
        {"authors_by_pk": row("SELECT id, name FROM authors WHERE id = 1")},
    ),
    Example(
        "queries/postgres/simple-object-queries",
        """query {
          authors_by_pk(id: 1) {
            id name address city: address(path: "$.city") phone: address(path: "$.phone_numbers.[0]")
          }
        }""",
        {
            "authors_by_pk": row(
                "SELECT id, name, address, address -> 'city' AS city, address #> '{phone_numbers,0}' AS phone "
                "FROM authors WHERE id = 1"
            )
        },
    ),
    Example(
        "queries/postgres/nested-object-queries",
        "query { articles { id title author { name } } }",
        {
            "articles": rows(
                f"SELECT id, title, {one('SELECT name FROM authors WHERE id = author_id')} AS author FROM articles"
            )
        },
    ),
    Example(
        "queries/postgres/nested-object-queries",
        AUTHORS_ARTICLES,
        {
            "authors": rows(
                f"SELECT id, name, {nested('SELECT id, title FROM articles a WHERE author_id = o.id')} AS articles "
                "FROM authors o"
            )
        },
    ),
    Example(
        "queries/postgres/aggregation-queries",
        """query {
          articles_aggregate {
            aggregate { count sum { rating } avg { rating } max { rating } }
            nodes { id title rating }
          }
        }""",
        {
            "articles_aggregate": row(
                "SELECT (SELECT to_json(a) FROM (SELECT count(*), json_build_object('rating', sum(rating)) AS sum, "
                "json_build_object('rating', avg(rating)) AS avg, json_build_object('rating', max(rating)) AS max "
                f"FROM articles) a) AS aggregate, {nested('SELECT id, title, rating FROM articles')} AS nodes"
            )
        },
    ),
    Example(
        "queries/postgres/aggregation-queries",
        """query {
          authors (where: {id: {_eq: 1}}) {
            id
            name
            articles_aggregate {
              aggregate { count avg { rating } max { rating } }
              nodes { id title rating }
            }
          }
        }""",
        {
            "authors": rows(
                f"SELECT id, name, json_build_object('aggregate', {one(f'SELECT {_RATED} FROM articles WHERE author_id = o.id')}, "
                f"'nodes', {nested('SELECT id, title, rating FROM articles a WHERE author_id = o.id')}) AS articles_aggregate "
                "FROM authors o WHERE id = 1"
            )
        },
    ),
    Example(
        "queries/postgres/multiple-arguments",
        """query {
          authors {
            id
            name
            articles(where: {is_published: {_eq: true}}, order_by: {published_on: desc}, limit: 2) {
              id title is_published published_on
            }
          }
        }""",
        {
            "authors": rows(
                "SELECT id, name, "
                + nested(
                    "SELECT id, title, is_published, published_on FROM (SELECT * FROM articles WHERE author_id = o.id "
                    "AND is_published ORDER BY published_on DESC, id LIMIT 2) a",
                    "published_on DESC, id",
                )
                + " AS articles FROM authors o"
            )
        },
    ),
    Example(
        "queries/postgres/multiple-queries",
        "query { authors(limit: 2) { id name } articles(limit: 2) { id title } }",
        {
            "authors": rows("SELECT id, name FROM authors ORDER BY id LIMIT 2"),
            "articles": rows("SELECT id, title FROM articles ORDER BY id LIMIT 2"),
        },
    ),
    Example(
        "queries/postgres/variables-aliases-fragments-directives",
        """query getArticles($author_id: Int!) {
          articles(where: { author_id: { _eq: $author_id } }) { id title }
        }""",
        {"articles": rows("SELECT id, title FROM articles WHERE author_id = 1")},
        {"author_id": 1},
    ),
    Example(
        "queries/postgres/variables-aliases-fragments-directives",
        """query getArticles {
          articles { title rating }
          topTwoArticles: articles(order_by: {rating: desc}, limit: 2) { title rating }
          worstArticle: articles(order_by: {rating: asc}, limit: 1) { title rating }
        }""",
        {
            "articles": "SELECT json_agg(json_build_object('title', title, 'rating', rating) ORDER BY id) FROM articles",
            "topTwoArticles": rows("SELECT title, rating FROM articles ORDER BY rating DESC, id LIMIT 2"),
            "worstArticle": rows("SELECT title, rating FROM articles ORDER BY rating, id LIMIT 1"),
        },
    ),
    Example(
        "queries/postgres/variables-aliases-fragments-directives",
        """fragment articleFields on articles { id title }
        query getArticles {
          articles { ...articleFields }
          topTwoArticles: articles(order_by: {rating: desc}, limit: 2) { ...articleFields }
        }""",
        {
            "articles": rows("SELECT id, title FROM articles"),
            "topTwoArticles": rows("SELECT id, title FROM articles ORDER BY rating DESC, id LIMIT 2"),
        },
    ),
    *(
        Example(
            "queries/postgres/variables-aliases-fragments-directives",
            "query getArticles($with_publisher: Boolean!) "
            f"{{ articles {{ title publisher @{directive}(if: $with_publisher) }} }}",
            {
                "articles": "SELECT json_agg(json_build_object("
                f"'title', title{', ' if shown else ''}{shown}) ORDER BY id) FROM articles"
            },
            {"with_publisher": given},
        )
        for directive, given in (("include", True), ("include", False), ("skip", True), ("skip", False))
        for shown in ("'publisher', publisher" if given == (directive == "include") else "",)
    ),
    Example(
        "queries/postgres/performance",
        'query { authors(where: { name: { _eq: "Mario" } }) { rating } }',
        {"authors": rows("SELECT rating FROM authors WHERE name = 'Mario'")},
    ),
    Example(
        "schema/postgres/table-relationships/create",
        "query { authors { id name avg_rating { avg } } }",
        {
            "authors": rows(
                f"SELECT id, name, {one('SELECT avg FROM author_average_rating WHERE author_id = o.id')} AS avg_rating "
                "FROM authors o"
            )
        },
    ),
    Example(
        "guides/data-modelling/one-to-one",
        "query { authors { id name passport_info { id passport_number } } }",
        {
            "authors": rows(
                "SELECT id, name, "
                f"{one('SELECT id, passport_number FROM passport_info WHERE owner_id = o.id')} AS passport_info FROM authors o"
            )
        },
    ),
    Example(
        "guides/data-modelling/one-to-one",
        "query { passport_info { id passport_number owner { id name } } }",
        {
            "passport_info": rows(
                f"SELECT id, passport_number, {one('SELECT id, name FROM authors WHERE id = owner_id')} AS owner FROM passport_info"
            )
        },
    ),
    Example(
        "guides/data-modelling/one-to-many",
        "query { articles { id title author { id name } } }",
        {
            "articles": rows(
                f"SELECT id, title, {one('SELECT id, name FROM authors WHERE id = author_id')} AS author FROM articles"
            )
        },
    ),
    Example(
        "guides/data-modelling/many-to-many",
        "query { articles { id title article_tags { tagged_at tag { id tag_value } } } }",
        {
            "articles": rows(
                "SELECT id, title, "
                + nested(
                    "SELECT tagged_at, json_build_object('id', t.id, 'tag_value', tag_value) AS tag "
                    "FROM article_tag b JOIN tags t ON t.id = tag_id WHERE article_id = a.id",
                    "b.id",
                )
                + " AS article_tags FROM articles a"
            )
        },
    ),
    Example(
        "guides/data-modelling/many-to-many",
        "query { tags { id tag_value tag_articles { article { id title } } } }",
        {
            "tags": rows(
                "SELECT id, tag_value, "
                + nested(
                    "SELECT json_build_object('id', a.id, 'title', title) AS article "
                    "FROM article_tag b JOIN articles a ON a.id = article_id WHERE tag_id = t.id",
                    "b.id",
                )
                + " AS tag_articles FROM tags t"
            )
        },
    ),
    Example(
        "guides/data-modelling/many-to-many",
        "query { articles { id title tags { id tag_value } } }",
        {
            "articles": rows(
                "SELECT id, title, "
                + nested("SELECT id, tag_value FROM article_tags_view WHERE article_id = a.id")
                + " AS tags FROM articles a"
            )
        },
    ),
    Example(
        "guides/data-modelling/many-to-many",
        "query { tags { id tag_value articles { id title } } }",
        {
            "tags": rows(
                "SELECT id, tag_value, "
                + nested("SELECT id, title FROM tag_articles_view WHERE tag_id = t.id")
                + " AS articles FROM tags t"
            )
        },
    ),
    Example(
        "api-reference/graphql-api/query",
        "query GetSingleAuthor { article_by_pk(id: 1) { id title } }",
        {"article_by_pk": row("SELECT id, title FROM articles WHERE id = 1")},
    ),
    Example(
        "api-reference/graphql-api/query",
        r"""query {
          author {
            id
            name
            address(path: "$.city")
            altitude: address(path: "$.geo.altitude")
            city: address(path: "city")
            first: contacts(path: "[0]")
            phone: contacts(path: "[0].phone")
            single: contacts(path: "['Hello world!']")
            double: contacts(path: "[\"Hello world!\"]")
            article { title }
            article_aggregate { aggregate { count } nodes { title } }
          }
        }""",
        {
            "author": rows(
                "SELECT id, name, address -> 'city' AS address, address #> '{geo,altitude}' AS altitude, "
                "address -> 'city' AS city, contacts #> '{0}' AS first, contacts #> '{0,phone}' AS phone, "
                "contacts -> 'Hello world!' AS single, contacts -> 'Hello world!' AS double, "
                + nested("SELECT title FROM articles WHERE author_id = o.id")
                + " AS article, json_build_object('aggregate', "
                + one("SELECT count(*) FROM articles WHERE author_id = o.id")
                + f", 'nodes', {nested('SELECT title FROM articles WHERE author_id = o.id')}) AS article_aggregate "
                "FROM authors o"
            )
        },
        note="several paths of one column have keys of their own: the list there is of what may be written",
    ),
    Example(
        "api-reference/graphql-api/query",
        f"""query DistinctOnProductsQuery {{
          distinct_on: products_aggregate(distinct_on: category) {{
            aggregate {{ count {" ".join(f"{name} {{ price }}" for name in _STATISTICS)} }}
            nodes {{ id name category price }}
          }}
        }}""",
        {
            "distinct_on": row(
                "SELECT (SELECT to_json(a) FROM (SELECT count(*), "
                + ", ".join(f"json_build_object('price', {name}(price)) AS {name}" for name in _STATISTICS)
                + f" FROM {_DISTINCT} d) a) AS aggregate, "
                + nested(f"SELECT id, name, category, price FROM {_DISTINCT} d", "category, id")
                + " AS nodes"
            )
        },
        note="aggregates are products_aggregate's, and distinct_on takes a name, not a text",
    ),
]
