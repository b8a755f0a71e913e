"""Money that moves between accounts of two tables: what every whole state of them satisfies, and no half one does.

A row is ``(id, amount, held, tx)``. ``amount`` moves within a table and ``held`` between the tables; row 0 of each table
has the number of the latest transaction, and the accounts that it touched have it too.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

Account = tuple[int, int, int, int]
Write = tuple[str, Account | None, Account | None]  # table, old, new

COLUMNS = ("id", "amount", "held", "tx")
TABLES = ("cash", "bonds")
ACCOUNTS = 8
TOTAL = 100 * ACCOUNTS


class Broken(AssertionError):
    """A state that no whole transaction left behind."""


class Ledger:
    """What the tables hold, and the next transaction."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.number = 0
        self._next_id = 1000
        self.tables: dict[str, dict[int, Account]] = {
            name: {0: (0, 0, 0, 0)} | {i: (i, 100, 0, 0) for i in range(1, ACCOUNTS + 1)} for name in TABLES
        }

    def transaction(self) -> list[Write]:
        """The next transaction; nothing has happened until ``apply``."""
        chance, number = self._chance, self.number + 1
        new: dict[tuple[str, int], list[int] | None] = {}
        moved = chance.randint(1, 20)
        for name, sign in zip(TABLES, (1, -1), strict=True):
            rows = self.tables[name]
            new[name, 0] = [0, 0, 0]
            payer, payee = chance.sample([i for i in rows if i], 2)
            one, other = list(rows[payer][:3]), list(rows[payee][:3])
            amount = chance.randint(1, 20)
            one[1] -= amount
            other[1] += amount
            one[2] += sign * moved
            new[name, payer], new[name, payee] = one, other
            if chance.random() < 0.3:
                self._next_id += 1
                new[name, self._next_id] = [self._next_id, one[1] // 2, one[2] // 2]
                one[1] -= one[1] // 2
                one[2] -= one[2] // 2
            elif len(rows) > 5 and chance.random() < 0.5:
                one[1] += other[1]
                one[2] += other[2]
                new[name, payee] = None
        return [
            (name, self.tables[name].get(i), None if made is None else (made[0], made[1], made[2], number))
            for (name, i), made in new.items()
        ]

    def apply(self, writes: Iterable[Write]) -> None:
        """The transaction was committed."""
        self.number += 1
        for name, old, new in writes:
            if old is not None:
                del self.tables[name][old[0]]
            if new is not None:
                self.tables[name][new[0]] = new

    def load(self, tables: Mapping[str, Iterable[Account]]) -> None:
        """What the database says there is: a commit may have succeeded without our hearing of it."""
        self.tables = {name: {row[0]: row for row in rows} for name, rows in tables.items()}
        self.number = self.tables[TABLES[0]][0][3]

    def other_content(self, name: str) -> list[Account]:
        """Other accounts with the same sums: what a table holds when it has been made again."""
        rows = [row for row in self.tables[name].values() if row[0]]
        made = [(self._next_id + i, row[1], row[2], self.number) for i, row in enumerate(rows, 1)]
        self._next_id += len(rows)
        self.tables[name] = {0: (0, 0, 0, self.number)} | {row[0]: row for row in made}
        return list(self.tables[name].values())


def check_table(name: str, rows: Iterable[Mapping[str, Any]], *, may_be_empty: bool = False) -> int:
    """Raise Broken unless whole transactions of one table led to ``rows``; gives the number of the latest."""
    by_id = {row["id"]: row for row in rows}
    if not by_id and may_be_empty:
        return -1
    if 0 not in by_id:
        raise Broken(f"{name}: row 0 is missing")
    number: int = by_id[0]["tx"]
    accounts = [row for i, row in by_id.items() if i]
    if (total := sum(row["amount"] for row in accounts)) != TOTAL:
        raise Broken(f"{name}: half a transaction at {number}: the sum is {total}")
    if (newest := max(row["tx"] for row in accounts)) != number:
        raise Broken(f"{name}: half a transaction: row 0 has {number}, an account {newest}")
    return number


def check_both(tables: Mapping[str, Iterable[Mapping[str, Any]]], *, may_be_empty: bool = False) -> None:
    """Raise Broken unless whole transactions over both tables led to these rows."""
    numbers = {name: check_table(name, rows, may_be_empty=may_be_empty) for name, rows in tables.items()}
    if -1 in numbers.values():
        return
    if len(set(numbers.values())) != 1:
        raise Broken(f"half a transaction: the tables are at {numbers}")
    if (held := sum(row["held"] for rows in tables.values() for row in rows)) != 0:
        raise Broken(f"half a transaction at {numbers}: held adds up to {held}")
