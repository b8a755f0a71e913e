"""A session's parameters: what SET, SHOW, RESET and the start-up packet's ``options`` do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

from tycostream.testing.pgwire_messages import WireError
from tycostream.testing.sql_text import interval_seconds

_UNITS: Final = {
    "": 1,
    "b": 1,
    "kb": 2**10,
    "mb": 2**20,
    "gb": 2**30,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}


def size_bytes(text: str) -> int:
    """``1GB``, ``512 kB``, ``1048576``; ValueError otherwise."""
    found = re.fullmatch(r"\s*(\d+)\s*([a-zA-Z]*)\s*", text)
    if found is None or found[2].lower() not in _UNITS:
        raise ValueError(f"{text!r} is not a size")
    return int(found[1]) * _UNITS[found[2].lower()]


@dataclass(frozen=True, slots=True)
class Parameters:
    """A product's parameters: their defaults, and which clients are told of.

    ``fixed``: those with one possible value, by name in lower case, and what is accepted as its spelling.
    """

    defaults: Mapping[str, str]
    reported: Sequence[str]
    fixed: Mapping[str, Sequence[str]]
    read_only: Set[str]


class Settings:
    """One session's parameters; names in any case."""

    def __init__(self, parameters: Parameters, given: Mapping[str, str]) -> None:
        canonical = {name.lower(): name for name in parameters.defaults}
        self._parameters = parameters
        self._initial = {
            **parameters.defaults,
            **{canonical.get(k.lower(), k): v for k, v in given.items()},
        }
        self._values = dict(self._initial)

    def _name(self, name: str) -> str:
        for known in self._initial:
            if known.lower() == name.lower():
                return known
        raise WireError("42704", f'unrecognized configuration parameter "{name}"')

    def get(self, name: str) -> tuple[str, str]:
        """The parameter's proper name and its value; 42704."""
        known = self._name(name)
        return known, self._values[known]

    def __getitem__(self, name: str) -> str:
        return self.get(name)[1]

    def set(self, name: str, value: str) -> str:
        """Set it and give its proper name; 42704 for unknown ones, 22023 for values that cannot be."""
        known = self._name(name)
        accepted = self._parameters.fixed.get(known.lower())
        if known in self._parameters.read_only:
            raise WireError("55P02", f'parameter "{known}" cannot be changed now')
        if accepted is not None:
            if value.strip().lower() not in accepted:
                raise WireError("22023", f'invalid value for parameter "{known}": "{value}"')
            return known
        if known.endswith("result_size"):
            try:
                size_bytes(value)
            except ValueError:
                raise WireError("22023", f'invalid value for parameter "{known}": "{value}"') from None
        self._values[known] = value
        return known

    def reset(self, name: str) -> None:
        """Back to what it was when the session began."""
        known = self._name(name)
        self._values[known] = self._initial[known]

    def reset_all(self) -> None:
        """Back to the beginning."""
        self._values = dict(self._initial)

    def start(self, parameters: Mapping[str, str]) -> list[str]:
        """Take what the start-up packet says; gives the complaints, which are no errors here."""
        complaints = []
        for name, value in [*parameters.items(), *_options(parameters.get("options", ""))]:
            if name in ("user", "options", "replication") or name.startswith("_pq_"):
                continue
            try:
                self.set(name, value)
            except WireError as error:
                complaints.append(f"startup setting {name} not set: {error.message}")
        self._initial = dict(self._values)
        return complaints

    def reported(self, name: str) -> bool:
        """Whether clients are told of a change."""
        return name in self._parameters.reported

    def report(self) -> dict[str, str]:
        """The parameter statuses of a new connection."""
        return {name: self._values[name] for name in self._parameters.reported}

    @property
    def idle_timeout_s(self) -> float | None:
        """idle_in_transaction_session_timeout; a bare number is milliseconds, 0 is off."""
        text = self["idle_in_transaction_session_timeout"].strip()
        seconds = int(text) / 1000 if text.isdigit() else interval_seconds(text)
        return seconds or None


def _options(text: str) -> list[tuple[str, str]]:
    """``-c name=value --name=value``, where a backslash keeps a space."""
    words = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r"(?:\\.|\S)+", text)]
    found = []
    for i, word in enumerate(words):
        body = words[i + 1] if word == "-c" and i + 1 < len(words) else ""
        if word.startswith("--") or (word.startswith("-c") and len(word) > 2):
            body = word[2:]
        name, sign, value = body.partition("=")
        if sign:
            found.append((name.replace("-", "_"), value))
    return found
