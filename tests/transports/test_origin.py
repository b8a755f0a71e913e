"""Who may talk to a server without a password."""

from __future__ import annotations

import pytest

from tycostream.transports.origin import refusal


@pytest.mark.parametrize(
    ("host", "origin", "bound_to", "allowed"),
    [
        ("127.0.0.1:4000", None, "127.0.0.1", True),
        ("localhost:4000", "http://localhost:4000", "127.0.0.1", True),
        ("[::1]:4000", "http://[::1]:4000", "::1", True),
        ("localhost:4000", "http://evil.example", "127.0.0.1", False),
        ("localhost:4000", "http://localhost:3000", "127.0.0.1", False),
        ("localhost:4000", "null", "127.0.0.1", False),
        ("evil.example:4000", "http://evil.example:4000", "127.0.0.1", False),  # DNS rebinding
        ("evil.example:4000", None, "127.0.0.1", False),
        (None, None, "127.0.0.1", False),
        ("api.example", None, "0.0.0.0", True),
        ("api.example", "https://api.example", "0.0.0.0", True),
        ("api.example", "https://other.example", "0.0.0.0", False),
        ("localhost:4000", "http://app.example", "127.0.0.1", True),
    ],
)
def test_refusal(host: str | None, origin: str | None, bound_to: str, allowed: bool) -> None:
    found = refusal(host, origin, bound_to=bound_to, allowed_origins=["http://app.example"])
    assert (found is None) is allowed
