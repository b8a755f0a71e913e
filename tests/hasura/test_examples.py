"""The examples of Hasura's documentation on a PostgreSQL: as queries, and as live queries while the tables change."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from graphql import OperationDefinitionNode, parse

from tests.hasura.filtering import FILTERING
from tests.hasura.following import FOLLOWING
from tests.hasura.ordering import ORDERING
from tests.hasura.selecting import SELECTING
from tests.hasura.world import documented

EXAMPLES = [*SELECTING, *FILTERING, *ORDERING, *FOLLOWING]
STEPS = [
    "INSERT INTO articles VALUES (20, 4, 'emet', 'c', 'n', 'p', 5, true, '2018-01-02'); "
    "UPDATE articles SET author_id = 6, rating = 1, is_published = false WHERE id IN (4, 6)",
    "UPDATE authors SET name = 'Cid', address = '{\"pincode\": 560095, \"phone\": 1}', rating = 5 WHERE id = 7; "
    "UPDATE authors SET name = 'amy' WHERE id = 1; UPDATE users SET name = 'JOHN', age = 30 WHERE id IN (2, 4)",
    "DELETE FROM article_tag WHERE article_id = 1; DELETE FROM likes; DELETE FROM passport_info WHERE id = 2; "
    "DELETE FROM articles WHERE id IN (1, 8); INSERT INTO passport_info VALUES (9, 3, 'new')",
    "UPDATE products SET price = price + 1, category = 'all'; UPDATE employees SET salary = 1 WHERE id = 2; "
    "UPDATE review SET rating = 0 WHERE restaurant_id = 1; UPDATE student SET physics = 50 WHERE id = 3; "
    "UPDATE items SET tags = '[\"tag2\"]' WHERE id > 2; UPDATE orders SET total_price = 99 WHERE id = 3",
    "INSERT INTO vehicle_location VALUES (9, '(7,8)', '2022-02-02 00:00:00.5+00', 3); "
    "INSERT INTO vote VALUES (9, 1, 3, NULL); INSERT INTO message VALUES (9, 'Fine', '2022-01-01', 1); "
    "UPDATE \"user\" SET username = 'Eve', permissions = '[\"editor\"]' WHERE id = 1; "
    "UPDATE option SET texts = 'Soup' WHERE id = 1; DELETE FROM messages WHERE id = 1",
]


def operation(text: str, kind: str) -> str:
    """The document with its operation of that kind; of several roots one subscription too, by Hasura's directive."""
    (node,) = [each for each in parse(text).definitions if isinstance(each, OperationDefinitionNode)]
    assert node.loc is not None
    assert node.selection_set.loc is not None
    start, brace = node.loc.start, node.selection_set.loc.start
    head = text[start:brace].removeprefix("query").removeprefix("subscription")
    if kind == "subscription" and len(node.selection_set.selections) > 1:
        head += " @_multiple_top_level_fields "
    return text[:start] + kind + head + text[brace:]


def same(found: Any, expected: Any) -> bool:
    """Equal, with the fields of rows in the order in which they are selected."""
    return json.dumps(found) == json.dumps(expected)


def last(expected: Any, results: list[Any]) -> bool:
    """Whether the last result is as expected."""
    return results != [] and same(results[-1], expected)


async def test_examples_are_answered_as_sql_does(database: str) -> None:
    async with documented(database) as world:
        screens = [world.watch(operation(each.query, "subscription"), each.variables) for each in EXAMPLES]
        for step in ["SELECT 1", *STEPS]:
            async with world.db.transaction():
                await world.db.execute(step.encode())
            wrong = {}
            for example, screen in zip(EXAMPLES, screens, strict=True):
                expected = {key: await world.value(select) for key, select in example.answers.items()}
                if step == "SELECT 1":
                    empty = {key for key, value in expected.items() if value in (None, [], {})}
                    assert empty == example.empty, f"our rows say nothing to {example.name}"
                shown = await screen.until(partial(last, expected))
                if not shown:
                    wrong[f"live: {example.name}"] = (screen.results()[-1:], expected)
                answer = await world.answer(operation(example.query, "query"), example.variables)
                if shown and not same(answer, expected):
                    wrong[example.name] = (answer, expected)
            assert wrong == {}, step
