"""Regular expressions and SIMILAR TO against the real server: what we accept, it accepts, and it says the same."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import PostgresServer
from tycostream.dataflow.regex import Regex, similar
from tycostream.dataflow.regex_syntax import PATTERN_MAX, re2_syntax

CHARACTERS = "aAbBkK1-_ \n.éÉßſİıǅǆς\U0001f600]^\\[{%"
texts = st.text(st.sampled_from(CHARACTERS), max_size=8)
TOKENS = [
    *"aAbk1é.^$|()[]*+?{}\\-ßİǅς\n ,", "(?:", "[^", "[a-k]", "[A-é]", "[]a]", "[a-]", "[-a]", "[^-a]", "{2}", "{1,}", "{0,2}",
    "*?", "+?", "??", "{2}?", "\\d", "\\D", "\\A", "\\Z", "\\n", "\\t", "\\.", "\\B", "\\b", "\\x41", "\\u00e9", "[[:digit:]]",
    "\\U0001f600", "[\\d.]", "[a\\]]", "(a|b)", "(a|)", "()", "\\cA", "\\e", "{", "}", "{a", "[a-c-e]", "[[:xdigit:]a]", "[b-a]",
    "***", "(?i)", "(?=a)", "\\1", "\\w", "\\y", "\\m", "[.", "[[.a.]]", "\\0", "\\q", "%", "_", "\\%", "\\_", '\\"', "a]", "[_%]",
    "[\\]", "[^a]", "[[]",
]  # fmt: skip
patterns = st.lists(st.sampled_from(TOKENS), max_size=6).map("".join)


@pytest.fixture(scope="module")
def server(postgres: PostgresServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        yield connection


def agree(
    server: psycopg.Connection, make: Callable[[str], Regex], sign: str, pattern: str, some: list[str]
) -> bool:
    """Whether we accept ``pattern``; if we do, the server must, with the same answers."""
    try:
        ours = make(pattern)
    except ValueError:
        return False
    asked = server.execute(
        f"SELECT t {sign} %s FROM unnest(%s::text[]) WITH ORDINALITY u(t, n) ORDER BY n".encode(),
        (pattern, some),
    ).fetchall()
    assert [(ours(text),) for text in some] == asked, (sign, pattern)
    return True


@settings(max_examples=500, suppress_health_check=list(HealthCheck))
@given(some=st.lists(patterns, min_size=1, max_size=8), many=st.lists(texts, min_size=1, max_size=20))
def test_a_pattern_matches_what_the_server_says(
    server: psycopg.Connection, some: list[str], many: list[str]
) -> None:
    for pattern in some:
        agree(server, Regex, "~", pattern, many)
        agree(server, lambda p: Regex(p, True), "~*", pattern, many)
        agree(server, similar, "SIMILAR TO", pattern, many)


SHARED = [
    "", "a", "a|b", "^a$", "^(a|b)*$", "a+b", "[a-c]{2,3}", "\\d+", "^\\D*$", "[^a]", "(a|)b", "x{0}", "a\\.b", "[]a]", "[a-]",
    "{a}", "a{,2}", "\\x41", "[\\d_]", "a.c", "[é-ö]", "()", "a||b", "|", "\\Aa", "a\\Z", "(?:a)?", "[[:xdigit:]]+", "\\\\", "\\B",
]  # fmt: skip


@pytest.mark.parametrize("pattern", SHARED)
def test_what_both_have_is_accepted(server: psycopg.Connection, pattern: str) -> None:
    many = [
        "",
        "a",
        "A",
        "b",
        "ab",
        "aab",
        "abc",
        "a.b",
        "1",
        "12",
        "a\nc",
        "é",
        "É",
        "ü",
        "{a}",
        "a{,2}",
        "]",
        "-",
        "\\",
    ]
    assert agree(server, Regex, "~", pattern, many)
    assert agree(server, lambda p: Regex(p, True), "~*", pattern, many)


@pytest.mark.parametrize(
    "pattern", ["", "a%", "_b%", "(a|b)+", "a\\%", "[ab]_", "[^a]%", "a.b", "^a$", "a{2}", "\\d%"]
)
def test_similar_is_accepted(server: psycopg.Connection, pattern: str) -> None:
    many = ["", "a", "ab", "ba", "abc", "a%", "a%b", "aa", "^a$", "a.b", "axb", "a\nb", "\\", "1a"]
    assert agree(server, similar, "SIMILAR TO", pattern, many)


def test_every_letter_without_regard_to_case(server: psycopg.Connection) -> None:
    """Each pattern of one letter against all letters that could be its other case."""
    letters = [chr(code) for code in [*range(65, 600), *range(0x370, 0x400), *range(0x1E00, 0x2000), 0x212A, 0x2126]
               if chr(code).isalpha()]  # fmt: skip
    for letter in letters:
        others = sorted({letter, letter.lower(), letter.upper(), letter.title(), letter.casefold(), letter.swapcase(),
                         "K", "\u212a", "s", "\u017f"})  # fmt: skip
        assert agree(server, lambda p: Regex(p, True), "~*", letter, others)
        assert agree(server, lambda p: Regex(p, True), "~*", f"^[{letter}]$", others)


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("(a)\\1", "back references in a regular expression are not supported"),
        ("a(?=b)", "looking ahead or behind in a regular expression is not supported"),
        ("(?<!a)b", "looking ahead or behind"),
        ("(?i)a", "options and comments, (?…), in a regular expression are not supported"),
        ("***=a", "begins with a director (***)"),
        ("\\mword", "\\m, the edge of a word, in a regular expression is not supported"),
        ("\\y", "\\y, the edge of a word"),
        ("\\w+", "depends on the database's locale; write [A-Za-z0-9_] if ASCII is meant"),
        ("[\\s]", "\\s in a regular expression is not supported"),
        ("[[:alpha:]]", "the class [:alpha:] in a regular expression is not supported"),
        ("[[=a=]]", "collating elements in a regular expression are not supported"),
        ("(", "invalid regular expression: parentheses () not balanced"),
        (")", "invalid regular expression: parentheses () not balanced"),
        ("[a", "invalid regular expression: brackets [] not balanced"),
        ("a**", "invalid regular expression: a quantifier after a quantifier"),
        ("^*", "invalid regular expression: a quantifier after a constraint"),
        ("*a", "invalid regular expression: quantifier operand invalid"),
        ("a{2,1}", "invalid regular expression: invalid repetition count(s)"),
        ("a{256}", "invalid regular expression: invalid repetition count(s)"),
        ("[b-a]", "invalid regular expression: invalid character range"),
        ("a\\", "invalid regular expression: invalid escape \\ sequence"),
        ("\\ud800", "invalid regular expression: invalid escape \\ sequence"),
        ("a" * (PATTERN_MAX + 1), "a regular expression of more than 1000 characters"),
        ("(" * 51 + ")" * 51, "a regular expression nested deeper than 50 levels"),
        ("((.{100}){100}){100}", "a regular expression that needs too much memory"),
    ],
)  # fmt: skip
def test_what_is_refused_is_refused_with_the_reason(pattern: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Regex(pattern)


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("a\\", "the pattern ends with an escape character"),
        ('a\\"b', "an escaped double quote divides patterns"),
        ("[]a]", "a bracket or a backslash in a set of characters is not supported"),
        ("[[:digit:]]", "a bracket or a backslash in a set of characters is not supported"),
        ("[\\d]", "a bracket or a backslash in a set"),
        ("[a", "brackets [] not balanced"),
        ("%*a*", "a quantifier after a quantifier"),
    ],
)
def test_what_similar_refuses(pattern: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        similar(pattern)


def test_equal_patterns_are_equal_and_others_not() -> None:
    assert Regex("a") == Regex("a")
    assert len({Regex("a"), Regex("a", True), Regex("A"), similar("a")}) == 4
    assert repr(Regex("a")) == "Regex(pattern='a', insensitive=False)"


@pytest.mark.parametrize(
    "pattern",
    ["(a*)*b", "(a|aa)+$b", "(a|a)*b", "^(.*a){20}b", "(a|b)*a(a|b){12}c", "(?:(?:a{1,9}){1,9}){1,9}b"],
)
def test_no_pattern_explodes(pattern: str) -> None:
    regex = Regex(pattern)
    before = time.process_time()
    assert not regex("a" * 20_000)
    assert time.process_time() - before < 2


def test_a_pattern_is_written_anew_by_its_codes() -> None:
    assert re2_syntax("a[^]b-d]{2}?|(é.)$") == (
        "\\x{61}[^\\x{5d}-\\x{5d}\\x{62}-\\x{64}]{2}|(?:\\x{e9}(?s:.))\\z"
    )


def test_re2_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, tycostream.app, tycostream.graphql.execute; sys.exit('re2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
