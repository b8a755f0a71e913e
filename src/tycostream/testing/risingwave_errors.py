"""How RisingWave words its errors: what failed, and under it the chain of causes.

Only objects that are not there, or there already, have an SQLSTATE of their own; all else is XX000, so that a client
can tell most errors only by their text.
"""

from __future__ import annotations

from typing import Final

from tycostream.testing.pgwire_messages import WireError

INTERNAL: Final = "XX000"
_HEADS: Final = {
    b"Q": "Failed to run the query",
    b"E": "Failed to execute the statement",
}


class Caused(WireError):
    """An error by its causes, outermost first."""

    def __init__(self, code: str, *causes: str, fatal: bool = False) -> None:
        super().__init__(code, ": ".join(causes), fatal=fatal)
        self.causes = causes


def internal(text: str) -> Caused:
    """What RisingWave calls an internal error, most mistakes of a client included."""
    return Caused(INTERNAL, f"internal error: {text}")


def catalog(text: str, code: str = INTERNAL) -> Caused:
    """An error that a catalogue look-up gives, and cursors too."""
    return Caused(code, "Catalog error", text)


def not_found(kind: str, name: str) -> Caused:
    """42704."""
    return catalog(f'{kind} "{name}" does not exist', "42704")


def exists(kind: str, name: str) -> Caused:
    """42710."""
    return catalog(f"{kind} with name {name} exists", "42710")


def permission() -> Caused:
    """The rights are missing; which, it does not say."""
    return Caused(INTERNAL, "Permission denied: Do not have the privilege")


def report(error: WireError, kind: bytes) -> WireError:
    """The error as a client sees it that sent a message of this kind."""
    head = _HEADS.get(kind, "Failed to prepare the statement")
    if error.code == "57014":
        error = internal("Cancelled by user")
    elif error.code == "42601":
        error = Caused(INTERNAL, f"sql parser error: {error.message}")
    elif not isinstance(error, Caused):
        error = Caused(error.code, error.message)
    causes = error.causes
    if len(causes) == 1:
        return WireError(error.code, f"{head}\n\nCaused by:\n  {causes[0]}", fatal=error.fatal)
    lines = "".join(f"\n  {place}: {cause}" for place, cause in enumerate(causes, 1))
    return WireError(
        error.code,
        f"{head}\n\nCaused by these errors (recent errors listed first):{lines}",
        fatal=error.fatal,
    )
