"""What can go wrong, said once: every error carries a code, a detail and a hint that can be acted on.

TycoError
├── ConfigError      the configuration; carries all problems at once, each with file:line:column
├── UpstreamError    a database; carries the action that follows: RETRY, RESYNC or FAIL
├── StateError       what we keep ourselves (``state:``) cannot be read or written
└── RequestError     a client's request; carries the GraphQL path and Hasura's code
    └── TooMany      refused for how much is asked, not for what; carries when to try again
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class TycoError(Exception):
    """An error with a remedy.

    ``code`` is stable and made for programs, ``message`` is one sentence for people, ``detail`` says what was
    seen, ``hint`` says what to do. ``str()`` gives all of them, in that order.
    """

    def __init__(self, code: str, message: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail
        self.hint = hint

    @property
    def told(self) -> str:
        """Message and detail, for where the hint has a place of its own."""
        return f"{self.message}\nDetail: {self.detail}" if self.detail else self.message

    def __str__(self) -> str:
        return f"{self.told}\nHint: {self.hint}" if self.hint else self.told


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration, at its place: ``file:line:column: path: message``."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        path = f"{self.path}: " if self.path else ""
        return f"{self.file}:{self.line}:{self.column}: {path}{self.message}"


class ConfigError(TycoError):
    """The configuration is wrong; ``problems`` lists every mistake found, in file order."""

    def __init__(self, problems: Sequence[Problem], *, hint: str = "") -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        super().__init__(
            "config-invalid",
            f"the configuration has {count} mistake{'s' if count != 1 else ''}",
            detail="\n".join(str(problem) for problem in self.problems),
            hint=hint,
        )

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems]
        if self.hint:
            lines.append(f"Hint: {self.hint}")
        return "\n".join(lines)


class Action(Enum):
    """What follows an upstream's error."""

    RETRY = "retry"  # the connection or the server: try again later, resume
    RESYNC = "resync"  # history is gone: take a fresh snapshot and tell the net difference
    FAIL = "fail"  # only a person can mend it: the source fails until it is mended


class UpstreamError(TycoError):
    """A database refused, vanished or sent what it must not; ``action`` says what the feed does next."""

    def __init__(self, code: str, message: str, *, action: Action, detail: str = "", hint: str = "") -> None:
        super().__init__(code, message, detail=detail, hint=hint)
        self.action = action


class StateError(TycoError):
    """What ``state:`` names cannot be read or written: ``state-unavailable`` may pass, every other code is for a person."""


class RequestError(TycoError):
    """A client's request is refused. Rendered as Hasura does: message, and extensions with path and code.

    ``path`` is a JSON path such as ``$.selectionSet.trades.args.where``. ``limit`` is the name of the setting that
    refuses it, if one does: it is counted.
    """

    def __init__(
        self, code: str, message: str, *, path: str = "$", detail: str = "", hint: str = "", limit: str = ""
    ) -> None:
        super().__init__(code, message, detail=detail, hint=hint)
        self.path = path
        self.limit = limit

    def to_graphql(self) -> dict[str, object]:
        """The entry of a response's ``errors`` list."""
        extensions: dict[str, object] = {"path": self.path, "code": self.code}
        if self.detail:
            extensions["detail"] = self.detail
        if self.hint:
            extensions["hint"] = self.hint
        return {"message": self.message, "extensions": extensions}


class TooMany(RequestError):
    """A client asks too often, or for too much at once.

    ``retry_after_s``: whole seconds, at least 1. ``busy``: it is all clients together that are too many.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        limit: str,
        advice: str = "",
        retry_after_s: float = 1,
        busy: bool = False,
    ) -> None:
        self.retry_after_s = max(1, math.ceil(retry_after_s))
        self.busy = busy
        told = advice or f"try again in {self.retry_after_s} s"
        super().__init__(code, message, hint=f"{told}; limits.{limit} is the limit", limit=limit)

    def to_graphql(self) -> dict[str, object]:
        """See RequestError; ``extensions.retry_after`` is for who sees no header."""
        error = super().to_graphql()
        assert isinstance(error["extensions"], dict)
        error["extensions"]["retry_after"] = self.retry_after_s
        return error
