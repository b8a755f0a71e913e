"""The bytes of event streams: chunks, ids, and one line of data whatever is in it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.errors import RequestError
from tycostream.graphql.plan import Resumable, with_stale
from tycostream.scalars import SCALARS, Scalar
from tycostream.transports.wire.sse import CHUNKED, PLAIN, SseFraming, answer_events, errors_events

PAYLOADS = st.lists(
    st.tuples(
        st.dictionaries(st.text(), st.text()), st.none() | st.from_regex(r"[\w-]{1,60}", fullmatch=True)
    )
)


def unchunked(data: bytes) -> bytes:
    """What HTTP's chunks hold."""
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        body, data = body + data[:length], data[length:]
        assert data.startswith(b"\r\n")
        data = data[2:]
    return body


def parsed(body: bytes) -> list[dict[str, str]]:
    """The events, as HTML's specification has a browser read them."""
    text = body.decode().replace("\r\n", "\n").replace("\r", "\n")
    assert not text or text.endswith("\n\n")
    events: list[dict[str, str]] = []
    for block in text[:-2].split("\n\n") if text else []:
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{value}" if name in fields else value
        events.append(fields)
    return events


def written(framing: SseFraming, data: bytes) -> bytes:
    return unchunked(data) if framing is CHUNKED else data


@pytest.mark.parametrize("framing", [CHUNKED, PLAIN])
@given(payloads=PAYLOADS)
def test_each_payload_is_an_event_with_its_cursor(
    framing: SseFraming, payloads: list[tuple[dict[str, str], str | None]]
) -> None:
    encoded = [
        text if cursor is None else Resumable(text, cursor)
        for value, cursor in payloads
        if (text := json.dumps(value, ensure_ascii=False).encode()) is not None
    ]
    data = b"".join(framing.next_parts(encoded, 0))
    events = parsed(written(framing, data)) if encoded else []
    assert [json.loads(event["data"]) for event in events] == [value for value, _ in payloads]
    assert [event.get("id") for event in events] == [cursor for _, cursor in payloads]
    assert {event["event"] for event in events} <= {"next"}


@pytest.mark.parametrize("framing", [CHUNKED, PLAIN])
def test_all_are_sent_the_very_same_bytes(framing: SseFraming) -> None:
    parts = framing.next_parts([b"{}", b"[]"], 0)
    assert len(parts) == 1
    assert b"".join(parts) is parts[0], "no copy for each"


@pytest.mark.parametrize("framing", [CHUNKED, PLAIN])
def test_what_ends_it(framing: SseFraming) -> None:
    error = RequestError("source-failed", "two\nlines\r\n\nevent: next")
    refused, complete = parsed(written(framing, framing.error(b"", [error])))
    assert json.loads(refused["data"])["errors"][0]["message"] == error.message
    assert complete == {"event": "complete", "data": ""}
    assert parsed(written(framing, framing.complete(b""))) == [complete]
    assert parsed(errors_events([error])) == [refused, complete]
    assert parsed(b"".join(answer_events(b"{}"))) == [{"event": "next", "data": "{}"}, complete]


def test_the_rest_of_the_bytes() -> None:
    assert (CHUNKED.beat, PLAIN.beat) == (b"3\r\n:\n\n\r\n", b":\n\n")
    assert (CHUNKED.end, PLAIN.end) == (b"0\r\n\r\n", b"")
    assert (CHUNKED.retry(1500), PLAIN.retry(1500)) == (b"d\r\nretry: 1500\n\n\r\n", b"retry: 1500\n\n")
    assert CHUNKED.next_parts([b"{}"], 0) == [b"16\r\nevent: next\ndata: {}\n\n\r\n"]


def test_the_cursor_stays_when_staleness_is_told() -> None:
    told = with_stale(Resumable(b'{"data":{}}', "c"), True)
    assert (told, told.cursor) == (b'{"data":{},"extensions":{"stale":true}}', "c")  # type: ignore[attr-defined]
    assert type(with_stale(b'{"data":{}}', False)) is bytes


TEXTS = [
    scalar
    for name, scalar in sorted(SCALARS.items())
    if name in ("text", "varchar", "bpchar", "citext", "xml")
]


@pytest.mark.parametrize("scalar", TEXTS, ids=lambda scalar: scalar.name)
@given(text=st.text(alphabet="ab\n\r\u2028\x85\x0b :", min_size=1))
def test_a_text_has_no_line_break_on_the_wire(scalar: Scalar, text: str) -> None:
    written = scalar.json(scalar.parse(text))
    assert "\n" not in written
    assert "\r" not in written


@pytest.mark.parametrize("name", ["json", "jsonb"])
@given(breaks=st.text(alphabet=" \n\r\t", min_size=1))
def test_a_document_has_no_line_break_on_the_wire(name: str, breaks: str) -> None:
    scalar = SCALARS[name]
    written = scalar.json(scalar.parse(f'{{{breaks}"a"{breaks}:{breaks}["\\n"{breaks}]}}'))
    assert json.loads(written) == {"a": ["\n"]}
    assert "\n" not in written
    assert "\r" not in written
