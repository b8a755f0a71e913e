"""PostgreSQL's regular expressions ("advanced" ones) in the syntax of RE2, exactly, or a reason why not.

Both engines match sets of texts, so that greed, the order of alternatives and captures do not matter to "is there a match".
What is refused: what RE2 cannot do (back references, looking around), what depends on the database's locale beyond ASCII
(words, spaces and other classes), and options and directors, which change the syntax itself. Nothing of a pattern is
passed on as it stands: each character is parsed, and written anew by its code.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from tycostream.dataflow.letters import lower_of, upper_of

PATTERN_MAX: Final = 1_000  # characters
_DEPTH_MAX: Final = 50
_COUNT_MAX: Final = 255  # PostgreSQL's
_CASES_MAX: Final = 10_000  # characters of a range whose other cases are looked up

_BOUND: Final = re.compile(r"\{([0-9]+)(?:(,)([0-9]*))?\}")
_HEX: Final = {
    "x": re.compile(r"[0-9A-Fa-f]{1,255}"),
    "u": re.compile(r"[0-9A-Fa-f]{4}"),
    "U": re.compile(r"[0-9A-Fa-f]{8}"),
}
_NAMED: Final = {"a": 7, "b": 8, "B": 92, "e": 27, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_LOCALE: Final = {
    "w": "[A-Za-z0-9_]", "W": "[^A-Za-z0-9_]", "s": "[ \\t\\n\\r\\f\\v]", "S": "[^ \\t\\n\\r\\f\\v]",
}  # fmt: skip
_DIGITS: Final = (48, 57)
_CLASSES: Final = {"digit": [_DIGITS], "xdigit": [_DIGITS, (65, 70), (97, 102)]}

_Ranges = list[tuple[int, int]]


def re2_syntax(pattern: str, *, insensitive: bool = False) -> str:
    """The RE2 expression that matches the same texts; ValueError, with the reason, if there is none."""
    if len(pattern) > PATTERN_MAX:
        raise ValueError(f"a regular expression of more than {PATTERN_MAX} characters")
    if pattern.startswith("***"):
        raise ValueError("a regular expression that begins with a director (***) is not supported")
    return _Parser(pattern, insensitive).whole()


def regex_of_similar(pattern: str) -> str:
    """SIMILAR TO as a regular expression, by PostgreSQL's own rules; ValueError if they depend on its release."""
    parts = []
    characters = iter(enumerate(pattern))
    end_of_set = 0
    for place, character in characters:
        if place < end_of_set:
            parts.append(character)
        elif character == "\\":
            _, escaped = next(characters, (0, ""))
            if not escaped:
                _invalid("the pattern ends with an escape character")
            if escaped == '"':
                _invalid('an escaped double quote divides patterns of "substring" only')
            parts.append("\\" + escaped)
        elif character == "[":
            end_of_set = _end_of_set(pattern, place)
            parts.append(character)
        else:
            parts.append(_SIMILAR.get(character, character))
    return f"^(?:{''.join(parts)})$"


_SIMILAR: Final = {"%": ".*", "_": ".", "(": "(?:", ".": "\\.", "^": "\\^", "$": "\\$"}


def _end_of_set(pattern: str, start: int) -> int:
    """The place of the bracket that ends a set of characters."""
    end = pattern.find("]", start + 1)
    if end < 0:
        _invalid("brackets [] not balanced")
    inside = pattern[start + 1 : end]
    if inside in ("", "^") or "[" in inside or "\\" in inside:
        raise ValueError(
            "a bracket or a backslash in a set of characters is not supported: releases of PostgreSQL differ over it"
        )
    return end + 1


def _invalid(reason: str) -> NoReturn:
    raise ValueError(f"invalid regular expression: {reason}")


class _Parser:
    def __init__(self, pattern: str, insensitive: bool) -> None:
        self._pattern = pattern
        self._insensitive = insensitive
        self._place = 0

    def whole(self) -> str:
        found = self._alternatives(0)
        if self._peek():  # only a parenthesis ends the alternatives before the end
            _invalid("parentheses () not balanced")
        return found

    def _peek(self) -> str:
        return self._pattern[self._place : self._place + 1]

    def _next(self) -> str:
        character = self._peek()
        self._place += 1
        return character

    def _take(self, text: str) -> bool:
        found = self._pattern.startswith(text, self._place)
        self._place += len(text) * found
        return found

    def _alternatives(self, depth: int) -> str:
        branches = [self._branch(depth)]
        while self._take("|"):
            branches.append(self._branch(depth))
        return "|".join(branches)

    def _branch(self, depth: int) -> str:
        parts = []
        while self._peek() not in ("", "|", ")"):
            atom, repeatable = self._atom(depth)
            count = self._quantifier()
            if count and not repeatable:
                _invalid("a quantifier after a constraint")
            parts.append(atom + count)
        return "".join(parts)

    def _quantifier(self) -> str:
        """A quantifier in RE2's words, which are the same, or nothing. Lazy or greedy is all one."""
        if not self._at_quantifier():
            return ""
        count = self._next()
        if count == "{":
            self._place -= 1
            count = self._bound()
        self._take("?")
        if self._at_quantifier():
            _invalid("a quantifier after a quantifier")
        return count

    def _at_quantifier(self) -> bool:
        here = self._pattern[self._place : self._place + 2]
        return here[:1] in ("*", "+", "?") or (here[:1] == "{" and "0" <= here[1:] <= "9")

    def _bound(self) -> str:
        found = _BOUND.match(self._pattern, self._place)
        if found is None:
            _invalid("invalid repetition count(s)")
        self._place = found.end()
        least, most = int(found[1]), int(found[3] or found[1])
        if not least <= most <= _COUNT_MAX:
            _invalid("invalid repetition count(s)")
        if found[2] is None:
            return f"{{{least}}}"
        return f"{{{least},{most if found[3] else ''}}}"

    def _atom(self, depth: int) -> tuple[str, bool]:
        """One atom or constraint, and whether it may be repeated."""
        if self._at_quantifier():
            _invalid("quantifier operand invalid")
        match character := self._next():
            case "^":
                return "\\A", False
            case "$":
                return "\\z", False
            case ".":
                return "(?s:.)", True
            case "(":
                return self._group(depth), True
            case "[":
                return self._set(), True
            case "\\":
                return self._escape()
        return self._literal(ord(character)), True

    def _group(self, depth: int) -> str:
        if depth == _DEPTH_MAX:
            raise ValueError(f"a regular expression nested deeper than {_DEPTH_MAX} levels")
        if self._peek() == "?" and not self._take("?:"):
            kind = self._pattern[self._place + 1 : self._place + 2]
            if kind and kind in "=!<":
                raise ValueError("looking ahead or behind in a regular expression is not supported")
            raise ValueError("options and comments, (?…), in a regular expression are not supported")
        inside = self._alternatives(depth + 1)
        if not self._take(")"):
            _invalid("parentheses () not balanced")
        return f"(?:{inside})"

    def _escape(self) -> tuple[str, bool]:
        match self._peek():
            case "A":
                self._place += 1
                return "\\A", False
            case "Z":
                self._place += 1
                return "\\z", False
            case "d":
                self._place += 1
                return _written([_DIGITS]), True
            case "D":
                self._place += 1
                return _written([_DIGITS], negated=True), True
        return self._literal(self._escaped()), True

    def _escaped(self) -> int:
        """The code of a character after a backslash."""
        character = self._next()
        if not character:
            _invalid("invalid escape \\ sequence")
        if not (character.isascii() and character.isalnum()):
            return ord(character)
        if character in _NAMED:
            return _NAMED[character]
        if character in _LOCALE:
            raise ValueError(
                f"\\{character} in a regular expression is not supported: what it means beyond ASCII depends on the"
                f" database's locale; write {_LOCALE[character]} if ASCII is meant"
            )
        if character in "mMyY":
            raise ValueError(f"\\{character}, the edge of a word, in a regular expression is not supported")
        if character in "123456789":
            raise ValueError("back references in a regular expression are not supported")
        if character in _HEX and (found := _HEX[character].match(self._pattern, self._place)):
            self._place = found.end()
            return _code(int(found[0], 16))
        if character == "c" and (control := self._next()).isascii() and control:
            return _code(ord(control) & 31)
        return _invalid("invalid escape \\ sequence")

    def _literal(self, code: int) -> str:
        return _written([(code, code) for code in self._cases(code)])

    def _cases(self, code: int) -> list[int]:
        if not self._insensitive:
            return [code]
        return sorted({ord(lower_of(chr(code))), ord(upper_of(chr(code)))})

    # sets of characters

    def _set(self) -> str:
        negated = self._take("^")
        ranges: _Ranges = []
        first = True
        while first or self._peek() != "]":
            ranges += self._part(first)
            first = False
        self._place += 1
        return _written(ranges, negated=negated)

    def _part(self, first: bool) -> _Ranges:
        """A character, a range or a class of a set."""
        if self._take("[:"):
            return self._class()
        if self._take("\\d"):
            return [_DIGITS]
        low = self._member(first)
        here = self._pattern[self._place : self._place + 2]
        if here[:1] != "-" or here == "-]":
            return [(code, code) for code in self._cases(low)]
        self._place += 1
        if self._pattern.startswith(("[:", "\\d"), self._place):
            _invalid("invalid character range")
        high = self._member(True)
        if high < low:
            _invalid("invalid character range")
        return self._range(low, high)

    def _range(self, low: int, high: int) -> _Ranges:
        found = [(low, high)]
        if self._insensitive:
            if high - low > _CASES_MAX:
                raise ValueError(f"a range of more than {_CASES_MAX} characters without regard to case")
            cases = {case for code in range(low, high + 1) for case in self._cases(code)}
            found += [(case, case) for case in sorted(cases) if not low <= case <= high]
        return found

    def _member(self, literal: bool) -> int:
        """The code of one character of a set; ``literal``: a hyphen or a bracket stands for itself here."""
        if self._pattern.startswith(("[.", "[="), self._place):
            raise ValueError("collating elements in a regular expression are not supported")
        character = self._next()
        if not character:
            _invalid("brackets [] not balanced")
        if character == "\\":
            if self._peek() and self._peek() in "DAZ":
                _invalid("invalid escape \\ sequence")
            return self._escaped()
        if character == "-" and not literal and self._peek() != "]":
            _invalid("invalid character range")
        return ord(character)

    def _class(self) -> _Ranges:
        end = self._pattern.find(":]", self._place)
        name = self._pattern[self._place : end] if end > 0 else ""
        if name not in _CLASSES:
            raise ValueError(
                f"the class [:{name[:20]}:] in a regular expression is not supported: what it means beyond ASCII depends"
                " on the database's locale"
            )
        self._place = end + 2
        return list(_CLASSES[name])


def _code(code: int) -> int:
    if not 0 < code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        _invalid("invalid escape \\ sequence")
    return code


def _written(ranges: _Ranges, *, negated: bool = False) -> str:
    """One character out of ``ranges``, or out of all others."""
    if not negated and len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return f"\\x{{{ranges[0][0]:x}}}"
    inside = "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in ranges)
    return f"[{'^' * negated}{inside}]"
