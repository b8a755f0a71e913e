"""SUBSCRIBE's grammar, and a FETCH's timeout. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tycostream.testing.materialize_data import FOREVER
from tycostream.testing.pgwire_messages import WireError
from tycostream.testing.sql_text import Reader, interval_seconds, syntax_error


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


def timeout_seconds(text: str) -> float:
    """A FETCH's timeout, from an interval's text."""
    seconds = interval_seconds(text)
    if seconds < 0:
        raise WireError("XX000", "invalid TIMEOUT: cannot convert negative interval to duration")
    if seconds > 86400:
        raise WireError("XX000", f"timeout out of range: {int(seconds)}s")
    return seconds
