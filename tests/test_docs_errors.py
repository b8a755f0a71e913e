"""docs/errors.md lists every code that a client may see."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.graphql.limit_cases import LIMITS
from tycostream.auth.denied import Reason
from tycostream.config.limits import LimitsConfig, OwnLimits
from tycostream.graphql.documents import MISFIT
from tycostream.transports.close_codes import CLOSE_CODES

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "errors.md").read_text()


def codes_in_code() -> set[str]:
    """The first argument of every RequestError, and of every Denied and TooMany, which are some."""
    found = set()
    for path in (ROOT / "src" / "tycostream").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("RequestError", "Denied", "TooMany")
            ):
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.add(first.value)
    return found


def test_every_code_of_an_operation_is_documented() -> None:
    documented = re.findall(r"^\| `([A-Za-z_-]+)` \|", TEXT, re.MULTILINE)
    assert set(documented) == codes_in_code()
    assert len(documented) == len(set(documented))


def test_every_reason_of_a_failed_authentication_is_documented() -> None:
    reasons = re.findall(r"`([a-z-]+)`", TEXT[TEXT.index("## Why nobody was let in") :].split("\n## ")[0])
    assert sorted(reasons) == sorted(reason.value for reason in Reason)


def test_what_comes_beside_data_is_documented() -> None:
    assert f"the code `{MISFIT}`" in TEXT


def test_what_is_said_of_each_limit_of_clients_is_documented() -> None:
    settings = LimitsConfig.model_fields.keys() | OwnLimits.model_fields.keys()
    of_clients = {
        name for name in settings if "_per_" in name or name.startswith(("connections", "queries_"))
    }
    rows = TEXT[TEXT.index("### Too much") : TEXT.index("## Close codes")]
    assert set(re.findall(r"`limits\.(\w+)`", rows)) == of_clients
    assert set(re.findall(r"`server\.(\w+)`", rows)) == {"operations_max", "message_bytes_max"}


def test_every_close_code_is_documented() -> None:
    rows = re.findall(r"^\| (\d{4}) \| (.+) \| (yes|no) \|$", TEXT, re.MULTILINE)
    assert {int(code): (meaning, again == "yes") for code, meaning, again in rows} == CLOSE_CODES


def limit_messages() -> dict[str, set[str]]:
    """Setting → the messages that the page has for it."""
    found: dict[str, set[str]] = {}
    for message, setting in re.findall(r"^\| (.+?) \| `(\w+_limit)` \| .+ \|$", TEXT, re.MULTILINE):
        found.setdefault(setting, set()).add(message)
    return found


def test_every_limit_is_documented_with_its_message() -> None:
    assert limit_messages() == {setting: set(messages) for setting, (_, messages) in LIMITS.items()}
