"""Errors as HTTP answers, in Hasura's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from starlette.responses import Response

from tycostream.errors import RequestError

JSON: Final = "application/json"
GRAPHQL: Final = "application/graphql-response+json"


def errors_response(
    errors: Sequence[RequestError], status: int, media: str = JSON, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer that holds ``errors`` and nothing else."""
    body = msgspec.json.encode({"errors": [error.to_graphql() for error in errors]})
    return Response(body, status, headers=dict(headers or {}), media_type=media)
