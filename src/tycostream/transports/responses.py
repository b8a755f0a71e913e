"""Errors as HTTP answers, in Hasura's shape."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

import msgspec
from starlette.responses import Response, StreamingResponse

from tycostream.errors import RequestError, TooMany

JSON: Final = "application/json"
GRAPHQL: Final = "application/graphql-response+json"
PIECE_BYTES: Final = 256 * 1024  # of a large result


def errors_response(
    errors: Sequence[RequestError], status: int, media: str = JSON, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer that holds ``errors`` and nothing else."""
    body = msgspec.json.encode({"errors": [error.to_graphql() for error in errors]})
    return Response(body, status, headers=dict(headers or {}), media_type=media)


def pieces_response(
    pieces: Sequence[bytes], media: str, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer that consists of ``pieces``: one body, or if it is large, in parts at the pace of the client."""
    size = sum(map(len, pieces))
    if size <= PIECE_BYTES:
        return Response(b"".join(pieces), 200, headers=dict(headers or {}), media_type=media)

    async def parts() -> AsyncIterator[bytes]:
        # a transport copies all that it is given at once
        for piece in pieces:
            for at in range(0, len(piece), PIECE_BYTES):
                yield piece[at : at + PIECE_BYTES]

    return StreamingResponse(parts(), 200, {**(headers or {}), "content-length": str(size)}, media)


def too_many_response(error: TooMany, media: str = JSON) -> Response:
    """The answer to who asks for too much: in either media type it says so by its status, for whoever stands between."""
    return errors_response([error], status_of(error), media, {"retry-after": str(error.retry_after_s)})


def status_of(error: TooMany) -> int:
    """503 if all clients together are too many, else 429."""
    return 503 if error.busy else 429
