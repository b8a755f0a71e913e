"""The streams of Hasura's documentation: batches beyond a moment, with related rows, and what comes afterwards."""

from __future__ import annotations

from typing import Any

from tests.hasura.example import one, rows
from tests.hasura.world import documented

UNDELIVERED = """subscription getUndeliveredMessages {
  messages_stream(cursor: {initial_value: {created_at: "2022-01-01"}, ordering: ASC}, batch_size: 2) {
    id
    from { first_name }
    to { first_name }
    content
    created_at
  }
}"""
OF_A_GROUP = """subscription {
  messages_stream(where: { group_id: {_eq: 1} }, cursor: { initial_value: { created_at: now } }, batch_size: 10) {
    id sender reciever content created_at edited_at
  }
}"""
SENT = (
    "INSERT INTO messages VALUES ({id}, '00000000-0000-0000-0000-000000000001', NULL, 'late', 'undelivered', "
    "{at}, {group}, 's', 'r', NULL)"
)


def batches(results: list[Any]) -> list[list[int]]:
    return [[row["id"] for row in result["messages_stream"]] for result in results]


async def test_undelivered_messages_come_in_batches(database: str) -> None:
    async with documented(database) as world:
        screen = world.watch(UNDELIVERED, {})
        assert await screen.until(lambda seen: len(seen) >= 2)
        await world.db.execute(SENT.format(id=9, at="timestamptz '2022-01-01 00:01+00'", group=0).encode())
        assert await screen.until(lambda seen: len(seen) >= 3)
        assert batches(screen.results()) == [[2, 3], [4, 5], [9]]
        expected = await world.value(
            rows(
                f"SELECT id, {one('SELECT first_name FROM people WHERE id = from_id')} AS from, "
                f"{one('SELECT first_name FROM people WHERE id = to_id')} AS to, content, created_at "
                "FROM messages m WHERE created_at > '2022-01-01' ORDER BY m.created_at"
            )
        )
        assert [row for result in screen.results() for row in result["messages_stream"]] == expected


async def test_messages_of_a_group_from_now_on(database: str) -> None:
    async with documented(database) as world:
        screen = world.watch(OF_A_GROUP, {})
        for key, group in ((20, 1), (21, 0), (22, 1)):
            await world.db.execute(SENT.format(id=key, at="now()", group=group).encode())
        assert await screen.until(lambda seen: sum(map(len, batches(seen))) >= 2)
        assert [key for batch in batches(screen.results()) for key in batch] == [20, 22]
