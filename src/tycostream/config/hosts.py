"""Whether a server may listen where it is told to."""

from __future__ import annotations

from tycostream.config.auth import AuthConfig
from tycostream.config.loopback import is_loopback
from tycostream.config.model import ServerConfig


def public_host_problem(server: ServerConfig, auth: AuthConfig | None) -> str:
    """Why a server must not listen where it is told to, or nothing. For the command line's ``--host`` too."""
    if auth is not None or server.insecure_public or is_loopback(server.host):
        return ""
    return (
        f"{server.host!r} can be reached from other machines, and there is no `auth:`: anybody could "
        "read every source; write one, listen on 127.0.0.1, or set server.insecure_public: true to allow it"
    )
