"""References, .env and overrides."""

from __future__ import annotations

from pathlib import Path

import pytest

from tycostream.config.environment import Environment, conninfo_value
from tycostream.config.load import credentials, load, loads
from tycostream.errors import ConfigError

TEXT = "databases: {main: {url: 'host=db'}}\nsources: {a: {}}\n"


def problems(text: str, environ: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text, "t.yaml", environ)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", "one"),
        ("x${A}y${A}", "xoneyone"),
        ("${A:-two}", "one"),
        ("${B:-two}", "two"),
        ("${EMPTY:-two}", "two"),
        ("${EMPTY}", ""),
        ("${B:-}", ""),
        ("$${A}", "${A}"),
        ("$A $$ $", "$A $$ $"),
    ],
)
def test_references(text: str, expected: str) -> None:
    assert Environment({"A": "one", "EMPTY": ""}).substitute(text) == expected


def test_references_give_numbers_and_booleans_to_the_settings_that_want_them() -> None:
    text = TEXT + (
        'server:\n  port: "${PORT}"\n  graphiql: ${UI}\n  operations_max: ${N:-7}\n  outbox_bytes_max: ${B}\n'
    )
    found = loads(text, environ={"PORT": "80", "UI": "False", "B": "2048"}).server
    assert (found.port, found.graphiql, found.operations_max, found.outbox_bytes_max) == (80, False, 7, 2048)


def test_a_missing_variable_is_a_problem_at_its_place() -> None:
    assert problems("databases: {main: {url: '${URL}'}}\nsources: {a: {comment: '${'}}", {}) == [
        "t.yaml:1:25: databases.main.url: environment variable URL is not set; set it, here or in .env, or write "
        "${URL:-default}",
        "t.yaml:2:24: sources.a.comment: '${' is not a reference to a variable; write ${NAME} or ${NAME:-default}, "
        "or $${ for a literal ${",
    ]


def test_overrides_win_and_are_named_in_problems() -> None:
    environ = {"TYCO_PORT": "81", "TYCO_CORS": "https://a, https://b", "TYCO_LOG_LEVEL": "debug"}
    server = loads(TEXT + "server: {port: x}", environ=environ).server
    assert (server.port, server.log_level) == (81, "debug")
    assert server.cors.origins == ("https://a", "https://b")
    assert problems(
        TEXT, {"TYCO_PORT": "x", "TYCO_HOST": "0.0.0.0", "TYCO_SOMETHING_ELSE": "1", "TYCO_LOG_LEVLE": "1"}
    ) == [
        "environment:1:1: TYCO_HOST: '0.0.0.0' can be reached from other machines, and there is no `auth:`: "
        "anybody could read every source; write one, listen on 127.0.0.1, or set server.insecure_public: true "
        "to allow it",
        "environment:1:1: TYCO_LOG_LEVLE: is not a setting; did you mean TYCO_LOG_LEVEL?",
        "environment:1:1: TYCO_PORT: is a text ('x'), but must be a whole number",
    ]


def test_a_problem_in_a_list_names_the_variable_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("\nDATABASE_URL=mysql://secret@x\n")
    (tmp_path / "t.yaml").write_text("sources: {a: {}}\nserver: {cursor_key: ['${EMPTY}']}\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "t.yaml", {"EMPTY": ""})
    first, second = [str(problem).removeprefix(f"{tmp_path}/") for problem in caught.value.problems]
    assert first == "t.yaml:2:23: server.cursor_key[0]: is empty; a secret needs characters"
    assert second.startswith(".env:2:1: DATABASE_URL: is not a libpq connection string")
    assert "secret@" not in second


DOTENV = """
# a comment
URL=host=db
export NAME = plain # why
SINGLE='a # b'
DOUBLE="x\\"y\\nz" # why
EMPTY=
HASH=a#b
REAL=file
"""


def test_dotenv_is_read_and_the_real_environment_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(DOTENV)
    names = ["NAME", "SINGLE", "DOUBLE", "EMPTY", "HASH", "REAL"]
    sources = "\n".join(f'  {name}: {{comment: "${{{name}}}"}}' for name in names)
    (tmp_path / "t.yaml").write_text(f'databases: {{main: {{url: "${{URL}}"}}}}\nsources:\n{sources}\n')
    loaded = load(tmp_path / "t.yaml", {"REAL": "real"})
    assert loaded.databases["main"].url == "host=db"
    assert [source.comment for source in loaded.sources.values()] == [
        "plain",
        "a # b",
        'x"y\nz',
        "",
        "a#b",
        "real",
    ]


def test_mistakes_in_dotenv_have_places(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A B\nQ='x\nTYCO_PORT=y\n")
    (tmp_path / "t.yaml").write_text(TEXT + "foo: 1\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "t.yaml", {})
    found = [str(problem).removeprefix(f"{tmp_path}/") for problem in caught.value.problems]
    assert found[0].startswith("t.yaml:3:1: foo: is not a setting")
    assert found[1:] == [
        ".env:1:1: is not NAME=value; write one variable per line, and # before a comment",
        ".env:2:1: a value that starts with ' must end with it, on the same line",
        ".env:3:1: TYCO_PORT: is a text ('y'), but must be a whole number",
    ]
    (tmp_path / ".env").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"\.env:1:1: is not UTF-8"):
        load(tmp_path / "t.yaml", {})


@pytest.mark.parametrize("value", ["plain", "", "a b", "it's", "back\\slash", "a=b", "tab\tnew\nline"])
def test_conninfo_values_read_back(value: str) -> None:
    from psycopg.conninfo import conninfo_to_dict

    assert conninfo_to_dict(f"password={conninfo_value(value)} host=h") == {"password": value, "host": "h"}


# -- credentials --------------------------------------------------------------------------------------------------


def test_credentials_are_what_file_and_dotenv_say_now(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(
        "databases:\n  a: {url: 'host=a password=${PASSWORD}'}\n  b: {engine: postgres, embedded: true}\nsources: {x: {database: a}}\n"
    )
    (tmp_path / ".env").write_text("PASSWORD=old\n")
    assert credentials(file, {}) == {"a": "host=a password=old"}
    (tmp_path / ".env").write_text("PASSWORD=new\n")
    assert credentials(file, {}) == {"a": "host=a password=new"}
    assert credentials(file, {"PASSWORD": "real"}) == {"a": "host=a password=real"}
    (tmp_path / ".env").write_text("")
    with pytest.raises(ConfigError, match="variable PASSWORD is not set"):
        credentials(file, {})
    file.unlink()
    with pytest.raises(ConfigError, match="there is no such file"):
        credentials(file, {"PASSWORD": "real"})


def test_credentials_of_0x(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("sources: {x: {}}\n")
    environ = {"DATABASE_HOST": "db", "DATABASE_PASSWORD": "two words"}
    assert credentials(file, environ) == {
        "main": "host=db port=6875 user=materialize password='two words' dbname=materialize"
    }
