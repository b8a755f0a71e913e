"""Examples of the pages on subscriptions; each is asked as a query too."""

from __future__ import annotations

from typing import Final

from tests.hasura.example import Example, nested, one, rows

_LIVE: Final = "subscriptions/postgres/livequery/use-cases"

FOLLOWING: Final = [
    Example(
        _LIVE,
        """subscription getLocation($vehicleId: Int!) {
          vehicle(where: {id: {_eq: $vehicleId}}) {
            id
            vehicle_number
            locations(order_by: {time_stamp: desc}, limit: 1) { location time_stamp }
          }
        }""",
        {
            "vehicle": rows(
                "SELECT id, vehicle_number, "
                + nested(
                    "SELECT location, time_stamp FROM (SELECT * FROM vehicle_location WHERE vehicle_id = v.id "
                    "ORDER BY time_stamp DESC, id LIMIT 1) l"
                )
                + " AS locations FROM vehicle v WHERE id = 3"
            )
        },
        {"vehicleId": 3},
    ),
    Example(
        _LIVE,
        "subscription getMessages { message(order_by: {time_stamp: desc}) { texts time_stamp author { username } } }",
        {
            "message": rows(
                "SELECT texts, time_stamp, "
                + one('SELECT username FROM "user" WHERE id = user_id')
                + " AS author FROM message m ORDER BY time_stamp DESC, id"
            )
        },
    ),
    Example(
        _LIVE,
        """subscription getResult($pollId: Int!) {
          poll_results (where: { poll_id: {_eq: $pollId} }) { poll_id poll { question } option { texts } votes }
        }""",
        {
            "poll_results": rows(
                "SELECT poll_id, "
                + one("SELECT question FROM poll WHERE id = poll_id")
                + " AS poll, "
                + one("SELECT texts FROM option WHERE id = option_id")
                + " AS option, votes FROM poll_results r WHERE poll_id = 1 ORDER BY poll_id, option_id"
            )
        },
        {"pollId": 1},
    ),
    Example(
        "subscriptions/postgres/index",
        """subscription {
          messages(where: { group_id: {_eq: 1} }, order_by: { created_at: asc }) {
            id sender reciever content created_at edited_at
          }
        }""",
        {
            "messages": rows(
                "SELECT id, sender, reciever, content, created_at, edited_at FROM messages WHERE group_id = 1 "
                "ORDER BY created_at, id"
            )
        },
        note="a column is compared by an operator",
    ),
    Example(
        "api-reference/graphql-api/query",
        "subscription GetSingleAuthor { article_by_pk(id: 1) { id title } }",
        {"article_by_pk": "SELECT (SELECT to_json(q) FROM (SELECT id, title FROM articles WHERE id = 1) q)"},
    ),
]
