"""Whatever is shown, it is somebody's or it is refused: no other error, and nobody without a secret or a token of ours."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.auth.tokens import SECRET, token
from tycostream.auth.api_token import digest, new_secret
from tycostream.auth.authenticator import Authenticator
from tycostream.auth.credentials import Credentials, of_payload
from tycostream.auth.session import Session
from tycostream.auth.tokens import Tokens
from tycostream.clock import SystemClock
from tycostream.config.auth import AuthConfig
from tycostream.errors import RequestError
from tycostream.observe.events import AuthenticationFailed, Event
from tycostream.state.opening import open_state
from tycostream.state.tokens import ApiToken, add

ADMIN = "the secret of the admin"
GOOD_JWT = token()
API_TOKEN = new_secret()
_HEADERS = "authorization Authorization cookie x-token x-hasura-admin-secret x-hasura-access-key X-Hasura-Role x-hasura-user-id x-hasura-"
_SCRAPS = [
    "Bearer ",
    "bearer",
    "Basic ",
    "tyco_",
    " ",
    "",
    "session=",
    "; ",
    '"',
    "=",
    ".",
    "\x00",
    "ü",
    "\udc80",
    "reader",
]
_NEARLY = [GOOD_JWT[:-5], GOOD_JWT.split(".")[0] + ".", API_TOKEN[:-1], ADMIN[:-1], "x" * 20_000]
NAMES = st.sampled_from([*_HEADERS.split(), ""])
PIECES = st.sampled_from([*_SCRAPS, *_NEARLY])
TEXTS = st.lists(PIECES, max_size=6).map("".join) | st.text(max_size=30)
VALUES = (
    TEXTS
    | st.none()
    | st.integers()
    | st.floats()
    | st.lists(st.text(max_size=3), max_size=2)
    | st.dictionaries(TEXTS, TEXTS, max_size=2)
)
CONFIG = AuthConfig.model_validate(
    {
        "admin_secrets": [ADMIN],
        "jwt": [
            {"type": "HS256", "key": SECRET},
            {"type": "HS256", "key": SECRET, "header": {"type": "Cookie", "name": "session"}},
            {"type": "HS256", "key": SECRET, "header": {"type": "CustomHeader", "name": "X-Token"}},
        ],
    }
)


def authenticated(folder: Path, credentials: Any) -> tuple[Session | None, list[Event]]:
    """Who that is, if it is somebody; any error but a refusal is raised."""
    events: list[Event] = []

    async def ask() -> Session | None:
        store = open_state(f"sqlite:///{folder}/state.db")
        await store.write(add(ApiToken("t1", "one", "reader", {}, 0.0), digest(API_TOKEN) or ""))
        authenticator = Authenticator(
            CONFIG, SystemClock(), events.append, Tokens(store, SystemClock(), events.append)
        )
        try:
            return await authenticator.authenticate(credentials())
        except RequestError:
            return None
        finally:
            await authenticator.close()

    return asyncio.run(ask()), events


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(st.tuples(NAMES | TEXTS, VALUES), max_size=4))
def test_headers_of_any_kind(tmp_path: Path, pairs: list[tuple[str, object]]) -> None:
    session, events = authenticated(tmp_path, lambda: Credentials(pairs))
    assert session is None
    shown = repr(events)
    assert ADMIN[:-1] not in shown
    assert API_TOKEN[5:-1] not in shown
    assert [type(event) for event in events] == [AuthenticationFailed]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    payload=st.dictionaries(
        NAMES | st.just("headers") | TEXTS, VALUES | st.dictionaries(NAMES, VALUES, max_size=3), max_size=4
    )
)
def test_payloads_of_any_kind(tmp_path: Path, payload: dict[str, object]) -> None:
    def credentials() -> Credentials:
        return of_payload(payload).over(Credentials(()))

    session, _ = authenticated(tmp_path, credentials)
    assert session is None


@pytest.mark.parametrize(
    ("pairs", "role"),
    [
        ([("Authorization", f"Bearer {API_TOKEN}")], "reader"),
        ([("authorization", f"bEaReR   {API_TOKEN}  ")], "reader"),
        ([("Authorization", f"Bearer {GOOD_JWT}")], "user"),
        ([("Cookie", f"a=b; session={GOOD_JWT}")], "user"),
        ([("X-Hasura-Admin-Secret", ADMIN)], "admin"),
    ],
)
def test_that_the_good_ones_are_let_in(tmp_path: Path, pairs: list[tuple[str, object]], role: str) -> None:
    session, _ = authenticated(tmp_path, lambda: Credentials(pairs))
    assert session is not None
    assert session.role == role
