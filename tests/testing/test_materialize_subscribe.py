"""SUBSCRIBE as Materialize does it: columns, order, time, envelopes, ends."""

from __future__ import annotations

import pytest

from tests.testing.feed import MovedClock, ask, connected, feed, refused
from tycostream.testing.materialize import FakeMaterialize

FOREVER = "18446744073709551615"


async def test_first_the_time_then_the_snapshot_then_progress(fake: FakeMaterialize):
    at = fake.insert("t", ("2", "b"), ("10", "a"), ("1", None))
    async with feed(fake, "SUBSCRIBE t WITH (PROGRESS)") as subscribed:
        assert await subscribed.rows(5) == [
            [str(at), "t", None, None, None],
            [str(at), "f", "1", "1", None],
            [str(at), "f", "1", "2", "b"],
            [str(at), "f", "1", "10", "a"],  # by value, not by text
            [str(at + 1), "t", None, None, None],
        ]
        later = fake.update("t", ("2", "b"), ("2", "a"))
        assert await subscribed.rows(3) == [
            [str(later), "f", "1", "2", "a"],  # the insert before the delete that it replaces
            [str(later), "f", "-1", "2", "b"],
            [str(later + 1), "t", None, None, None],
        ]
        upper = fake.advance()
        assert await subscribed.row() == [str(upper), "t", None, None, None]


async def test_without_progress_there_are_only_data(fake: FakeMaterialize):
    at = fake.insert("t", ("1", "a"))
    async with feed(fake, "SUBSCRIBE TO materialize.public.t") as subscribed:
        assert await subscribed.row() == [str(at), "1", "1", "a"]
        fake.advance()
        later = fake.delete("t", ("1", "a"))
        assert await subscribed.row() == [str(later), "-1", "1", "a"]


async def test_differences_are_multiplicities(fake: FakeMaterialize):
    at = fake.transaction([("t", ("1", "a"), 10_000_000)])
    async with feed(fake, "SUBSCRIBE t WITH (PROGRESS = true)") as subscribed:
        assert (await subscribed.data(1)) == [[str(at), "f", "10000000", "1", "a"]]
        fake.transaction([("t", ("1", "a"), -1), ("t", ("1", "a"), -1)])
        assert (await subscribed.data(1))[0][2:] == ["-2", "1", "a"]
        fake.transaction([("t", ("5", "x"), 1), ("t", ("5", "x"), -1), ("t", ("6", "y"), 1)])
        assert (await subscribed.data(1))[0][2:] == ["1", "6", "y"], "what cancels out is not sent"


async def test_a_row_cannot_be_there_less_than_never(fake: FakeMaterialize):
    fake.insert("t", ("1", "a"))
    before = fake.upper
    with pytest.raises(ValueError, match="1 times, less than 2"):
        fake.transaction([("t", ("9", "z"), 1), ("t", ("1", "a"), -2)])
    assert (fake.rows("t"), fake.upper) == ({("1", "a"): 1}, before)


async def test_one_transaction_is_one_time_in_all_tables(fake: FakeMaterialize):
    fake.create_table("u", {"id": "integer"})
    async with (
        feed(fake, "SUBSCRIBE t WITH (PROGRESS)") as first,
        feed(fake, "SUBSCRIBE u WITH (PROGRESS)") as second,
    ):
        at = fake.transaction([("t", ("1", "a"), 1), ("u", ("7",), 1)])
        assert await first.data(1) == [[str(at), "f", "1", "1", "a"]]
        assert await second.data(1) == [[str(at), "f", "1", "7"]]
        assert fake.insert("u", ("8",)) > at


async def test_resuming_without_a_snapshot_gives_what_is_strictly_later(fake: FakeMaterialize):
    fake.retain_history("t", 3600)
    first = fake.insert("t", ("1", "a"))
    second = fake.insert("t", ("2", "b"))
    stored = first + 1  # the progress that a client stored after the first transaction
    async with feed(fake, f"SUBSCRIBE t WITH (PROGRESS, SNAPSHOT = false) AS OF {stored - 1}") as subscribed:
        assert await subscribed.rows(3) == [
            [str(stored - 1), "t", None, None, None],  # lower than what was stored
            [str(second), "f", "1", "2", "b"],
            [str(second + 1), "t", None, None, None],
        ]


async def test_a_snapshot_moves_to_its_as_of(fake: FakeMaterialize):
    fake.retain_history("t", 3600)
    fake.insert("t", ("1", "a"))
    second = fake.insert("t", ("2", "b"))
    third = fake.update("t", ("1", "a"), ("1", "c"))
    async with feed(fake, f"SUBSCRIBE t WITH (PROGRESS) AS OF {second}") as subscribed:
        rows = await subscribed.rows(6)
        assert [row[0] for row in rows] == [*[str(second)] * 3, *[str(third)] * 2, str(third + 1)]
        assert rows[1:5] == [
            [str(second), "f", "1", "1", "a"],
            [str(second), "f", "1", "2", "b"],
            [str(third), "f", "-1", "1", "a"],
            [str(third), "f", "1", "1", "c"],
        ]


async def test_at_least_moves_forward_to_what_can_be_read(fake: FakeMaterialize):
    at = fake.insert("t", ("1", "a"))
    fake.compact("t", at)
    async with feed(fake, "SUBSCRIBE t WITH (PROGRESS) AS OF AT LEAST 5") as subscribed:
        assert (await subscribed.row() or [])[0] == str(at)
    async with feed(fake, f"SUBSCRIBE t WITH (PROGRESS) AS OF AT LEAST {at + 7}") as subscribed:
        assert (await subscribed.row() or [])[0] == str(at + 7)


async def test_an_as_of_in_the_future_waits(fake: FakeMaterialize, clock: MovedClock):
    fake.insert("t", ("1", "a"))
    future = fake.upper + 1000
    async with feed(fake, f"SUBSCRIBE t WITH (PROGRESS) AS OF {future}") as subscribed:
        assert await subscribed.row() == [str(future), "t", None, None, None]
        fake.insert("t", ("2", "b"))
        clock.now = future + 5
        upper = fake.advance()
        assert await subscribed.rows(3) == [
            [str(future), "f", "1", "1", "a"],
            [str(future), "f", "1", "2", "b"],
            [str(upper), "t", None, None, None],
        ]


@pytest.mark.parametrize("old", [False, True])
async def test_history_that_is_gone_is_an_error_of_the_first_result(clock: MovedClock, old: bool):
    fake = FakeMaterialize(now_ms=clock, progress_s=None, old_compaction_text=old)
    await fake.start()
    try:
        fake.create_table("t", {"id": "integer"})
        at = fake.insert("t", ("1",))
        async with feed(fake, f"SUBSCRIBE t AS OF {at}") as subscribed:
            assert await subscribed.row() == [str(at), "1", "1"]
        clock.now += 5000
        fake.advance()
        since = fake.since("t")
        assert since == fake.upper - 1000, "about a second of history"
        async with feed(fake, f"SUBSCRIBE t WITH (PROGRESS, SNAPSHOT = false) AS OF {at}") as subscribed:
            if old:
                text = f"Timestamp ({at}) is not valid for all inputs: [Antichain {{ elements: [{since}] }}]"
                assert subscribed.error == ("22000", text)
            else:
                assert subscribed.error == ("22000", "could not find a valid timestamp for the query")
                assert subscribed.detail == (
                    "Constraints:\n"
                    f"lower:\n  (Storage inputs: [u1]): [{since} (2023-11-14 22:13:24.000)]\n"
                    f"upper:\n  (Query's AS OF): [{at} (2023-11-14 22:13:20.000)]\n"
                )
        fake.retain_history("t", 3600)
        assert fake.since("t") == since, "what is gone does not come back"
        clock.now += 5000
        fake.advance()
        assert fake.since("t") == since
    finally:
        await fake.stop()


async def test_a_view_of_constants_has_no_closing_progress(fake: FakeMaterialize):
    fake.create_constant_view("k", {"x": "integer"}, [("2",), ("1",), ("1",)])
    async with feed(fake, "SUBSCRIBE k WITH (PROGRESS)") as subscribed:
        assert await subscribed.rest() == [
            [FOREVER, "t", None, None],
            [FOREVER, "f", "2", "1"],
            [FOREVER, "f", "1", "2"],
        ]
        assert (subscribed.error, subscribed.tag) == (None, "COPY 3")
    async with feed(fake, "SUBSCRIBE k WITH (PROGRESS, SNAPSHOT false) AS OF 7") as subscribed:
        assert await subscribed.rest() == [["7", "t", None, None]]


async def test_up_to_is_exclusive_and_ends(fake: FakeMaterialize):
    at = fake.insert("t", ("1", "a"))
    async with feed(fake, f"SUBSCRIBE t AS OF {at} UP TO {at + 2}") as subscribed:
        fake.insert("t", ("2", "b"))  # at + 1
        fake.insert("t", ("3", "c"))  # at + 2
        assert await subscribed.rest() == [[str(at), "1", "1", "a"], [str(at + 1), "1", "2", "b"]]
        assert subscribed.tag == "COPY 2"
    async with feed(fake, f"SUBSCRIBE t WITH (PROGRESS) AS OF {at} UP TO {at}") as subscribed:
        assert await subscribed.rest() == []
        assert subscribed.notices == [
            f"subscribe as of {at} (inclusive) up to the same bound {at} (exclusive) is guaranteed to be empty"
        ]
    async with feed(fake, f"SUBSCRIBE t AS OF {at} UP TO {at - 1}") as subscribed:
        text = "subscription lower bound (`AS OF`) is greater than its upper bound (`UP TO`)"
        assert subscribed.error == ("22000", f"{text}: {at} > {at - 1}")


async def test_views_change_with_their_tables(fake: FakeMaterialize):
    fake.create_view(
        "counts",
        {"name": "text", "n": "bigint"},
        lambda tables: [
            (name, str(sum(row[1] == name for row in tables["t"])))
            for name in sorted({str(row[1]) for row in tables["t"]})
        ],
    )
    fake.create_view("total", {"n": "bigint"}, lambda tables: [(str(len(tables["counts"])),)])
    at = fake.insert("t", ("1", "a"), ("2", "a"))
    async with (
        feed(fake, "SUBSCRIBE counts WITH (PROGRESS)") as subscribed,
        feed(fake, "SUBSCRIBE total WITH (PROGRESS)") as total,
    ):
        assert await subscribed.data(1) == [[str(at), "f", "1", "a", "2"]]
        assert await total.data(1) == [[str(at), "f", "1", "1"]]
        later = fake.insert("t", ("3", "a"))
        assert await subscribed.data(2) == [
            [str(later), "f", "-1", "a", "2"],
            [str(later), "f", "1", "a", "3"],
        ]
        last = fake.insert("t", ("4", "b"))
        assert await total.data(2) == [[str(last), "f", "-1", "1"], [str(last), "f", "1", "2"]], (
            "the transaction before changed nothing here"
        )


async def test_a_views_history_is_that_of_its_tables(fake: FakeMaterialize, clock: MovedClock):
    fake.create_view("v", {"n": "bigint"}, lambda tables: [(str(len(tables["t"])),)])
    fake.create_view("m", {"n": "bigint"}, lambda tables: [("1",)], kind="materialized-view")
    first = fake.insert("t", ("1", "a"))
    fake.retain_history("m", 3600)
    clock.now += 10_000
    fake.advance()
    async with feed(fake, f"SUBSCRIBE v AS OF {first}") as subscribed:
        assert subscribed.error == ("22000", "could not find a valid timestamp for the query")
        assert "(Storage inputs: [u1])" in subscribed.detail
    async with feed(fake, f"SUBSCRIBE m AS OF {first}") as subscribed:
        assert await subscribed.row() == [str(first), "1", "1"], "a materialized view has its own"


async def test_a_query_with_custom_fields(fake: FakeMaterialize):
    fake.create_table("trades", {"id": "integer", "price": "numeric", "quantity": "integer"}, key=("id",))
    fake.register_expression(
        "price * quantity", "numeric", lambda row: str(int(row["price"] or 0) * int(row["quantity"] or 0))
    )
    fake.insert("trades", ("1", "3", "4"), ("2", "6", "2"))
    query = 'SELECT "quantity", (price  *  quantity -- the value\n) AS "notional" FROM "materialize"."public"."trades" AS "source"'
    async with feed(fake, f"SUBSCRIBE ({query}) WITH (PROGRESS)") as subscribed:
        assert [row[2:] for row in await subscribed.data(2)] == [["1", "2", "12"], ["1", "4", "12"]]
    async with feed(
        fake, "SUBSCRIBE (SELECT price*quantity AS notional FROM trades) WITH (PROGRESS)"
    ) as subscribed:
        assert [row[2:] for row in await subscribed.data(1)] == [["2", "12"]], "equal rows are one"


async def test_a_registered_query(fake: FakeMaterialize):
    text = "SELECT count(*) AS n\nFROM t GROUP BY name"
    fake.register_query(text, {"n": "bigint"}, lambda tables: [(str(len(tables["t"])),)], key=("n",))
    fake.insert("t", ("1", "a"))
    for subscribe in (
        f"({text})",
        '(SELECT * FROM (select count(*) as n from t group by name\n) AS "source")',
    ):
        async with feed(fake, f"SUBSCRIBE {subscribe} WITH (PROGRESS)") as subscribed:
            assert (await subscribed.data(1))[0][2:] == ["1", "1"]


async def test_upserts_are_told_by_one_timestamps_changes_alone(fake: FakeMaterialize):
    fake.create_table("u", {"a": "text", "k": "integer", "b": "text"})
    fake.insert("u", ("x", "2", "y"), ("p", "1", "q"))
    async with feed(fake, "SUBSCRIBE u ENVELOPE UPSERT (KEY (k)) WITH (PROGRESS)") as subscribed:
        first = await subscribed.rows(4)
        assert [row[1:] for row in first] == [
            ["t", None, None, None, None],
            ["f", "upsert", "1", "p", "q"],  # by key, and the key comes first
            ["f", "upsert", "2", "x", "y"],
            ["t", None, None, None, None],
        ]
        fake.update("u", ("x", "2", "y"), ("x", "2", "z"))
        fake.delete("u", ("p", "1", "q"))
        fake.insert("u", ("m", "2", "m"), ("n", "2", "n"))
        fake.insert("u", ("o", "2", "o"))
        fake.delete("u", ("o", "2", "o"))
        assert [row[2:] for row in await subscribed.data(5)] == [
            ["upsert", "2", "x", "z"],
            ["delete", "1", None, None],
            ["key_violation", "2", None, None],
            ["upsert", "2", "o", "o"],  # a fourth row of the key, and yet
            ["delete", "2", None, None],  # three are left
        ]


async def test_the_types_and_order_of_columns(fake: FakeMaterialize):
    fake.create_table("u", {"a": "text", "k": "bigint", "b": "numeric(10,2)"})
    async with connected(fake.url) as connection:
        await ask(connection, "BEGIN")
        for clause, names, oids in [
            ("", "mz_timestamp mz_diff a k b", [1700, 20, 25, 20, 1700]),
            ("WITH (PROGRESS)", "mz_timestamp mz_progressed mz_diff a k b", [1700, 16, 20, 25, 20, 1700]),
            (
                "ENVELOPE UPSERT (KEY (b, k)) WITH (PROGRESS)",
                "mz_timestamp mz_progressed mz_state b k a",
                [1700, 16, 25, 1700, 20, 25],
            ),
            ("ENVELOPE UPSERT (KEY (k))", "mz_timestamp mz_state k a b", [1700, 25, 20, 25, 1700]),
        ]:
            await ask(connection, f"DECLARE c CURSOR FOR SUBSCRIBE u {clause} AS OF AT LEAST 1")
            cursor = await connection.execute(b"FETCH 0 c")
            assert cursor.description is not None
            assert [column.name for column in cursor.description] == names.split()
            assert [column.type_code for column in cursor.description] == oids
            assert cursor.pgresult is not None
            assert cursor.pgresult.fmod(0) == 2555908  # numeric(39,0)
            await ask(connection, "CLOSE c")


async def test_what_cannot_be_subscribed_to(fake: FakeMaterialize):
    fake.create_other("kafka", "sink")
    not_constant = "calling an unmaterializable function in AS OF or UP TO not yet supported"
    not_a_time = "AS OF or UP TO should be castable to a (non-null) mz_timestamp value"
    async with connected(fake.url) as connection:
        for sql, expected in [
            ("SUBSCRIBE nope", ("42704", "unknown catalog item 'nope'")),
            ("SUBSCRIBE other.public.t", ("42704", "unknown catalog item 'other.public.t'")),
            ("SUBSCRIBE (SELECT nope FROM t)", ("42703", 'column "nope" does not exist')),
            ("SUBSCRIBE kafka", ("42809", "'kafka' cannot be subscribed to because it is a sink")),
            ("SUBSCRIBE t ENVELOPE UPSERT (KEY (x))", ("42703", 'column "x" does not exist')),
            (
                "SUBSCRIBE t ENVELOPE UPSERT (KEY (id, id))",
                ("42701", 'column "id" appears more than once in SUBSCRIBE ENVELOPE KEY clause'),
            ),
            ("SUBSCRIBE t AS OF now()", ("0A000", not_constant)),
            ("SUBSCRIBE t AS OF NULL", ("XX000", not_a_time)),
            ("SUBSCRIBE t AS OF -1", ("XX000", not_a_time)),
            ("SUBSCRIBE t AS OF 1.5", ("XX000", not_a_time)),
        ]:
            assert await refused(connection, sql) == expected
        fake.revoke("t")
        code, text = await refused(connection, "SUBSCRIBE t")
        assert (code, text) == ("42501", 'permission denied for TABLE "materialize.public.t"')
        fake.grant("t")
        await ask(connection, "SELECT * FROM t")


async def test_a_column_added_is_seen_by_new_streams_only(fake: FakeMaterialize):
    fake.insert("t", ("1", "a"))
    async with feed(fake, "SUBSCRIBE t WITH (PROGRESS)") as before:
        assert (await before.data(1))[0][3:] == ["1", "a"]
        fake.alter_add_column("t", "extra", "integer", "7")
        fake.insert("t", ("2", "b", "8"))
        assert (await before.data(1))[0][3:] == ["2", "b"]
        async with feed(fake, "SUBSCRIBE t WITH (PROGRESS)") as after:
            assert [row[3:] for row in await after.data(2)] == [["1", "a", "7"], ["2", "b", "8"]]
