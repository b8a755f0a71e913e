"""What `state` may be, and that a message about it holds no password."""

from __future__ import annotations

from pathlib import Path

import pytest

from tycostream.config.load import loads, mistakes
from tycostream.config.reload import applicable, compare, report

BASE = "databases: {main: {url: host=x}}\nsources: {a: {}}\n"
AUTH = "auth: {}\n"


@pytest.mark.parametrize(
    "state",
    ["sqlite:///tycostream.db", "sqlite:////tmp/x.db", "postgresql://u:p@h/db", "postgres:///db?host=/run"],
)
def test_places_that_are_taken(state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = loads(f'{BASE}{AUTH}state: "{state}"\n', environ={})
    assert config.state == state
    assert state not in repr(config)
    assert list(tmp_path.iterdir()) == []  # reading a configuration makes no file


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("mysql://u:hunter22@h/db", "is no place for state: sqlite:///tycostream.db, or postgresql://user@host/database"),
        ("sqlite://hunter22.db", "is no place for state"),
        ("hunter22", "is no place for state"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:////nowhere/at/all.db", "names a file in a folder that is not there"),
        ("sqlite:////tmp", "names a folder, not a file"),
    ],
)  # fmt: skip
def test_places_that_are_none(state: str, said: str) -> None:
    (found,) = mistakes(f'{BASE}{AUTH}state: "{state}"\n', "t.yaml")
    assert f"t.yaml:4:8: state: {said}" in str(found)
    assert "hunter22" not in str(found)


def test_tokens_alone_can_let_somebody_in_but_not_without_auth() -> None:
    (found,) = mistakes(f"{BASE}state: sqlite:///t.db\n", "t.yaml")
    assert "state: holds tokens, but without `auth` nobody is asked for one; write `auth: {}`" in str(found)
    (found,) = mistakes(BASE + AUTH, "t.yaml")
    assert "auth: lets nobody in; write admin_secrets" in str(found)
    assert "or `state:` for API tokens" in str(found)
    assert not mistakes(f"{BASE}{AUTH}state: sqlite:///t.db\n", "t.yaml")


def test_another_state_waits_for_a_restart_and_is_not_spelled_out() -> None:
    old = loads(f"{BASE}{AUTH}state: sqlite:///t.db\n", environ={})
    new = loads(f"{BASE}{AUTH}state: postgresql://u:hunter22@h/db\n", environ={})
    changes = compare(old, new)
    assert changes.restart == ("state",)
    assert report(changes) == ["! state; needs a restart"]
    assert applicable(old, new) == old
