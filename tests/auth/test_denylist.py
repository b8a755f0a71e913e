"""What was revoked, against asking every revocation of every session."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.auth.denylist import Denylist, concerns
from tycostream.auth.session import Session, Token
from tycostream.state.revocations import About, Revocation

FEW = st.sampled_from(["", "a", "b"])
TOKENS = st.builds(
    Token, st.sampled_from(["a", "b"]), FEW, st.none() | st.integers(0, 9).map(float), st.booleans()
)
VARIABLES = st.dictionaries(st.sampled_from(["user-id", "org"]), st.sampled_from(["a", "b"]))
SESSIONS = st.builds(Session, FEW, VARIABLES, st.none(), st.none() | TOKENS)
ABOUTS = st.builds(About, FEW, FEW, FEW, FEW, VARIABLES).filter(lambda about: about != About())
REVOCATIONS = st.builds(
    Revocation, st.uuids().map(str), ABOUTS, st.integers(0, 9).map(float), st.integers(0, 20).map(float)
)


def by_hand(about: About, session: Session, connection: str) -> bool:
    token, subject = (session.token.id, session.token.subject) if session.token else (None, "")
    users = {session.variables.get("user-id"), subject}
    return all(
        [
            not about.token or about.token == token,
            not about.user or about.user in users,
            not about.role or about.role == session.role,
            not about.connection or about.connection == connection,
            about.variables.items() <= session.variables.items(),
        ]
    )


@given(ABOUTS, SESSIONS, FEW)
def test_whom_a_revocation_concerns(about: About, session: Session, connection: str) -> None:
    assert concerns(about, session, connection) is by_hand(about, session, connection)


@given(st.lists(REVOCATIONS, max_size=20), st.lists(SESSIONS, max_size=10), st.integers(0, 20))
def test_whose_tokens_are_good_no_more(
    revocations: list[Revocation], sessions: list[Session], now: int
) -> None:
    denylist = Denylist()
    assert all(denylist.add(each) for each in revocations)
    assert not any(denylist.add(each) for each in revocations)
    for forgetting in (False, True):
        if forgetting:
            denylist.forget(now)
            assert len(denylist) == sum(each.until_s >= now for each in revocations)
        for session in sessions:
            token = session.token
            expected = token is not None and any(
                each.until_s >= now
                and not each.about.connection
                and by_hand(each.about, session, "")
                and (token.issued_at_s is None or token.issued_at_s <= each.made_s)
                for each in revocations
            )
            assert denylist.denies(session, now) is expected
    denylist.forget(100)
    assert len(denylist) == 0
    assert denylist._by == {}, "nothing is left"


def test_a_session_is_asked_of_those_alone_that_name_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    denylist, asked = Denylist(), 0

    def counted(*given: Any) -> bool:
        nonlocal asked
        asked += 1
        return concerns(*given)

    monkeypatch.setattr("tycostream.auth.denylist.concerns", counted)
    for n in range(100):
        for about in (
            About(f"t{n}"),
            About(user=f"u{n}"),
            About(role=f"r{n}"),
            About(variables={"org": f"{n}"}),
        ):
            denylist.add(Revocation(f"{about}", about, 5.0, 9.0))
    token = Token("t1", "u2", 7.0)
    assert not denylist.denies(Session("r3", {"org": "4", "team": "5"}, None, token), 8.0)
    assert denylist.denies(Session("r", {"org": "4"}, None, Token("t", "u", 5.0)), 8.0)
    assert asked == 1, "those that were issued later need not be asked either"
