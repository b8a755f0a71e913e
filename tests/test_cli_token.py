"""`tycostream token` as people and scripts use it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tycostream.cli import cli
from tycostream.errors import TycoError
from tycostream.state.opening import open_state
from tycostream.state.tokens import ApiToken, add

YAML = """
databases: {main: {url: host=nowhere}}
sources: {trades: {permissions: {trader: {columns: [id]}}}}
auth: {}
state: "STATE"
"""


class Cli:
    """The commands, in a folder of their own."""

    def __init__(self, config: Path) -> None:
        self.config = config

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli, ["token", *arguments, "--config", str(self.config)])

    def ok(self, *arguments: str) -> Any:
        """What a command says, as JSON."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def refused(self, *arguments: str) -> TycoError:
        error = self.run(*arguments).exception
        assert isinstance(error, TycoError), error
        return error


@pytest.fixture(params=["sqlite", "postgres"])
def tokens(request: pytest.FixtureRequest, tmp_path: Path) -> Cli:
    url = f"sqlite:///{tmp_path}/state.db"
    if request.param == "postgres":
        url = request.getfixturevalue("database")
    config = tmp_path / "tycostream.yaml"
    config.write_text(YAML.replace("STATE", url))
    return Cli(config)


@pytest.fixture
def lone(tmp_path: Path) -> Cli:
    config = tmp_path / "tycostream.yaml"
    config.write_text(YAML.replace("STATE", f"sqlite:///{tmp_path}/state.db"))
    return Cli(config)


def test_a_token_from_its_making_to_its_end(tokens: Cli) -> None:
    made = tokens.ok(
        "create",
        "nightly",
        "--role",
        "trader",
        "-v",
        "X-Hasura-Desk-Id=fx=1",
        "-v",
        "team=a b",
        "--expires",
        "90d",
    )
    secret = made.pop("token")
    assert re.fullmatch(r"tyco_[A-Za-z0-9_-]{43}", secret)
    expires = datetime.fromisoformat(made["expires"])
    assert abs(expires - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=1)
    assert made["variables"] == {"x-hasura-desk-id": "fx=1", "x-hasura-team": "a b"}
    assert (made["role"], made["state"], made["used"], made["revoked"]) == ("trader", "active", None, None)
    assert tokens.ok("list") == [made]
    assert tokens.ok("revoke", "nightly") == [{"id": made["id"], "name": "nightly", "revoked_now": True}]
    assert tokens.ok("list") == []
    (revoked,) = tokens.ok("list", "--all")
    assert revoked["state"] == "revoked"
    assert revoked["revoked"] is not None
    assert tokens.ok("revoke", made["id"], "nightly") == [
        {"id": made["id"], "name": "nightly", "revoked_now": False}
    ]


def test_the_secret_is_shown_once_and_kept_nowhere(lone: Cli, tmp_path: Path) -> None:
    result = lone.run("create", "ci", "--role", "trader")
    assert result.exit_code == 0
    secret = result.stdout.strip()
    assert re.fullmatch(r"tyco_\S+", secret)  # and nothing else: TOKEN=$(…)
    assert "role trader, does not expire; it is shown only now" in result.stderr
    assert secret not in lone.run("list", "--all").output
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("state.db*"))
    assert secret.removeprefix("tyco_").encode() not in kept
    assert sha256(secret.encode()).hexdigest().encode() in kept


def test_a_table_for_people(lone: Cli) -> None:
    assert lone.run("list").stdout == "there is no token that is good; --all lists the others\n"
    assert lone.run("list", "--all").stdout == "there is no token\n"
    made = lone.ok("create", "[red]ci", "--role", "trader", "-v", "desk-id=fx")
    head, row = lone.run("list").stdout.splitlines()
    assert head.split() == ["id", "name", "role", "variables", "created", "expires", "last", "used"]
    assert row.split()[:4] == [made["id"], "[red]ci", "trader", "desk-id=fx"]
    assert lone.run("revoke", made["id"]).stdout == f"token {made['id']} ([red]ci): revoked\n"
    assert lone.run("revoke", made["id"]).stdout == f"token {made['id']} ([red]ci): was revoked before\n"
    assert lone.run("list", "--all").stdout.splitlines()[1].split()[-1] == "revoked"


def test_a_role_that_sees_nothing_is_said(lone: Cli) -> None:
    warning = "no source has permissions for the role traider: who shows this token sees nothing"
    assert warning in lone.run("create", "x", "--role", "traider").stderr
    for role in ("trader", "admin"):
        assert "no source" not in lone.run("create", "x", "--role", role).stderr


def test_revoking_is_all_or_nothing(lone: Cli) -> None:
    one, two, three = (lone.ok("create", name, "--role", "trader") for name in ("a", "b", "b"))
    missing = lone.refused("revoke", one["id"], "nobody")
    assert (missing.code, missing.message) == ("token-missing", "there is no token 'nobody'")
    unclear = lone.refused("revoke", "a", "b")
    assert unclear.message == f"2 tokens have the name 'b': {two['id']}, {three['id']}"
    assert len(lone.ok("list")) == 3
    lone.ok("revoke", two["id"])
    assert [each["id"] for each in lone.ok("revoke", "b", "a")] == [three["id"], one["id"]]


async def past(url: str) -> None:
    store = open_state(url)
    await store.write(add(ApiToken("t1", "brief", "trader", {}, 1000.0, expires_s=2000.0), "a digest"))
    await store.close()


def test_a_token_that_has_expired_is_listed_with_the_others(lone: Cli) -> None:
    asyncio.run(past(f"sqlite:///{lone.config.parent}/state.db"))
    assert lone.ok("list") == []
    assert [each["state"] for each in lone.ok("list", "--all")] == ["expired"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2097-01-31", "2097-01-31T00:00:00+00:00"), ("2097-01-31T12:00:00+02:00", "2097-01-31T10:00:00+00:00")],
)
def test_an_expiry_as_a_date(lone: Cli, text: str, expected: str) -> None:
    assert lone.ok("create", "x", "--role", "trader", "--expires", text)["expires"] == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "x"], "Missing option"),
        (["create", "--role", "trader"], "Missing argument"),
        (["create", " ", "--role", "trader"], "the name must be printable text"),
        (["create", "x", "--role", "a\x1b[31m"], "the role must be printable text"),
        (["create", "x" * 201, "--role", "a"], "the name must be printable text"),
        (["create", "x", "--role", "a", "-v", "desk"], "is not NAME=VALUE"),
        (["create", "x", "--role", "a", "-v", "x-hasura-=1"], "is not NAME=VALUE"),
        (["create", "x", "--role", "a", "-v", "X-Hasura-Role=admin"], "is no session variable; see --role"),
        (["create", "x", "--role", "a", "-v", "x-hasura-admin-secret=1"], "is no session variable"),
        (["create", "x", "--role", "a", "-v", "d=1", "-v", "X-Hasura-D=2"], "is there twice"),
        (["create", "x", "--role", "a", "-v", "d=" + "x" * 4097], "has more than 4096 characters"),
        (["create", "x", "--role", "a", "--expires", "soon"], "is neither a duration (90d) nor a date"),
        (["create", "x", "--role", "a", "--expires", "2020-01-01"], "is past already"),
        (["create", "x", "--role", "a", "--expires", "0s"], "is past already"),
        (["revoke"], "Missing argument"),
    ],
)
def test_wrong_usage_is_an_exit_code_of_its_own(lone: Cli, arguments: Sequence[str], said: str) -> None:
    result = lone.run(*arguments)
    assert result.exit_code == 2
    assert said in " ".join(re.sub(r"[│╭╮╰╯─]", " ", result.stderr).split())
    assert lone.ok("list", "--all") == []


def test_without_a_state_it_says_what_to_write(lone: Cli) -> None:
    lone.config.write_text(
        YAML.replace('state: "STATE"', "").replace("auth: {}", "auth: {unauthorized_role: x}")
    )
    error = lone.refused("list")
    assert error.code == "state-missing"
    assert "state: sqlite:///tycostream.db" in error.hint


def test_a_process_of_its_own_fails_with_one_and_no_traceback(lone: Cli) -> None:
    folder = lone.config.parent
    (folder / "state.db").write_text("no database" * 1000)
    command = [sys.executable, "-m", "tycostream", "token", "list", "--config", str(lone.config)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=dict(os.environ), check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: the state cannot be read or written\nDetail: ")
    assert "Traceback" not in done.stderr


def test_help_has_examples() -> None:
    for command in ("create", "list", "revoke"):
        assert "Example: " in CliRunner().invoke(cli, ["token", command, "--help"]).stdout
