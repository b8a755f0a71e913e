"""Quotients and roots have the digits that PostgreSQL's numeric gives them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.conftest import PostgresServer
from tycostream.dataflow.division import decimal, quotient, root, scale_of, scaled

UNITS = st.one_of(st.integers(-(10**30), 10**30), st.integers(-10_001, 10_001))


@pytest.fixture(scope="module")
def connection(postgres: PostgresServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        yield connection


@settings(max_examples=150)
@given(UNITS, st.integers(0, 40), st.integers(1, 10**20) | st.integers(1, 10_001))
@example(0, 3, 7)
@example(-5, 1, 10_000)
@example(9999, 0, 9999)
@example(10_000, 0, 9999)
@example(1, 30, 10**20)
def test_a_quotient_is_the_servers(
    connection: psycopg.Connection, units: int, scale: int, divisor: int
) -> None:
    dividend = format(decimal(units, scale), "f")
    found = connection.execute(
        "SELECT (%s::numeric / %s::numeric)::text", [dividend, str(divisor)]
    ).fetchone()
    assert found is not None
    assert format(quotient(units, scale, divisor), "f") == found[0]


@pytest.mark.parametrize(
    ("units", "scale", "divisor", "expected"),
    [
        (1, 0, 2, "0.50000000000000000000"),
        (-1, 0, 3, "-0.33333333333333333333"),
        (2, 0, 3, "0.66666666666666666667"),
    ],
)
def test_half_is_rounded_away_from_zero(units: int, scale: int, divisor: int, expected: str) -> None:
    assert format(quotient(units, scale, divisor), "f") == expected


def test_a_scale_has_an_end() -> None:
    assert scale_of(quotient(1, 1200, 3)) == 1000
    assert quotient(6, 1200, 1) == 0  # of which nothing is left


@given(st.integers(0, 10**40), st.integers(0, 25))
def test_a_root_is_the_nearest_with_as_many_digits(units: int, scale: int) -> None:
    value = decimal(units, scale)
    found = scaled(root(value), scale)
    # (found - ½)² ≤ value < (found + ½)², in units of 10^-scale, four times as many
    assert (2 * found - 1) ** 2 <= 4 * units * 10**scale < (2 * found + 1) ** 2 or not found
    assert scale_of(root(value)) == scale


def test_of_what_is_whole_the_root_is_exact() -> None:
    assert root(Decimal("2.2500")) == Decimal("1.5000")
    assert str(root(Decimal("2.2500"))) == "1.5000"
    assert root(Decimal(0)) == 0
