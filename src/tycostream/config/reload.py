"""What differs between two configurations, and what of it a running server can take on. Pure.

``compare`` says what was added, changed and removed; ``App.reload`` applies that; ``report`` tells it to people.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from tycostream.config.model import Config
from tycostream.config.values import Model

# The socket is bound, and what we made in the databases has its name: these need another process.
# So does whether it speaks TLS, which clients have to know, and whether anybody is asked who he is: the address that a server without `auth` may have is another one.
_RESTART: Final = frozenset({"name", "server.host", "server.port", "server.tls", "auth", "state"})
_UNSPOKEN: Final = frozenset(
    {
        "server.cursor_key",
        "server.tls",
        "server.tls.cert",
        "server.tls.key",
        "auth",
        "auth.admin_secrets",
        "auth.jwt",
        "state",
    }
)  # secrets: that they changed is all that is told
# Of a source's settings those that its stream knows nothing of.
_DELIVERY: Final = (
    "live.log.",
    "live.linger",
    "live.coalesce",
    "relationships",
    "custom_root_fields.",
    "permissions",
)


@dataclass(frozen=True, slots=True)
class Section:
    """The entries of one section, by name. ``changed`` says which settings of an entry differ, as dotted paths."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: Mapping[str, tuple[str, ...]] | None = None

    @property
    def revised(self) -> Mapping[str, tuple[str, ...]]:
        """``changed``, never None."""
        return self.changed or {}

    @property
    def names(self) -> frozenset[str]:
        """Every entry that differs, however."""
        return frozenset((*self.added, *self.removed, *self.revised))


@dataclass(frozen=True, slots=True)
class Changes:
    """The difference of two configurations. Falsy if there is none."""

    sections: Mapping[str, Section]  # databases, enums, sources, and whatever else has entries by name
    settings: Mapping[str, tuple[Any, Any]]  # "server.port" → before, after
    explained: frozenset[tuple[str, str]] = (
        frozenset()
    )  # (source, path) that follows from a setting: not told twice

    def __bool__(self) -> bool:
        return bool(self.settings) or any(section.names for section in self.sections.values())

    @property
    def databases(self) -> Section:
        """The databases that differ."""
        return self.sections["databases"]

    @property
    def sources(self) -> Section:
        """The sources that differ."""
        return self.sections["sources"]

    @property
    def permissions(self) -> frozenset[str]:
        """The sources of which somebody may see something else than before."""
        return frozenset(
            name
            for name, paths in self.sources.revised.items()
            if any(path.startswith("permissions") for path in paths)
        )

    @property
    def roles(self) -> frozenset[str]:
        """The roles that inherit otherwise than before; who inherits from them does too."""
        return self.sections["inherited_roles"].names

    @property
    def types(self) -> frozenset[str]:
        """The names of the types that differ: all that a column can be of."""
        return frozenset(
            entry
            for name, section in self.sections.items()
            if name in ("enums", "types")
            for entry in section.names
        )

    @property
    def restart(self) -> tuple[str, ...]:
        """The settings that only another process can take on."""
        return tuple(path for path in self.settings if path in _RESTART)

    def only_delivered_otherwise(self, source: str) -> bool:
        """Whether nothing of a changed source differs but how it is delivered, and to what its rows lead: nothing is
        asked of its database."""
        return all(path.startswith(_DELIVERY) for path in self.sources.revised[source])


def compare(old: Config, new: Config) -> Changes:
    """What differs between ``old`` and ``new``."""
    sections: dict[str, Section] = {}
    settings: dict[str, tuple[Any, Any]] = {}
    for name in Config.model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, dict):
            sections[name] = _section(before, after)
        else:
            settings |= {path: (was, now) for path, was, now in _differences(name, before, after)}
    explained = frozenset(
        (source, path)
        for source in sections["sources"].revised
        for path, was, now in _differences("", old.sources[source], new.sources[source])
        if settings.get(path) == (was, now)
    )
    return Changes(sections, settings, explained)


def applicable(old: Config, new: Config) -> Config:
    """``new``, but with the settings of ``old`` where only another process could take on the new ones."""
    kept: dict[str, Any] = {"host": old.server.host, "port": old.server.port}
    if (old.server.tls is None) is not (new.server.tls is None):
        kept["tls"] = old.server.tls
    server = new.server.model_copy(update=kept)
    auth = new.auth if (old.auth is None) is (new.auth is None) else old.auth
    return new.model_copy(update={"name": old.name, "server": server, "auth": auth, "state": old.state})


def report(changes: Changes) -> list[str]:
    """A line for each thing that differs: ``+`` added, ``-`` removed, ``~`` changed, ``!`` waits for a restart."""
    lines = []
    for name, section in changes.sections.items():
        noun = name.removesuffix("s")
        lines += [f"+ {noun} {entry}" for entry in section.added]
        lines += [f"- {noun} {entry}" for entry in section.removed]
        for entry, paths in section.revised.items():
            told = [path for path in paths if (entry, path) not in changes.explained]
            if told:
                lines.append(f"~ {noun} {entry}" + (f": {', '.join(told)}" if any(told) else ""))
    for path, (before, after) in changes.settings.items():
        values = "" if path in _UNSPOKEN else f": {_spelled(before)} → {_spelled(after)}"
        lines.append(f"! {path}{values}; needs a restart" if path in _RESTART else f"~ {path}{values}")
    return lines


def _section(old: Mapping[str, Any], new: Mapping[str, Any]) -> Section:
    both = [name for name in new if name in old]
    changed = {name: tuple(path for path, _, _ in _differences("", old[name], new[name])) for name in both}
    return Section(
        tuple(name for name in new if name not in old),
        tuple(name for name in old if name not in new),
        {name: paths for name, paths in changed.items() if paths},
    )


def _differences(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """(path, before, after) of the smallest settings that differ. The order of columns counts: it is the rows' own."""

    def below(name: str) -> str:
        return f"{path}.{name}" if path else name

    if isinstance(old, Model) and type(old) is type(new):
        for name in type(old).model_fields:
            yield from _differences(below(name), getattr(old, name), getattr(new, name))
    elif isinstance(old, dict) and isinstance(new, dict):
        if old == new and list(old) != list(new):
            yield path, old, new
        for name in dict.fromkeys((*old, *new)):
            if (name in old) != (name in new):
                yield below(name), old.get(name), new.get(name)
            else:
                yield from _differences(below(name), old[name], new[name])
    elif old != new:
        yield path, old, new


def _spelled(value: Any) -> str:
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        return f"{seconds:g}s" if seconds >= 1 or not seconds else f"{seconds * 1000:g}ms"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Model):
        return (
            "{"
            + ", ".join(
                f"{name}: {_spelled(getattr(value, name))}" for name in sorted(value.model_fields_set)
            )
            + "}"
        )
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value)
