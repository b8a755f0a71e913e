"""The SQL that a fake Materialize reads: tokens, names, select lists and SUBSCRIBE's grammar. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tycostream.testing.materialize_data import FOREVER
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


@dataclass(frozen=True, slots=True)
class SubscribeText:
    """A SUBSCRIBE, read: exactly one of ``path`` and ``query``; ``key`` is that of ENVELOPE UPSERT."""

    path: tuple[str, ...] | None
    query: str | None
    key: tuple[str, ...] | None
    progress: bool
    snapshot: bool
    as_of: int | None
    at_least: bool
    up_to: int | None


def _envelope(reader: Reader) -> tuple[str, ...] | None:
    if reader.words("within", "timestamp", "order", "by"):
        raise WireError("0A000", "WITHIN TIMESTAMP ORDER BY is not supported")
    if not reader.words("envelope"):
        return None
    if reader.words("debezium"):
        raise WireError("0A000", "ENVELOPE DEBEZIUM is not supported")
    reader.expect("upsert", "(", "key", "(")
    names = [reader.name()]
    while reader.words(","):
        names.append(reader.name())
    reader.expect(")", ")")
    for name in names:
        if names.count(name) > 1:
            raise WireError(
                "42701", f'column "{name}" appears more than once in SUBSCRIBE ENVELOPE KEY clause'
            )
    return tuple(names)


def _flags(reader: Reader) -> dict[str, bool]:
    flags = {"progress": False, "snapshot": True}
    if reader.words("with"):
        reader.expect("(")
        while True:
            name = reader.name()
            if name not in flags:
                raise syntax_error(name)
            reader.words("=")
            token = reader.peek()
            flags[name] = True
            if token is not None and token.text in ("true", "false", "on", "off", "1", "0", "t", "f"):
                flags[name] = reader.next().text in ("true", "on", "1", "t")
            if not reader.words(","):
                break
        reader.expect(")")
    return flags


def _timestamp(reader: Reader) -> int:
    token = reader.next()
    if token.kind == "word" and (following := reader.peek()) is not None and following.text == "(":
        raise WireError("0A000", "calling an unmaterializable function in AS OF or UP TO not yet supported")
    if token.kind not in ("number", "string") or not token.text.isdigit() or int(token.text) > FOREVER:
        raise WireError("XX000", "AS OF or UP TO should be castable to a (non-null) mz_timestamp value")
    if reader.words("::"):
        reader.name()
    return int(token.text)


def parse_subscribe(reader: Reader) -> SubscribeText:
    """From after the word SUBSCRIBE to the end."""
    reader.words("to")
    path, query = None, None
    first = reader.peek()
    if first is not None and first.kind == "op" and first.text == "(":
        query = reader.inside()
    else:
        path = reader.path()
    key = _envelope(reader)
    flags = _flags(reader)
    as_of, at_least, up_to = None, False, None
    if reader.words("as", "of"):
        at_least = reader.words("at", "least")
        as_of = _timestamp(reader)
    if reader.words("up", "to"):
        up_to = _timestamp(reader)
    key = key or _envelope(reader)  # accepted at the very end too, as it used to be
    reader.end()
    return SubscribeText(path, query, key, flags["progress"], flags["snapshot"], as_of, at_least, up_to)


def interval_seconds(text: str) -> float:
    """A FETCH's timeout: ``1s``, ``500ms``, ``1 minute``, ``00:00:01`` or a number of seconds."""
    sign = -1 if text.strip().startswith("-") else 1
    plain = text.strip().lstrip("-").strip().lower()
    units = {"ms": 0.001, "millisecond": 0.001, "s": 1, "sec": 1, "second": 1}
    units |= {"m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}
    if clock := re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", plain):
        seconds = int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
    elif found := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", plain):
        unit = found[2].removesuffix("s") or ("s" if found[2] in ("", "s") else found[2])
        unit = found[2] if found[2] in units else unit
        if unit not in units:
            raise WireError("22007", f"invalid input syntax for type interval: {text}")
        seconds = float(found[1]) * units[unit]
    else:
        raise WireError("22007", f"invalid input syntax for type interval: {text}")
    if sign < 0 and seconds:
        raise WireError("XX000", "invalid TIMEOUT: cannot convert negative interval to duration")
    if seconds > 86400:
        raise WireError("XX000", f"timeout out of range: {int(seconds)}s")
    return seconds
