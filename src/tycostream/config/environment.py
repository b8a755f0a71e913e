"""What the environment says: ``${ENV}`` in values, ``.env`` beside the file, ``TYCO_*``, and 0.x's ``DATABASE_*``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tycostream.config.model import ServerConfig
from tycostream.config.tree import Place, Report
from tycostream.errors import Problem

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_INSIDE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_LINE: Final = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*)")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass
class Environment:
    """Variables, and the places of those that ``.env`` set."""

    values: dict[str, str]
    places: dict[str, Place] = field(default_factory=dict)

    def place(self, name: str) -> Place:
        """Where a variable was set."""
        return self.places.get(name, ("environment", 1, 1))

    def substitute(self, text: str) -> str:
        """``text`` with its ``${NAME}`` and ``${NAME:-default}`` replaced; ValueError says what is wrong."""
        return _REFERENCE.sub(self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        inside = _INSIDE.fullmatch(match[1])
        if not match[2] or inside is None:
            raise ValueError(
                f"{match[0]!r} is not a reference to a variable; write ${{NAME}} or ${{NAME:-default}}, "
                "or $${ for a literal ${"
            )
        name, default = inside[1], inside[2]
        if default is not None:
            return self.values.get(name) or default
        if name not in self.values:
            raise ValueError(
                f"environment variable {name} is not set; set it, here or in .env, or write ${{{name}:-default}}"
            )
        return self.values[name]


def with_dotenv(environ: Mapping[str, str], folder: Path, report: Report) -> Environment:
    """The environment over what ``.env`` in ``folder`` says."""
    path = folder / ".env"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return Environment(dict(environ))
    except (OSError, UnicodeDecodeError) as error:
        why = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error.strerror}"
        report.problems.append(Problem(str(path), 1, 1, "", why))
        return Environment(dict(environ))
    environment = Environment({})
    for number, line in enumerate(text.splitlines(), 1):
        try:
            pair = _dotenv_line(line.strip())
        except ValueError as error:
            report.problems.append(Problem(str(path), number, 1, "", str(error)))
            continue
        if pair and pair[0] not in environ:
            environment.values[pair[0]] = pair[1]
            environment.places[pair[0]] = (str(path), number, 1)
    environment.values.update(environ)
    return environment


def _dotenv_line(line: str) -> tuple[str, str] | None:
    if not line or line.startswith("#"):
        return None
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError("is not NAME=value; write one variable per line, and # before a comment")
    return match[1], _dotenv_value(match[2])


def _dotenv_value(text: str) -> str:
    if text[:1] not in ("'", '"'):
        return re.split(r"(?:^|\s)#", text, maxsplit=1)[0].strip()
    body = r"'([^']*)'" if text[0] == "'" else r'"((?:[^"\\]|\\.)*)"'
    match = re.match(rf"{body}\s*(?:#.*)?$", text)
    if match is None:
        raise ValueError(f"a value that starts with {text[0]} must end with it, on the same line")
    if text[0] == "'":
        return match[1]
    return re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), match[1])


def override_server(tree: dict[str, Any], environment: Environment, report: Report) -> None:
    """``TYCO_PORT`` and its like over ``server``; problems with them will name the variable."""
    names = {f"TYCO_{name.upper()}": name for name in ServerConfig.model_fields}
    server = tree.get("server")
    if server is not None and not isinstance(server, dict):
        return  # the loader reports its shape
    given = dict(server or {})
    for variable, value in environment.values.items():
        if variable in names:
            name = names[variable]
            is_list = ServerConfig.model_fields[name].annotation == tuple[str, ...]
            given[name] = [part.strip() for part in value.split(",") if part.strip()] if is_list else value
            report.values["server", name] = environment.place(variable)
            report.labels["server", name] = variable
            report.broken.discard(("server", name))
        elif variable.startswith("TYCO_") and (
            close := difflib.get_close_matches(variable, list(names), 1, 0.9)
        ):
            file, line, column = environment.place(variable)
            message = f"is not a setting; did you mean {close[0]}?"
            report.problems.append(Problem(file, line, column, variable, message))
    if given:
        tree["server"] = given


# What 0.x assumed for Materialize, and the like for the others: port, user, password, database.
_DEFAULTS: Final = {
    "materialize": ("6875", "materialize", "materialize", "materialize"),
    "risingwave": ("4566", "root", "", "dev"),
    "postgres": ("5432", "postgres", "", "postgres"),
}
_KEYWORDS: Final = {
    "DATABASE_HOST": "host",
    "DATABASE_PORT": "port",
    "DATABASE_USER": "user",
    "DATABASE_PASSWORD": "password",
    "DATABASE_NAME": "dbname",
}


def database_from_environment(environment: Environment, report: Report) -> dict[str, Any] | None:
    """The database ``main`` from tycostream 0.x's ``DATABASE_*`` variables; None where there are none."""
    get = environment.values.get
    if not any(get(name) for name in (*_KEYWORDS, "DATABASE_URL")):
        return None
    engine = (get("DATABASE_ENGINE") or "materialize").lower()
    for key, variable in (("engine", "DATABASE_ENGINE"), ("url", "DATABASE_URL")):
        report.values["databases", "main", key] = environment.place(variable)
        report.labels["databases", "main", key] = variable
    url = get("DATABASE_URL")
    if url:
        return {"engine": engine, "url": url}
    port = get("DATABASE_PORT") or ""
    if port and not (port.isascii() and port.isdigit() and 0 < int(port[:9]) <= 65535):
        file, line, column = environment.place("DATABASE_PORT")
        report.problems.append(Problem(file, line, column, "DATABASE_PORT", "must be a port, 1 to 65535"))
    defaults = dict(
        zip(("port", "user", "password", "dbname"), _DEFAULTS.get(engine, _DEFAULTS["postgres"]), strict=True)
    )
    settings = {"host": "localhost", **defaults}
    settings |= {word: value for name, word in _KEYWORDS.items() if (value := get(name))}
    if mode := _ssl_mode(get("DATABASE_SSL") or ""):
        settings["sslmode"] = mode
    text = " ".join(f"{word}={conninfo_value(value)}" for word, value in settings.items() if value)
    return {"engine": engine, "url": text}


def _ssl_mode(value: str) -> str:
    plain = {
        "true": "require",
        "1": "require",
        "yes": "require",
        "false": "disable",
        "0": "disable",
        "no": "disable",
    }
    return plain.get(value.lower(), value)


def conninfo_value(value: str) -> str:
    """A value of a libpq keyword string, quoted where it must be."""
    if re.fullmatch(r"[^\s'\\=]+", value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
