"""LIKE and ILIKE against the real server, and what no pattern may cost."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import PostgresServer
from tycostream.dataflow.letters import lower_of, upper_of
from tycostream.dataflow.like import PATTERN_MAX, Like

ALPHABET = "aAbB%_\\%_\n.[éÉßİıſKkΣσς\U0001f600"
texts = st.text(st.sampled_from(ALPHABET), max_size=12)


@pytest.fixture(scope="module")
def server(postgres: PostgresServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        yield connection


@settings(max_examples=400, suppress_health_check=list(HealthCheck))
@given(patterns=st.lists(texts, min_size=1, max_size=8), some=st.lists(texts, min_size=1, max_size=20))
def test_a_pattern_matches_what_the_server_says(
    server: psycopg.Connection, patterns: list[str], some: list[str]
) -> None:
    for pattern in patterns:
        if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
            with pytest.raises(ValueError, match="LIKE pattern must not end with escape character"):
                Like(pattern)
            continue
        plain, insensitive = Like(pattern), Like(pattern, True)
        asked = server.execute(
            "SELECT t LIKE %s, t ILIKE %s FROM unnest(%s::text[]) WITH ORDINALITY u(t, n) ORDER BY n",
            (pattern, pattern, some),
        ).fetchall()
        assert [(plain(text), insensitive(text)) for text in some] == asked, pattern


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("%", "", True), ("", "", True), ("", "a", False), ("_", "", False), ("_", "\n", True),
        ("a%", "abc", True), ("%c", "abc", True), ("%b%", "abc", True), ("a%a", "a", False),
        ("%a_c%", "abc", True), ("%__%", "a", False), ("%_b_%", "abc", True), ("%_b_%", "bc", False),
        ("\\%", "%", True), ("\\%", "a", False), ("\\\\", "\\", True), ("\\a", "a", True),
        ("%_%_%", "ab", True), ("%ab%ab%", "abab", True), ("%aba%ba%", "ababa", True), ("%aba%aba", "ababa", False),
    ],
)  # fmt: skip
def test_patterns(pattern: str, text: str, expected: bool) -> None:
    assert Like(pattern)(text) is expected


def test_letters_have_the_servers_case(server: psycopg.Connection) -> None:
    """All of them that were there in 2002: newer ones are as the C library's and Python's editions of Unicode agree."""
    codes = [
        code for code in range(1, 0x110000) if unicodedata.ucd_3_2_0.category(chr(code)) not in ("Cs", "Cn")
    ]
    asked = server.execute(
        "SELECT lower(chr(c)), upper(chr(c)) FROM unnest(%s::int[]) c", (codes,)
    ).fetchall()
    ours = [(lower_of(chr(code)), upper_of(chr(code))) for code in codes]
    assert [pair for pair in zip(codes, ours, asked, strict=True) if pair[1] != pair[2]] == []


def test_equal_patterns_are_equal_and_others_not() -> None:
    assert Like("a%") == Like("a%")
    assert hash(Like("a%")) == hash(Like("a%"))
    assert len({Like("a%"), Like("a%", True), Like("A%")}) == 3
    assert repr(Like("a%", True)) == "Like(pattern='a%', insensitive=True)"


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("a" * (PATTERN_MAX + 1), "a pattern of more than 2000 characters"),
        (
            "%" + "a" * 128 + "_" + "a" * 128 + "%",
            "more than 256 characters between two % with a _ among them",
        ),
        ("a\\", "must not end with escape character"),
    ],
)
def test_what_would_cost_too_much_is_refused(pattern: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Like(pattern)


@pytest.mark.parametrize("pattern", ["%a" * 900 + "%b", "%a_a" * 400 + "%b", "%" + "a" * 254 + "_b%"])
def test_no_pattern_explodes(pattern: str) -> None:
    like = Like(pattern)
    before = time.process_time()
    assert not like("a" * 20_000)
    assert time.process_time() - before < 2
