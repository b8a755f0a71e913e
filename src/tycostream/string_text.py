"""Texts, and what PostgreSQL prints as text: bpchar, name, uuid, bytea, bit strings, JSON, hstore."""

from __future__ import annotations

import re
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Final

from tycostream.number_text import shown, wrong
from tycostream.rows import Cell

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ANY_UUID: Final = re.compile(
    r"\{(?:[0-9a-f]{4}-?){7}[0-9a-f]{4}\}|(?:[0-9a-f]{4}-?){7}[0-9a-f]{4}", re.IGNORECASE
)
_NAME_BYTES_MAX: Final = 63  # NAMEDATALEN - 1: the server cuts longer ones off


def _invalid(name: str, text: str, why: str = "") -> ValueError:
    return ValueError(f"invalid value for type '{name}': '{shown(text)}'" + (f": {why}" if why else ""))


def text_literal(name: str) -> Callable[[object], str]:
    """The reader of string literals."""

    def literal(value: object) -> str:
        if not isinstance(value, str):
            raise wrong("a string", name, value)
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the string for type '{name}' is not valid Unicode") from None
        if "\0" in value:
            raise ValueError(
                f"the string for type '{name}' holds a null character, which PostgreSQL cannot store"
            )
        return value

    return literal


def read_literal(name: str, read: Callable[[str], Cell]) -> Callable[[object], Cell]:
    """The reader of literals that are strings, and more than that to ``read``."""
    string = text_literal(name)
    return lambda value: read(string(value))


# -- uuid ---------------------------------------------------------------------------------------------------------


def parse_uuid(text: str) -> str:
    """The server's text of a uuid, which is the cell: its digits are in the order of its bytes."""
    if not _UUID.fullmatch(text):
        raise _invalid("uuid", text)
    return text


def read_uuid(text: str) -> str:
    """Any form of a uuid that the server reads."""
    if not _ANY_UUID.fullmatch(text):
        raise _invalid("uuid", text)
    digits = text.strip("{}").replace("-", "").lower()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


# -- bpchar and name ----------------------------------------------------------------------------------------------


class Padded(str):
    """A bpchar that ends in blanks: the string is what is compared, without them."""

    __slots__ = ("blanks",)
    blanks: int

    def __new__(cls, text: str) -> Padded:
        """From the text with its blanks."""
        self = super().__new__(cls, text.rstrip(" "))
        self.blanks = len(text) - len(self)
        return self


def parse_bpchar(text: str) -> str:
    """The server's text of a bpchar: blanks at its end count in no comparison, and are still there."""
    return Padded(text) if text[-1:] == " " else text


def bpchar_text(cell: str) -> str:
    """The server's text, blanks and all."""
    return cell + " " * cell.blanks if type(cell) is Padded else cell


def bpchar_json(cell: str) -> str:
    """``to_json``, blanks and all."""
    return encode_basestring(bpchar_text(cell))


def read_name(text: str) -> str:
    """A name as the server's cast makes it: cut off where it is too long."""
    encoded = text.encode()
    return text if len(encoded) <= _NAME_BYTES_MAX else encoded[:_NAME_BYTES_MAX].decode(errors="ignore")


# -- bytea --------------------------------------------------------------------------------------------------------

_HEX: Final = re.compile(r"\\x(?:[ \n\t\r]*[0-9a-fA-F]{2})*[ \n\t\r]*")
_ESCAPED: Final = re.compile(r"(?:[^\\]|\\\\|\\[0-3][0-7]{2})*", re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\(\\|[0-7]{3})")


def parse_bytea(text: str) -> bytes:
    """``\\x00ff``, the server's text, → the bytes."""
    if text[:2] != "\\x":
        raise _invalid("bytea", text, "expected hexadecimal digits behind '\\x'")
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        raise _invalid("bytea", text, "expected hexadecimal digits behind '\\x'") from None


def read_bytea(text: str) -> bytes:
    """Either form that the server reads: ``\\x00ff``, or characters with octal escapes."""
    if text[:2] == "\\x":
        if not _HEX.fullmatch(text):
            raise _invalid("bytea", text, "expected pairs of hexadecimal digits behind '\\x'")
        return bytes.fromhex(text[2:])
    if not _ESCAPED.fullmatch(text):
        raise _invalid(
            "bytea", text, "expected '\\x' and hexadecimal digits, or escapes such as '\\\\' and '\\000'"
        )
    return _ESCAPE.sub(
        lambda found: b"\\" if found[1] == b"\\" else bytes((int(found[1], 8),)), text.encode()
    )


def bytea_text(cell: bytes) -> str:
    """The server's text under bytea_output hex."""
    return "\\x" + cell.hex()


def bytea_json(cell: bytes) -> str:
    """``to_json``: the text."""
    return f'"\\\\x{cell.hex()}"'


# -- bit strings --------------------------------------------------------------------------------------------------


def bit_parser(name: str) -> Callable[[str], str]:
    """The reader of the server's text of a bit string, which is the cell: its digits are in the order of its bits."""

    def parse(text: str) -> str:
        if text.strip("01"):
            raise _invalid(name, text, "expected the digits 0 and 1")
        return text

    return parse


def bit_reader(name: str) -> Callable[[str], str]:
    """The reader of bit strings as the server reads them: ``0101``, ``b0101``, ``x5``."""
    parse = bit_parser(name)

    def read(text: str) -> str:
        if text[:1] in ("x", "X"):
            digits = text[1:]
            if not re.fullmatch("[0-9a-fA-F]*", digits):
                raise _invalid(name, text, "expected hexadecimal digits behind 'x'")
            return "".join(f"{int(digit, 16):04b}" for digit in digits)
        return parse(text[1:] if text[:1] in ("b", "B") else text)

    return read


# -- JSON and hstore ----------------------------------------------------------------------------------------------

_NO_JSON: Final = re.compile(r'"(?:[^"\\]|\\.)*"|-?(?:NaN|Infinity)')
_PAIR: Final = re.compile(r'"((?:[^"\\]|\\.)*)"=>(?:NULL|"((?:[^"\\]|\\.)*)")(?:, )?', re.DOTALL)


def raw_json(cell: str) -> str:
    """The text of a json or jsonb as part of other JSON."""
    text = cell  # line breaks are white space in JSON, and would break the framing of server-sent events
    if (
        "NaN" in text or "Infinity" in text
    ):  # Materialize's jsonb holds numerics, these too, and prints them bare
        text = _NO_JSON.sub(lambda found: found[0] if found[0][0] == '"' else f'"{found[0]}"', text)
    return text.replace("\n", " ").replace("\r", " ")


def parse_hstore(text: str) -> str:
    """The server's text of an hstore, which is the cell."""
    at = 0
    while at < len(text):
        found = _PAIR.match(text, at)
        if found is None:
            raise _invalid("hstore", text)
        at = found.end()
    return text


def hstore_json(cell: str) -> str:
    """``to_json``, which knows of hstore's cast: an object of strings and nulls."""

    def plain(text: str) -> str:
        return encode_basestring(re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL))

    pairs = (
        f"{plain(key)}: {'null' if value is None else plain(value)}"
        for key, value in (found.groups() for found in _PAIR.finditer(cell))
    )
    return "{" + ", ".join(pairs) + "}"
