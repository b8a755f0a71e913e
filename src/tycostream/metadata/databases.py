"""A database: a source in Hasura's words. Its address is only ever a reference to the environment, on either side."""

from __future__ import annotations

import re
from typing import Any, Final

from tycostream.config.names import identifier
from tycostream.config.yaml_text import Template
from tycostream.metadata.ledger import Entry

_KINDS: Final = ("postgres", "materialize", "risingwave")
_OURS: Final = frozenset({"materialize", "risingwave"})
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_WITH_DEFAULT: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*):-.*\}", re.DOTALL)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NO_SUCH: Final = "tycostream's connections have no such setting"
_WHY: Final = {
    "pool_settings": "tycostream keeps no pool: one connection streams, and a few answer what else is asked",
    "ssl_configuration": "libpq's own settings go into the url: ?sslmode=verify-full&sslrootcert=…",
    "use_prepared_statements": _NO_SUCH,
    "isolation_level": _NO_SUCH,
}
_WHY_CONFIGURATION: Final = {
    "read_replicas": "tycostream reads one server; name a replica's url if it should be that",
    "extensions_schema": "tycostream installs nothing",
    "connection_template": "each role reads from the same stream",
    "connection_set": "each role reads from the same stream",
}
_WHY_SOURCE: Final = {
    "functions": "functions are not called by this version; a view or a `query:` can hold what one selects",
    "native_queries": "write it as a source with `query:`",
    "logical_models": "the columns of a `query:` are read from the database",
    "stored_procedures": "procedures are not called by this version",
    "health_check": "/readyz says how each database is",
}


def kind_problem(kind: str) -> str:
    """Why a database of this kind is not carried, or nothing."""
    if kind in _KINDS:
        return ""
    return f"its kind is {kind}; tycostream reads {', '.join(_KINDS)}"


def database_of(source: Entry, name: str, kind: str) -> dict[str, Any]:
    """The entry below ``databases:``."""
    source.because(_WHY_SOURCE)
    with source.entry("customization") as customization:
        customization.because_all("a source has its own name here, and its own `custom_root_fields`")
        if customization.peek("naming_convention") == "hasura-default":
            customization.take("naming_convention")
    with source.entry("configuration") as configuration:
        configuration.because(_WHY_CONFIGURATION)
        url = _url(configuration, name)
    return {"engine": kind, "url": Template(url)}


def _url(configuration: Entry, name: str) -> str:
    with configuration.entry("connection_info") as info:
        info.because(_WHY)
        if info.peek("isolation_level") == "read-committed":  # the default
            info.take("isolation_level")
        if info.peek("use_prepared_statements") is False:
            info.take("use_prepared_statements")
        url = info.take("database_url")
        variable = url.get("from_env") if isinstance(url, dict) and set(url) == {"from_env"} else None
        if isinstance(variable, str) and _NAME.fullmatch(variable):
            return f"${{{variable}}}"
        variable = own_variable(name)
        if url is not None:
            said = (
                f"it may hold a password, so it was not copied: set {variable} in the environment, or in .env"
            )
            info.leave(said, "database_url")
    return f"${{{variable}}}"


def own_variable(database: str) -> str:
    """The variable that holds the url of a database for which none is named."""
    return f"{identifier(database).upper()}_URL"


def database_entry(database: Entry, name: str) -> dict[str, Any]:
    """The entry below ``sources`` of metadata, without tables."""
    kind = str(database.take("engine", "postgres"))
    if kind in _OURS:
        database.leave(f"Hasura knows no kind {kind}: only tycostream reads this entry", "engine")
    url = database.text("url") or ""
    found = _VARIABLE.fullmatch(url)
    variable = found[1] if found else own_variable(name)
    if found is None and (default := _WITH_DEFAULT.fullmatch(url)):
        variable = default[1]
        database.leave(f"Hasura knows no default of a variable: set {variable} for it", "url")
    elif found is None and url:
        database.leave(f"it may hold a password, so it was not copied: set {variable} for Hasura", "url")
    elif not url:
        database.leave(f"Hasura has no database of its own: set {variable} for it")
    database.because_all("a setting of tycostream, which Hasura does not have")
    database.close()
    return {
        "name": name,
        "kind": kind,
        "configuration": {"connection_info": {"database_url": {"from_env": variable}}},
    }
