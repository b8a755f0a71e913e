"""What is written reads back as it was, whatever it is, and looks like something that a person wrote."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tycostream.config.environment import Environment
from tycostream.config.tree import Report, read_tree
from tycostream.config.yaml_text import Template, block

ENVIRONMENT = Environment({"URL": "host=db"})


def read(text: str) -> dict[str, Any]:
    report = Report("t.yaml")
    found = read_tree(text, report, ENVIRONMENT.substitute)
    assert report.problems == []
    return found


# what YAML can hold at all: no surrogates, and no numbers that tree.py reads as texts
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["${URL}", "$${x", "yes", "1", "1.5", "null", "a: b", "- a", "#", "a\nb", "a\n\n b\n", " a\nb", "a \nb", "a\r\nb"]
)  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18) + 1, 10**18 - 1)
    | st.floats(-1e17, 1e17, allow_nan=False).filter(lambda value: value == 0 or abs(value) > 1e-300)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4))
@example({"a": "a\n\n b\n", "<<": {"on": 1}})
@example({"a": ["a\nb", {"b": "a\nb"}, [], {}]})
@example({"a": {"b": [{"c": "x" * 100, "d": {"e": ["y" * 60, "z" * 60]}}]}})
@example({"a" * 110: [], "b" * 110: {}})
@example({"a": 0.00012067350464317514, "b": -0.00010000000000000005})
@example({"a": 1e16, "b": 1e-07, "c": -0.0})
def test_what_is_written_reads_back(tree: dict[str, Any]) -> None:
    assert read("\n".join([*block(tree), ""])) == tree


def test_a_template_is_filled_in_and_a_text_is_not() -> None:
    text = "\n".join(block({"a": Template("${URL}"), "b": "${URL}", "c": "x\n${URL}"}))
    assert text == 'a: "${URL}"\nb: "$${URL}"\nc: |-\n  x\n  $${URL}'
    assert read(text) == {"a": "host=db", "b": "${URL}", "c": "x\n${URL}"}


def test_it_looks_like_something_that_a_person_wrote() -> None:
    where = {
        "_or": [
            {"author_id": {"_eq": "X-Hasura-User-Id"}},
            {"author": {"org_id": {"_in": "X-Hasura-Org-Ids"}}},
        ]
    }
    tree = {
        "databases": {"main": {"engine": "postgres", "url": Template("${URL}")}},
        "sources": {
            "tags": {},
            "articles": {
                "table": "blog.articles",
                "relationships": {"author": {"object": "users", "on": {"author_id": "id"}}},
                "permissions": {"user": {"columns": ["id", "title"], "where": where, "limit": 100}},
            },
        },
        "inherited_roles": {"both": ["user", "editor"]},
        "query_collections": {"app": {"titles": "query titles {\n  articles { title }\n}\n"}},
    }  # fmt: skip
    assert "\n".join(block(tree)) == (
        """\
databases:
  main:
    engine: postgres
    url: "${URL}"
sources:
  tags: {}
  articles:
    table: blog.articles
    relationships:
      author: {object: users, on: {author_id: id}}
    permissions:
      user:
        columns: [id, title]
        where:
          _or:
            - {author_id: {_eq: "X-Hasura-User-Id"}}
            - {author: {org_id: {_in: "X-Hasura-Org-Ids"}}}
        limit: 100
inherited_roles:
  both: [user, editor]
query_collections:
  app:
    titles: |
      query titles {
        articles { title }
      }"""
    )
