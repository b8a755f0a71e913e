"""What a server remembers of tokens: bounded, and never behind a revocation that it heard of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tycostream.auth import known_tokens
from tycostream.auth.known_tokens import KnownTokens
from tycostream.state.tokens import ApiToken

TOKEN = ApiToken("t1", "one", "user", {}, 0.0)


def test_what_was_put_is_there_until_it_is_revoked() -> None:
    known = KnownTokens()
    assert known.get("d") is None
    assert known.put("d", TOKEN, 5.0) is TOKEN
    assert known.get("d") is TOKEN
    assert known.revoke(["t1", "t9"]) == ["t1", "t9"]
    assert known.get("d") is None
    assert known.revoke(["t9", "t1"]) == []  # no news


def test_a_look_up_that_crosses_the_news_of_a_revocation() -> None:
    known = KnownTokens()
    known.revoke(["t1"])
    assert known.put("d", TOKEN, 5.0) == replace(TOKEN, revoked_s=5.0)


def test_bearers_are_told_and_those_who_left_are_not() -> None:
    known = KnownTokens()
    told: list[str] = []
    known.watch("t1", lambda: told.append("a"))
    known.watch("t2", lambda: told.append("b"))
    leave = known.watch("t1", lambda: told.append("c"))
    assert known.borne == {"t1", "t2"}
    leave()
    leave()
    known.revoke(["t1"])
    assert told == ["a"]
    known.watch("t1", lambda: told.append("late"))  # its session began as the token was revoked
    assert told == ["a", "late"]


def test_who_ends_its_watch_while_it_is_told() -> None:
    known = KnownTokens()
    ends: list[Callable[[], None]] = []

    def leave() -> None:
        for end in ends:
            end()

    def leave_too() -> None:
        leave()

    ends += [known.watch("t1", leave), known.watch("t1", leave_too)]
    known.revoke(["t1"])
    assert known.borne == frozenset()


def test_the_least_lately_shown_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_tokens, "_TOKENS_MAX", 2)
    monkeypatch.setattr(known_tokens, "_REVOKED_MAX", 2)
    known = KnownTokens()
    for name in ("a", "b"):
        known.put(name, replace(TOKEN, id=name), 0.0)
    known.get("a")
    known.put("c", replace(TOKEN, id="c"), 0.0)
    assert [known.get(name) is not None for name in ("a", "b", "c")] == [True, False, True]
    known.revoke(["a", "b", "c"])
    assert [known.get(name) for name in ("a", "c")] == [None, None]
    assert known.revoke(["a"]) == ["a"]  # remembered too seldom to count


def test_one_token_put_twice_is_held_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_tokens, "_TOKENS_MAX", 1)
    known = KnownTokens()
    known.put("d", TOKEN, 0.0)
    known.put("d", TOKEN, 0.0)
    known.put("e", replace(TOKEN, id="t2"), 0.0)
    assert known.get("d") is None
    known.revoke(["t1", "t2"])
    assert known.get("e") is None


def test_another_life_forgets_all_but_the_bearers() -> None:
    known = KnownTokens()
    known.put("d", TOKEN, 0.0)
    known.revoke(["t2"])
    known.watch("t1", lambda: None)
    known.forget()
    assert known.get("d") is None
    assert known.borne == {"t1"}
    assert known.put("e", replace(TOKEN, id="t2"), 0.0).revoked_s is None
