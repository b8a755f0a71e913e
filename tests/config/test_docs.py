"""docs/configuration.md names every setting, at its place and with its default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.auth.tokens import RSA, pem
from tycostream.config.environment import _DEFAULTS, _KEYWORDS
from tycostream.config.json_schema import json_schema
from tycostream.config.limits import RoleLimits
from tycostream.config.load import loads

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "configuration.md").read_text()
SCHEMA = json_schema()
SECTIONS = {
    "The file": "Config",
    "databases": "DatabaseConfig",
    "sources": "SourceConfig",
    "column_config": "ColumnConfig",
    "fields": "FieldConfig",
    "relationships": "RelationshipConfig",
    "auth": "AuthConfig",
    "jwt": "JwtConfig",
    "claims_map": "ClaimConfig",
    "header": "HeaderConfig",
    "audit": "AuditConfig",
    "permissions": "PermissionConfig",
    "allowlist": "AllowConfig",
    "introspection": "IntrospectionConfig",
    "custom_root_fields": "CustomRootFieldsConfig",
    "root field": "RootFieldConfig",
    "live": "LiveConfig",
    "limits": "LimitsConfig",
    "per_role": "OwnLimits",
    "server": "ServerConfig",
    "cors": "CorsConfig",
    "tls": "TlsConfig",
}


def model(name: str) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMA if name == "Config" else SCHEMA["$defs"][name]
    return found


def documented(section: str) -> dict[str, str]:
    """Setting → default, as the section's table says."""
    match = re.search(rf"^##+ {section}$(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert match, section
    rows = re.findall(r"^\| `([a-z_.]+)` \| (.+?) \| .+ \|$", match[1], re.MULTILINE)
    return dict(rows)


def spelled(entry: dict[str, Any], required: bool) -> str:
    """A default as the page writes it."""
    default = entry.get("default")
    if required:
        return "required"
    if "default" not in entry and ("$ref" in entry or "anyOf" in entry):
        return "see below"
    if default is None:
        return "–" if "default" in entry else "`{}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, int) and "64MiB" in entry.get("examples", ()):
        return f"`{default // 2**20}MiB`" if default % 2**20 == 0 else f"`{default // 2**10}KiB`"
    if isinstance(default, list):
        return f"`[{', '.join(default)}]`"
    return '`""`' if default == "" else f"`{default}`"


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_is_documented_with_its_default(section: str) -> None:
    shape = model(SECTIONS[section])
    required = (
        shape.get("required", ())
        if section in ("fields", "permissions", "relationships", "tls", "audit")
        else ()
    )
    expected = {name: spelled(entry, name in required) for name, entry in shape["properties"].items()}
    if section == "per_role":  # of its own: the others are those of `limits`
        expected = {name: each for name, each in expected.items() if name not in RoleLimits.model_fields}
    if section == "live":
        expected |= {f"log.{name}": spelled(e, False) for name, e in model("LogConfig")["properties"].items()}
    assert documented(section) == expected


def test_every_model_has_its_section() -> None:
    assert {"Config", *SCHEMA["$defs"]} - {
        "LogConfig",
        "RoleLimits",
        "EngineName",
        "Consistency",
        "JwtType",
        "ClaimsFormat",
        "HeaderType",
        "ForwardedHeader",
        "TlsVersion",
    } == set(SECTIONS.values())


def test_the_variables_of_0x_are_documented_with_their_defaults() -> None:
    rows = dict(re.findall(r"^\| `(DATABASE_\w+)` \| (.+?) \|$", TEXT, re.MULTILINE))
    defaults = dict(zip(("port", "user", "password", "dbname"), _DEFAULTS["materialize"], strict=True))
    for variable, word in _KEYWORDS.items():
        assert rows[variable] == f"`{defaults.get(word, 'localhost')}`"
    assert rows["DATABASE_ENGINE"] == "`materialize`"


@pytest.mark.parametrize(
    "page", ["docs/configuration.md", "docs/engines.md", "docs/auth.md", "docs/limits.md", "README.md"]
)
def test_the_yaml_of_the_documentation_loads(page: str) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    environ = {
        "DATABASE_URL": "postgresql://u@mz:6875/materialize",
        "CURSOR_KEY": "x",
        "ADMIN_SECRET": "s" * 16,
    }
    environ |= dict.fromkeys(("ADMIN_SECRET", "JWT_SECRET"), "0123456789abcdef0123456789abcdef")
    environ["JWT_PUBLIC_KEY"] = pem(RSA)
    environ |= dict.fromkeys(("MATERIALIZE_URL", "RISINGWAVE_URL"), "postgresql://u@db/x")
    for block in blocks:
        whole = (
            block
            if "databases:" in block
            else "databases: {main: {engine: materialize, url: host=x}}\n" + block
        )
        loads(whole if "sources:" in whole else whole + "sources: {a: {}}\n", page, environ)


def test_what_the_failure_table_quotes_is_what_the_server_says() -> None:
    page = (ROOT / "docs" / "engines.md").read_text()
    quoted = set(re.findall(r"`((?:[a-zA-Z]+ ){2,}[a-z]+)`", page[page.index("### Limits") :]))
    assert len(quoted) >= 8
    said = "\n".join(path.read_text() for path in sorted((ROOT / "src" / "tycostream").rglob("*.py")))
    assert {text for text in quoted if text not in said} == set()
