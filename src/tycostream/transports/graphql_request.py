"""A GraphQL request out of an HTTP one: what is taken, in which form, and what no page may have a browser send unasked.

Nothing here changes anything, but answers are worth asking for, and asking costs. So a POST has a type that no form
can have, and a GET is authenticated by a cookie only if it has what no page can add without a preflight.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec
from starlette.requests import Request

from tycostream.errors import RequestError
from tycostream.transports.origin import foreign_and_unnamed, unasked
from tycostream.transports.responses import GRAPHQL, JSON
from tycostream.transports.wire.documents import NoDocument, document_of
from tycostream.transports.wire.sse import EVENT_STREAM

_DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)
_TYPES: Final = (JSON, "application/graphql+json")
_PARAMETERS: Final = (
    ("query", str),
    ("documentId", str),
    ("operationName", str),
    ("variables", dict),
    ("extensions", dict),
)


class Refused(Exception):
    """A request that HTTP itself refuses."""

    def __init__(self, status: int, error: RequestError, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error
        self.headers = headers or {}


def _bad(status: int, message: str, headers: Mapping[str, str] | None = None) -> Refused:
    return Refused(status, RequestError("bad-request", message), headers)


def guard(request: Request, cookies: frozenset[str]) -> None:
    """Refuse a GET that a page of another site had a browser send. ``cookies``: those that say who it is."""
    if request.method == "POST":
        return  # of a type that takes a preflight
    headers = request.headers
    if foreign_and_unnamed(headers.get("origin"), headers.get("sec-fetch-site")):
        said = "pages of other sites may not have a browser ask without naming themselves"
        raise Refused(403, RequestError("origin-not-allowed", said))
    if request.state.cookies and cookies & request.cookies.keys() and unasked(headers.items()):
        error = RequestError(
            "preflight-required",
            "a GET with a cookie that authenticates could have been sent by any page",
            hint="send the header GraphQL-Require-Preflight: 1 with it, or use POST",
        )
        raise Refused(403, error)


class Accepted(NamedTuple):
    """What a client takes as an answer, by Accept."""

    media: str
    """The media type of queries' results and of what is refused by a status."""

    stream: bool = False
    """Whether subscriptions may be answered, by a stream of events."""

    only_stream: bool = False
    """Whether whatever was understood is answered so."""


def accepted(request: Request) -> Accepted:
    """What the client takes. Some name every type that they know: to them a query is answered in JSON."""
    accept = request.headers.get("accept", "*/*").lower()
    stream = EVENT_STREAM in accept
    if GRAPHQL in accept:
        return Accepted(GRAPHQL, stream)
    if JSON in accept or "*/*" in accept or "application/*" in accept or not accept.strip():
        return Accepted(JSON, stream)
    if stream:
        return Accepted(GRAPHQL, stream=True, only_stream=True)
    if request.method == "GET" and "text/html" in accept:
        return Accepted(JSON)
    raise _bad(406, f"this server answers with {GRAPHQL}, {JSON} or {EVENT_STREAM}")


async def body_of(request: Request, bytes_max: int) -> bytes:
    """The body of a POST that says it is JSON; Refused if it does not, or is too large."""
    _check_type(request)
    return await _body(request, bytes_max)


async def parameters_of(request: Request, bytes_max: int) -> dict[str, Any]:
    """``operationName``, ``variables`` and ``extensions``, each of its type or absent; ``query``, see ``document_of``."""
    if request.method == "POST":
        parameters = _decoded(await body_of(request, bytes_max), "the body")
        if isinstance(parameters, list):
            raise _bad(400, "batches are not supported: send one operation a request")
    else:
        parameters = dict(request.query_params)
        for name, _ in _PARAMETERS:
            if len(request.query_params.getlist(name)) > 1:
                raise _bad(400, f"{name} is there several times")
        for name in ("variables", "extensions"):
            if name in parameters:
                parameters[name] = _decoded(parameters[name].encode(), name)
    if not isinstance(parameters, dict):
        raise _bad(400, "the body is not a JSON object")
    for name, kind in _PARAMETERS:
        if parameters.get(name) is not None and not isinstance(parameters[name], kind):
            raise _bad(400, f"{name} is not {'a string' if kind is str else 'an object'}")
    try:
        document = document_of(parameters)
    except NoDocument as problem:
        raise _bad(400, str(problem)) from None
    if not document:
        raise _bad(400, "the query is missing")
    return parameters | {"query": document}


def _check_type(request: Request) -> None:
    declared = request.headers.getlist("content-type")
    content_type, _, more = (declared[0] if len(declared) == 1 else "").partition(";")
    content_type = content_type.strip().lower()
    if content_type not in _TYPES:  # a form of another site can post anything but this without asking
        raise _bad(415, f"POST a body of type {JSON}, not {content_type[:80] or 'none'}")
    for parameter in filter(None, (part.strip().lower() for part in more.split(";"))):
        if parameter.partition("=")[0].strip() == "charset" and parameter.partition("=")[2].strip(
            ' "'
        ) not in (
            "utf-8",
            "utf8",
        ):
            raise _bad(415, f"a body of type {JSON} is UTF-8")
    coding = request.headers.get("content-encoding", "identity")
    if coding.strip().lower() not in ("identity", ""):  # a few bytes may unpack to any number
        raise _bad(415, f"send the body as it is, not {coding[:80]}", {"accept-encoding": "identity"})


async def _body(request: Request, bytes_max: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > bytes_max:
            raise _bad(413, f"the body has more than {bytes_max} bytes", {"connection": "close"})
        chunks.append(chunk)
    return b"".join(chunks)


def _decoded(text: bytes, name: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError, ArithmeticError):
        raise _bad(400, f"{name} is not valid JSON") from None
