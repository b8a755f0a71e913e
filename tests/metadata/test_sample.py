"""One metadata with something of everything that Hasura exports, as a whole: the file that it becomes, and what is told."""

from __future__ import annotations

import json
from typing import Any

from tycostream.config.load import mistakes
from tycostream.config.table_facts import Reference
from tycostream.config.yaml_text import block
from tycostream.metadata.document import read_json
from tycostream.metadata.exporting import exported
from tycostream.metadata.importing import imported
from tycostream.metadata.names import TableName
from tycostream.metadata.report import as_json, comments

ARTICLE: dict[str, Any] = {
    "table": {"schema": "public", "name": "article"},
    "is_enum": False,
    "configuration": {
        "comment": "text",
        "custom_name": "Article",
        "custom_root_fields": {
            "select": "articles",
            "select_by_pk": {"name": "article", "comment": "c"},
            "select_aggregate": "articlesAgg",
            "select_stream": "articlesStream",
        },
        "column_config": {"author_id": {"custom_name": "authorId", "comment": "fk"}},
        "custom_column_names": {"author_id": "authorId"},
    },
    "object_relationships": [{"name": "author", "using": {"foreign_key_constraint_on": "author_id"}}],
    "array_relationships": [
        {
            "name": "tags",
            "using": {
                "foreign_key_constraint_on": {
                    "table": {"schema": "public", "name": "tag"},
                    "column": "article_id",
                }
            },
        },
        {
            "name": "likes",
            "using": {
                "manual_configuration": {
                    "remote_table": {"schema": "public", "name": "like"},
                    "column_mapping": {"id": "article_id"},
                }
            },
        },
    ],
    "select_permissions": [
        {
            "role": "user",
            "comment": "",
            "permission": {
                "columns": ["id", "title"],
                "computed_fields": [],
                "limit": 100,
                "allow_aggregations": True,
                "filter": {
                    "_or": [
                        {"author_id": {"_eq": "X-Hasura-User-Id"}},
                        {"author": {"org_id": {"_in": "X-Hasura-Org-Ids"}}},
                    ]
                },
                "query_root_fields": ["select", "select_by_pk", "select_aggregate"],
                "subscription_root_fields": ["select", "select_by_pk", "select_aggregate", "select_stream"],
            },
        }
    ],
    "event_triggers": [
        {
            "name": "big",
            "definition": {
                "enable_manual": False,
                "insert": {"columns": "*"},
                "update": {"columns": ["price"]},
            },
            "retry_conf": {"num_retries": 3, "interval_sec": 10, "timeout_sec": 60},
            "webhook": "https://hooks.example.com",
            "headers": [{"name": "k", "value_from_env": "V"}],
        }
    ],
}
SAMPLE = {
    "resource_version": 12,
    "metadata": {
        "version": 3,
        "sources": [
            {
                "name": "default",
                "kind": "postgres",
                "configuration": {
                    "connection_info": {
                        "database_url": {"from_env": "PG_URL"},
                        "isolation_level": "read-committed",
                        "use_prepared_statements": True,
                        "pool_settings": {"max_connections": 50, "idle_timeout": 180, "retries": 1},
                    }
                },
                "customization": {
                    "root_fields": {"namespace": "db", "prefix": "p_", "suffix": "_s"},
                    "type_names": {"prefix": "P_"},
                    "naming_convention": "hasura-default",
                },
                "tables": [
                    ARTICLE,
                    *({"table": {"schema": "public", "name": name}} for name in ("author", "tag", "like")),
                ],
            }
        ],
        "inherited_roles": [{"role_name": "both", "role_set": ["user", "editor"]}],
        "query_collections": [
            {"name": "allowed", "definition": {"queries": [{"name": "q", "query": "query q { x }"}]}}
        ],
        "allowlist": [{"collection": "allowed", "scope": {"global": False, "roles": ["user"]}}],
        "api_limits": {
            "disabled": False,
            "depth_limit": {"global": 5, "per_role": {"user": 3}},
            "node_limit": {"global": 50},
            "batch_limit": {"global": 10},
            "time_limit": {"global": 10},
            "rate_limit": {"global": {"max_reqs_per_min": 600}},
        },
        "graphql_schema_introspection": {"disabled_for_roles": ["anonymous"]},
        "opentelemetry": {"status": "enabled", "data_types": ["traces", "metrics", "logs"]},
    },
}
KEYS = {
    "default": {
        TableName("public", "article"): [Reference(("author_id",), "public", "author", ("id",), always=True)],
        TableName("public", "tag"): [Reference(("article_id",), "public", "article", ("id",))],
    }
}
FILE = """\
databases:
  default:
    engine: postgres
    url: "${PG_URL}"
sources:
  Article:
    table: article
    comment: text
    column_config:
      author_id: {name: authorId, comment: fk}
    custom_root_fields:
      select: articles
      select_by_pk: {name: article, comment: c}
      select_aggregate: articlesAgg
      select_stream: articlesStream
    relationships:
      author: {object: author, on: {author_id: id}, required: true}
      tags: {array: tag, on: {id: article_id}}
      likes: {array: like, on: {id: article_id}}
    permissions:
      user:
        columns: [id, title]
        where:
          _or:
            - {author_id: {_eq: "X-Hasura-User-Id"}}
            - {author: {org_id: {_in: "X-Hasura-Org-Ids"}}}
        limit: 100
        aggregate: true
        query_root_fields: [select, select_by_pk, select_aggregate]
        subscription_root_fields: [select, select_by_pk, select_aggregate, select_stream]
  author: {}
  tag: {}
  like: {}
inherited_roles:
  both: [user, editor]
query_collections:
  allowed:
    q: "query q { x }"
allowlist:
  allowed:
    roles: [user]
introspection:
  disabled_for_roles: [anonymous]
limits:
  depth_limit: 5
  node_limit: 50
  time_limit: "10s"
  operations_per_role: "600/m"
  per_role:
    user: {depth_limit: 3}
"""
LEFT = """\
# - sources.default.configuration.connection_info.use_prepared_statements: tycostream's connections have no such setting
# - sources.default.configuration.connection_info.pool_settings: tycostream keeps no pool: one connection streams, and a few answer what else is asked
# - sources.default.customization.root_fields: a source has its own name here, and its own `custom_root_fields`
# - sources.default.customization.type_names: a source has its own name here, and its own `custom_root_fields`
# - sources.default.tables.public.article.event_triggers (big): triggers are not run by this version; a change feed tells the same changes
# - api_limits.batch_limit: batches of operations are not read by this version
# - opentelemetry: traces are not sent by this version
"""


def test_the_file_that_it_becomes_and_what_it_lacks() -> None:
    found = imported(read_json(json.dumps(SAMPLE), "m.json"), KEYS)
    assert "\n".join([*block(found.tree), ""]) == FILE
    assert "\n".join([*comments(found.left), ""]) == LEFT
    assert mistakes(FILE, "t.yaml") == ()
    trigger = json.loads(as_json(found.left))[4]
    assert trigger["path"] == "$.sources[0].tables[0].event_triggers"


def test_what_comes_back_says_the_same_once_more() -> None:
    found = imported(SAMPLE["metadata"], KEYS)  # type: ignore[arg-type]
    again = imported(exported(found.tree).metadata)
    assert again.left == []
    del found.tree["sources"]["Article"]["relationships"]["author"]["required"]  # Hasura has no word for it
    assert again.tree == found.tree


def test_a_comment_is_one_line_whatever_a_name_holds() -> None:
    found = imported({"version": 3, "odd\nname: x\u2028": 1})
    assert list(comments(found.left)) == ["# - odd name: x: this version does not know it"]
