"""Every close code that a client may see, what it means, and whether to connect again."""

from __future__ import annotations

from typing import Final

CLOSE_CODES: Final[dict[int, tuple[str, bool]]] = {
    1000: ("the client ended the connection", False),
    1002: ("WebSocket protocol error", False),
    1006: ("the connection was lost, or a ping had no answer", True),
    1007: ("a text frame was not UTF-8", False),
    1009: ("a message was larger than server.message_bytes_max", False),
    1011: ("an error inside the server", True),
    1012: ("the server restarts, or asks anew who you are: connect again", True),
    1013: ("who you are cannot be said for now: what must be asked does not answer", True),
    4400: ("invalid message: the reason says what is wrong", False),
    4401: ("an operation before the connection was acknowledged", False),
    4403: ("the credentials were refused, have expired or were revoked: the reason says which", True),
    4406: ("the client offered no subprotocol that this server speaks", False),
    4408: ("no connection_init in time", True),
    4409: ("an operation with this id is running already", False),
    4429: (
        "too many connections, or wrong secrets: the reason says which; or connection_init was sent twice",
        False,
    ),
}
