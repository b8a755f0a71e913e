"""GraphQL over Server-Sent Events, an operation a stream (graphql-sse's distinct connections mode), as bytes.

Each write is one chunk of HTTP/1.1, whose size stands before it, so the chunk is made with the events in it: once for all
who are told the same. HTTP/1.0 has no chunks; there the end of the connection is the end of the stream.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Final

import msgspec

from tycostream.errors import RequestError
from tycostream.graphql.plan import Resumable

EVENT_STREAM: Final = "text/event-stream"
LAST_EVENT_ID: Final = "last-event-id"
HEADERS: Final[Mapping[str, str]] = {
    "content-type": f"{EVENT_STREAM}; charset=utf-8",
    # no-transform: a proxy that packs it holds it back until it has enough to pack
    "cache-control": "no-cache, no-store, no-transform",
    "x-accel-buffering": "no",
}
# An event of no data is not given to anybody, so `complete` has an empty line of data.
_COMPLETE: Final = b"event: complete\ndata:\n\n"


def errors_events(errors: Sequence[RequestError]) -> bytes:
    """The whole stream of an operation that is refused, or the end of one that runs."""
    entries = msgspec.json.encode([error.to_graphql() for error in errors])
    return b'event: next\ndata: {"errors":%b}\n\n%b' % (entries, _COMPLETE)


def answer_events(payload: bytes) -> list[bytes]:
    """The whole stream of a query, in pieces; ``payload`` is not copied."""
    return [b"event: next\ndata: ", payload, b"\n\n" + _COMPLETE]


class SseFraming:
    """See Framing. Its operations have no id, so all of a cohort are sent the very same bytes.

    A payload is one line, for our JSON has no line breaks: of a text they are escaped, of a JSON column blanks.
    """

    tells_cursor = True

    def __init__(self, *, chunked: bool) -> None:
        self.key: Hashable = ("sse", chunked)
        self._chunked = chunked
        self.beat: Final = self._framed([b":\n\n"])  # a comment, so that proxies see that it lives
        self.end: Final = b"0\r\n\r\n" if chunked else b""

    def next_parts(self, payloads: Sequence[bytes], id_length: int) -> list[bytes]:
        """See Framing."""
        pieces = []
        for payload in payloads:
            if isinstance(payload, Resumable):
                pieces.append(b"event: next\nid: %b\ndata: " % payload.cursor.encode())
            else:
                pieces.append(b"event: next\ndata: ")
            pieces += (payload, b"\n\n")
        return [self._framed(pieces)]

    def error(self, operation_id: bytes, errors: Sequence[RequestError]) -> bytes:
        """See Framing."""
        return self._framed([errors_events(errors)])

    def complete(self, operation_id: bytes) -> bytes:
        """See Framing."""
        return self._framed([_COMPLETE])

    def retry(self, after_ms: int) -> bytes:
        """How long a browser is to wait before it connects again."""
        return self._framed([b"retry: %d\n\n" % after_ms])

    def _framed(self, pieces: Sequence[bytes]) -> bytes:
        if not self._chunked:
            return b"".join(pieces)
        return b"".join((b"%x\r\n" % sum(map(len, pieces)), *pieces, b"\r\n"))  # each is copied once


CHUNKED: Final = SseFraming(chunked=True)
PLAIN: Final = SseFraming(chunked=False)
