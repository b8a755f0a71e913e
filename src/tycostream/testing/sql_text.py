"""The SQL that the fakes read: tokens, names, select lists, intervals. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tycostream.testing.pgwire_messages import Cells, WireError

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<string>[eE]?'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")*")
    |(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<word>[^\W\d][\w$]*)
    |(?P<param>\$\d+)
    |(?P<op>::|=>|<>|!=|<=|>=|\|\||->>|->|.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A token: its kind (word, quoted, string, number, param, op), its meaning and its place in the text."""

    kind: str
    text: str  # a word in lower case, a string or quoted name without its quotes
    start: int
    end: int


def tokens(sql: str) -> list[Token]:
    """The tokens of a text, without white space and comments."""
    found = []
    for match in _TOKEN.finditer(sql):
        kind, text = match.lastgroup or "op", match[0]
        if kind == "space":
            continue
        if kind == "string":
            text = text[text.index("'") + 1 : -1].replace("''", "'")
        elif kind == "quoted":
            text = text[1:-1].replace('""', '"')
        elif kind == "word":
            text = text.lower()
        found.append(Token(kind, text, match.start(), match.end()))
    return found


def split(sql: str) -> list[str]:
    """The statements of a text."""
    pieces, start = [], 0
    for token in tokens(sql):
        if token.kind == "op" and token.text == ";":
            pieces.append(sql[start : token.start])
            start = token.end
    pieces.append(sql[start:])
    return [piece.strip() for piece in pieces if tokens(piece)]


def normal(sql: str) -> str:
    """A form in which white space, comments, a last semicolon and the case of words make no difference."""
    parts = [f"{token.kind}:{token.text}" for token in tokens(sql)]
    while parts and parts[-1] == "op:;":
        parts.pop()
    return " ".join(parts)


def quote(text: str) -> str:
    """A string constant."""
    return "'" + text.replace("'", "''") + "'"


def parameter_count(sql: str) -> int:
    """The highest ``$n``."""
    return max((int(token.text[1:]) for token in tokens(sql) if token.kind == "param"), default=0)


def with_arguments(sql: str, arguments: Cells | None) -> str:
    """The text with constants for its ``$n``; NULL where nothing is known yet."""
    made, start = [], 0
    for token in tokens(sql):
        if token.kind == "param":
            place = int(token.text[1:]) - 1
            value = None if arguments is None else arguments[place] if place < len(arguments) else None
            made += [sql[start : token.start], "NULL" if value is None else quote(value)]
            start = token.end
    return "".join([*made, sql[start:]])


def syntax_error(where: str) -> WireError:
    """What cannot be read."""
    return WireError("42601", f"the fake cannot read this SQL near {where!r}")


class Reader:
    """Reads tokens from left to right."""

    def __init__(self, sql: str, parts: Sequence[Token] | None = None) -> None:
        self.sql = sql
        self._tokens = tokens(sql) if parts is None else list(parts)
        self._place = 0

    @property
    def rest(self) -> list[Token]:
        """What was not read."""
        return self._tokens[self._place :]

    def peek(self, ahead: int = 0) -> Token | None:
        """The next token, left where it is."""
        place = self._place + ahead
        return self._tokens[place] if place < len(self._tokens) else None

    def next(self) -> Token:
        """The next token; 42601 at the end."""
        token = self.peek()
        if token is None:
            raise syntax_error("the end")
        self._place += 1
        return token

    def words(self, *wanted: str) -> bool:
        """Whether these words (or signs) come next; then they are read."""
        for i, word in enumerate(wanted):
            token = self.peek(i)
            if token is None or token.kind not in ("word", "op") or token.text != word:
                return False
        self._place += len(wanted)
        return True

    def expect(self, *wanted: str) -> None:
        """These words must come next."""
        if not self.words(*wanted):
            token = self.peek()
            raise syntax_error("the end" if token is None else self.sql[token.start :][:40])

    def name(self) -> str:
        """An identifier."""
        token = self.next()
        if token.kind not in ("word", "quoted"):
            raise syntax_error(self.sql[token.start :][:40])
        return token.text

    def path(self) -> tuple[str, ...]:
        """``[[database.]schema.]name``."""
        parts = [self.name()]
        while self.words("."):
            parts.append(self.name())
        return tuple(parts)

    def inside(self) -> str:
        """The text between this parenthesis and its partner."""
        self.expect("(")
        start, depth = self._place, 1
        while depth:
            token = self.next()
            if token.kind == "op":
                depth += {"(": 1, ")": -1}.get(token.text, 0)
        last = self._tokens[self._place - 1]
        begin = self._tokens[start - 1].end
        return self.sql[begin : last.start]

    def end(self) -> None:
        """Nothing may follow but a semicolon."""
        while self.words(";"):
            pass
        if self.peek() is not None:
            self.expect("the end of the statement")


@dataclass(frozen=True, slots=True)
class SelectItem:
    """One entry of a select list: ``*``, or an expression's text and the name it is given."""

    expression: str  # "*" for all columns
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class Select:
    """``SELECT items FROM relation LIMIT limit``; the relation is a name or the text of a query."""

    items: tuple[SelectItem, ...]
    path: tuple[str, ...] | None
    query: str | None
    limit: int | None = None


def _item(sql: str, parts: Sequence[Token]) -> SelectItem:
    if not parts:
        raise syntax_error("an empty select list")
    if parts[-1].text == "*" and (len(parts) == 1 or (len(parts) == 3 and parts[1].text == ".")):
        return SelectItem("*")
    alias = None
    if len(parts) > 2 and parts[-2].kind == "word" and parts[-2].text == "as":
        alias, parts = parts[-1].text, parts[:-2]
    return SelectItem(sql[parts[0].start : parts[-1].end], alias)


def parse_select(sql: str) -> Select:
    """A SELECT over one relation; 42601 for whatever else."""
    reader = Reader(sql)
    reader.expect("select")
    items: list[SelectItem] = []
    held: list[Token] = []
    depth = 0
    while True:
        token = reader.next()
        if token.kind == "op":
            depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.text, 0)
        if depth == 0 and token.kind == "op" and token.text == ",":
            items.append(_item(sql, held))
            held = []
        elif depth == 0 and token.kind == "word" and token.text == "from":
            items.append(_item(sql, held))
            break
        else:
            held.append(token)
    path, query, limit = None, None, None
    first = reader.peek()
    if first is not None and first.text == "(" and first.kind == "op":
        query = reader.inside()
    else:
        path = reader.path()
    following = reader.peek()
    if reader.words("as") or (following is not None and following.kind == "quoted"):
        reader.name()
    if reader.words("limit"):
        limit = int(reader.next().text)
    reader.end()
    return Select(tuple(items), path, query, limit)


# The one aggregate that is understood: which keys several rows have.
GROUPED: Final = re.compile(
    r'SELECT (.+), count\(\*\) FROM (.+) AS "source" GROUP BY \1 HAVING count\(\*\) > 1 LIMIT (\d+)',
    re.DOTALL,
)


def repeated(rows: Iterable[Cells], limit: int) -> list[Cells]:
    """The rows that come more than once, each with how often it does."""
    counted = Counter(tuple(row) for row in rows)
    several: list[Cells] = [(*row, str(count)) for row, count in counted.items() if count > 1]
    return several[:limit]


_UNITS: Final = {"ms": 0.001, "millisecond": 0.001, "s": 1, "sec": 1, "second": 1} | {
    "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400, "week": 604_800,
}  # fmt: skip


def interval_seconds(text: str) -> float:
    """``1s``, ``500ms``, ``1 minute``, ``00:00:01``, ``-1 s`` or a number of seconds; 22007."""
    sign = -1 if text.strip().startswith("-") else 1
    plain = text.strip().lstrip("-").strip().lower()
    if clock := re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", plain):
        return sign * (int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3]))
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", plain):
        unit = found[2] or "s"
        unit = unit if unit in _UNITS else unit.removesuffix("s")
        if unit in _UNITS:
            return sign * float(found[1]) * _UNITS[unit]
    raise WireError("22007", f"invalid input syntax for type interval: {text}")
