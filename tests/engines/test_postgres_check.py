"""``check``: every finding with the command that mends it, each against the real server."""

from __future__ import annotations

import secrets
from typing import Any

import psycopg

from tests.engines.test_postgres import db, engine_of, source
from tycostream.engines.base import Finding

__all__ = ["db"]  # fixtures


def named(findings: Any, name: str) -> Finding:
    (found,) = [finding for finding in findings if finding.subject == f"database main {name}"]
    assert isinstance(found, Finding)
    return found


async def test_a_server_that_is_as_it_should_be(db, database) -> None:
    await db.execute("CREATE TABLE a (id int PRIMARY KEY)")
    findings = await engine_of(database).check([source("a")])
    assert [finding.subject.removeprefix("database main ") for finding in findings][:9] == [
        "server-version",
        "standby",
        "wal-level",
        "encoding",
        "replication-right",
        "no-free-slot",
        "no-free-sender",
        "wal-sender-timeout",
        "slot-wal-bound",
    ]
    assert all(finding.ok for finding in findings if finding.subject.startswith("database"))


async def test_a_role_and_timeouts(db, database, postgres) -> None:
    role = f"role_{secrets.token_hex(4)}"
    name = str(psycopg.conninfo.conninfo_to_dict(database)["dbname"])
    await db.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    try:
        await db.execute(f"ALTER DATABASE {name} SET wal_sender_timeout = '1s'")
        findings = await engine_of(postgres.url_of(name, role), slot="kept").check([])
        right = named(findings, "replication-right")
        assert (right.ok, right.fatal, right.hint) == (False, True, f"ALTER ROLE {role} REPLICATION;")
        timeout = named(findings, "wal-sender-timeout")
        assert (timeout.ok, timeout.fatal, timeout.message) == (False, False, "wal_sender_timeout is 1s")
        assert timeout.hint.startswith("ALTER SYSTEM SET wal_sender_timeout = '60s';")
        bound = named(findings, "slot-wal-bound")
        assert (bound.ok, bound.fatal, bound.message) == (False, False, "max_slot_wal_keep_size is -1")
        assert bound.hint.startswith("ALTER SYSTEM SET max_slot_wal_keep_size = '20GB';")
        assert named(findings, "slot").message == "tycostream will make replication slot kept"
    finally:
        await db.execute(f"DROP ROLE {role}")


async def test_a_table_with_generated_columns_another_collation_and_hidden_rows(
    db, database, postgres
) -> None:
    role = f"role_{secrets.token_hex(4)}"
    name = str(psycopg.conninfo.conninfo_to_dict(database)["dbname"])
    await db.execute(
        'CREATE TABLE a (id int PRIMARY KEY, v text COLLATE "default", twice int GENERATED ALWAYS AS (id * 2) STORED)'
    )
    await db.execute(f"CREATE ROLE {role} LOGIN REPLICATION PASSWORD '{role}'; GRANT SELECT ON a TO {role}")
    try:
        findings = await engine_of(database).check([source("a")])
        said = {
            finding.message: finding
            for finding in findings
            if finding.subject == "source a" and not finding.ok
        }
        (generated,) = [text for text in said if "generated" in text]
        assert generated.startswith("twice: ")
        assert not said[generated].fatal
        await db.execute("ALTER TABLE a ENABLE ROW LEVEL SECURITY")
        findings = await engine_of(postgres.url_of(name, role)).check([source("a")])
        (hidden,) = [finding for finding in findings if "row security" in finding.message]
        assert (hidden.fatal, hidden.hint) == (True, f"ALTER ROLE {role} BYPASSRLS;")
        await db.execute(hidden.hint)
        findings = await engine_of(postgres.url_of(name, role)).check([source("a")])
        assert [finding for finding in findings if "row security" in finding.message] == []
    finally:
        await db.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
