"""Errors as HTTP answers, in Hasura's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from starlette.responses import Response

from tycostream.errors import RequestError, TooMany

JSON: Final = "application/json"
GRAPHQL: Final = "application/graphql-response+json"


def errors_response(
    errors: Sequence[RequestError], status: int, media: str = JSON, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer that holds ``errors`` and nothing else."""
    body = msgspec.json.encode({"errors": [error.to_graphql() for error in errors]})
    return Response(body, status, headers=dict(headers or {}), media_type=media)


def too_many_response(error: TooMany, media: str = JSON) -> Response:
    """The answer to who asks for too much: in either media type it says so by its status, for whoever stands between."""
    return errors_response([error], status_of(error), media, {"retry-after": str(error.retry_after_s)})


def status_of(error: TooMany) -> int:
    """503 if all clients together are too many, else 429."""
    return 503 if error.busy else 429
