"""SQL that a configuration holds: is it one query, is it one expression? A look at its tokens, not a parser.

The text becomes part of a larger statement, so what would end that statement early, or never, is found here, where it can be
said in the file's own words. Everything else about it is the database's to judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_FIRST: Final = ("SELECT", "VALUES", "WITH", "TABLE")
_PLAIN: Final = re.compile(r"\s+|--[^\n]*")
_ESCAPED: Final = r"'(?:[^'\\]|\\.|'')*'"
_QUOTED: Final = re.compile(
    rf"""[eE]{_ESCAPED}(?:\s*\n\s*{_ESCAPED})*   # backslashes escape only here, and in what continues it
      | '(?:[^']|'')*'
      | "(?:[^"]|"")*"
      | \$((?:[^$0-9][^$]*)?)\$.*?\$\1\$""",
    re.DOTALL | re.VERBOSE,
)
_OPENS: Final = re.compile(r"[eE]?'|\"|\$(?!\d)")
_WORD: Final = re.compile(r"[^\W\d][\w$]*")
_COMMENT: Final = re.compile(r"/\*|\*/")
_CLOSES: Final = {")": "(", "]": "["}


class _Token(NamedTuple):
    start: int
    text: str
    depth: int  # of brackets around it


def one_query(text: str) -> str:
    """``text`` without a closing semicolon and what follows it; ValueError says why it is not one query."""
    tokens = list(_tokens(text))
    ends = [i for i, token in enumerate(tokens) if token.text == ";"]
    statement = tokens[: ends[0]] if ends else tokens
    if not statement:
        raise ValueError("is empty; write a SELECT")
    first = statement[0].text
    if first.upper() not in (*_FIRST, "("):
        shown = first if len(first) <= 20 else f"{first[:19]}…"
        raise ValueError(f"starts with {shown!r}, but must be a query: SELECT, VALUES, WITH or TABLE")
    if ends and any(token.text != ";" for token in tokens[ends[0] :]):
        raise ValueError("holds a second statement after a semicolon; keep one query")
    return (text[: tokens[ends[0]].start] if ends else text).strip()


def one_expression(text: str) -> None:
    """ValueError if ``text`` is not one expression, as far as can be told without a parser."""
    tokens = list(_tokens(text))
    if not tokens:
        raise ValueError("is empty; write an expression over the columns, such as price * quantity")
    if any(token.text == ";" for token in tokens):
        raise ValueError("holds a semicolon, but must be one expression")
    if any(token.text == "," and token.depth == 0 for token in tokens):
        raise ValueError("holds a comma outside of brackets; write one expression a field")


def _tokens(text: str) -> Iterator[_Token]:
    """What is neither white space nor a comment. ValueError for what is opened and not closed."""
    if "\0" in text:
        raise ValueError("holds a null character")
    position = 0
    brackets: list[str] = []
    while position < len(text):
        if match := _PLAIN.match(text, position):
            position = match.end()
            continue
        if text.startswith("/*", position):
            position = _after_comment(text, position)
            continue
        found = _QUOTED.match(text, position)
        if found is None and (match := _OPENS.match(text, position)):
            what = "quoted name" if match[0] == '"' else "string"
            raise ValueError(f"opens a {what} with {match[0]} and does not close it")
        found = found or _WORD.match(text, position)
        piece = found[0] if found else text[position]
        if piece in _CLOSES.values():
            yield _Token(position, piece, len(brackets))
            brackets.append(piece)
        else:
            if piece in _CLOSES and (not brackets or brackets.pop() != _CLOSES[piece]):
                raise ValueError(f"closes a bracket with {piece} that it did not open")
            if piece == ";" and brackets:
                raise ValueError("holds a semicolon inside of brackets")
            yield _Token(position, piece, len(brackets))
        position += len(piece)
    if brackets:
        raise ValueError(f"opens a bracket with {brackets[-1]} and does not close it")


def _after_comment(text: str, start: int) -> int:
    """Where the comment that opens at ``start`` ends; comments nest."""
    depth = 0
    for match in _COMMENT.finditer(text, start):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    raise ValueError("opens a comment with /* and does not close it")
