"""Rates as people write them."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from tycostream.config.rates import OptionalRate, Rate

ADAPTER = TypeAdapter(OptionalRate)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/s", Rate(10, 1, 10)),
        (" 600/m ", Rate(600, 60, 600)),
        ("5/h burst 50", Rate(5, 3600, 50)),
        ("1/d burst 1", Rate(1, 86400, 1)),
    ],
)
def test_a_rate_is_read_and_written(text: str, rate: Rate) -> None:
    assert ADAPTER.validate_python(text) == rate
    assert ADAPTER.validate_python(str(rate)) == rate
    assert ADAPTER.dump_python(rate, mode="json") == str(rate)


def test_a_burst_that_is_the_count_is_not_spelled() -> None:
    assert str(Rate(10, 1, 10)) == "10/s"
    assert str(Rate(10, 60, 3)) == "10/m burst 3"


@pytest.mark.parametrize(
    "wrong", ["10", "10/x", "10 / s", "-1/s", "1.5/s", 10, True, "10/s burst", "١/s", [1]]
)
def test_what_is_no_rate_is_told(wrong: object) -> None:
    with pytest.raises(ValidationError, match="a rate is a number and a unit of time, such as 10/s"):
        ADAPTER.validate_python(wrong)


@pytest.mark.parametrize("wrong", ["0/s", "10/s burst 0"])
def test_a_rate_allows_one_at_least(wrong: str) -> None:
    with pytest.raises(ValidationError, match="one at least"):
        ADAPTER.validate_python(wrong)


def test_none_is_no_limit() -> None:
    assert ADAPTER.validate_python(None) is None
    assert ADAPTER.dump_python(None, mode="json") is None
