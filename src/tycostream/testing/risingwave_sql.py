"""RisingWave's statements about subscriptions and their cursors, read. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tycostream.testing.pgwire_messages import WireError
from tycostream.testing.risingwave_errors import internal
from tycostream.testing.sql_text import Reader, interval_seconds, syntax_error


class Since(Enum):
    """Where a cursor starts, unless it is told a timestamp."""

    NOW = "now"
    BEGIN = "begin"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class DeclareText:
    """DECLARE … SUBSCRIPTION CURSOR: ``since`` is a number of milliseconds, or words."""

    subscription: tuple[str, ...]
    since: Since | int


@dataclass(frozen=True, slots=True)
class FetchText:
    """FETCH; ``wait_s`` is a whole number of seconds, 0: do not wait."""

    cursor: str
    count: int
    wait_s: int


@dataclass(frozen=True, slots=True)
class CreateText:
    """CREATE SUBSCRIPTION; ``retention_s`` is None if it was not set."""

    name: tuple[str, ...]
    relation: tuple[str, ...]
    retention_s: int | None
    if_not_exists: bool


def whole_seconds(text: str) -> int:
    """An interval's seconds, the fraction cut off."""
    try:
        return int(interval_seconds(text)) % 2**64  # a negative one becomes a very long time
    except WireError as error:
        text = f'Convert interval to u64 error, please check format, error: "{error.message}"'
        raise internal(text) from None


def parse_declare(reader: Reader) -> DeclareText:
    """From after ``SUBSCRIPTION CURSOR FOR``. Without a clause it is SINCE now()."""
    subscription = reader.path()
    since: Since | int = Since.NOW
    if reader.words("full"):
        since = Since.FULL
    elif reader.words("since"):
        token = reader.next()
        if token.kind == "number" and token.text.isdigit() and int(token.text) < 2**63:
            since = int(token.text)
        elif token.kind == "word" and token.text in ("now", "proctime", "begin"):
            reader.expect("(", ")")
            since = Since.BEGIN if token.text == "begin" else Since.NOW
        else:
            raise syntax_error(reader.sql[token.start :][:40])
    reader.end()
    return DeclareText(subscription, since)


def parse_fetch(reader: Reader) -> FetchText:
    """From after ``FETCH``: NEXT or a number, and FROM; nothing else is known."""
    count = 1
    token = reader.next()
    if token.kind == "number" and token.text.isdigit():
        count = int(token.text)
    elif token.kind != "word" or token.text != "next":
        raise syntax_error(reader.sql[token.start :][:40])
    reader.expect("from")
    name = reader.name()
    wait_s = 0
    if reader.words("with"):
        reader.expect("(", "timeout", "=")
        wait_s = whole_seconds(reader.next().text)
        reader.expect(")")
    reader.end()
    return FetchText(name, count, wait_s)


def parse_create(reader: Reader) -> CreateText:
    """From after ``CREATE SUBSCRIPTION``."""
    if_not_exists = reader.words("if", "not", "exists")
    name = reader.path()
    reader.expect("from")
    relation = reader.path()
    retention_s = None
    if reader.words("with"):
        reader.expect("(")
        while not reader.words(")"):
            option = reader.name()
            reader.expect("=")
            value = reader.next().text
            if option == "retention":
                retention_s = whole_seconds(value)
            reader.words(",")
    reader.end()
    return CreateText(name, relation, retention_s, if_not_exists)
