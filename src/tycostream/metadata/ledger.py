"""Nothing is dropped in silence: a document is read through entries, and what nobody took is listed.

An ``Entry`` is one mapping of a document. Whoever translates it takes its keys one by one; when the entry is closed, every
key that was not taken is written into the ledger, with a reason if there is one for that key. A translation that forgets
a key therefore lists it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final

from tycostream.config.messages import kind
from tycostream.errors import TycoError

Path = tuple[str | int, ...]
# What says nothing: a key with such a value is as good as absent.
_NOTHING: Final[tuple[object, ...]] = (None, [], {}, ())


@dataclass(frozen=True, slots=True)
class Left:
    """One thing that was not carried over: where it stands in the document, what that is called, and why."""

    path: Path
    name: str
    reason: str

    @property
    def pointer(self) -> str:
        """The path as ``$.sources[0].tables[3]``."""
        return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)


@dataclass(slots=True)
class Ledger:
    """What was left, in the order in which it was met."""

    left: list[Left] = field(default_factory=list)

    def ordered(self, document: object) -> list[Left]:
        """By its place in the document, from top to bottom."""
        return sorted(self.left, key=lambda left: _place(left.path, document))


def _place(path: Path, document: object) -> tuple[int, ...]:
    place: list[int] = []
    here = document
    for part in path:
        if isinstance(here, Mapping) and part in here:
            place.append(list(here).index(part))
            here = here[part]
        elif isinstance(here, Sequence) and isinstance(part, int) and part < len(here):
            place.append(part)
            here = here[part]
        else:
            break
    return tuple(place)


class Untranslatable(Exception):
    """A part that has no counterpart, inside something that is carried whole or not at all."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Entry:
    """One mapping of a document, at ``path``; ``name`` is what people call that place. Use it as a context manager."""

    def __init__(self, value: object, ledger: Ledger, path: Path = (), name: str = "") -> None:
        if not isinstance(value, Mapping):
            raise malformed(name or "the document", value, "a mapping")
        self._left: dict[str, Any] = dict(value)
        self._reasons: dict[str, str] = {}
        self._reason = "this version does not know it"
        self._ledger = ledger
        self.path = path
        self.name = name

    def __enter__(self) -> Entry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()

    def close(self) -> None:
        """List what nobody took."""
        for key, value in self._left.items():
            if not _is_nothing(value):
                self._leave(self._reasons.get(key, self._reason), (key,), _members(value))
        self._left = {}

    def because(self, reasons: Mapping[str, str]) -> None:
        """Why keys are not carried, should they be there."""
        self._reasons |= reasons

    def because_all(self, reason: str) -> None:
        """Why every other key is not carried."""
        self._reason = reason

    def leave(self, reason: str, *below: str | int) -> None:
        """List this entry, or what stands below it."""
        self._leave(reason, below)

    def skip(self, reason: str) -> None:
        """List this entry as a whole, and none of its keys."""
        self._leave(reason, ())
        self._left = {}

    def _leave(self, reason: str, below: Path, members: str = "") -> None:
        named = ".".join([*filter(None, [self.name]), *map(str, below)])
        self._ledger.left.append(Left((*self.path, *below), named + members, reason))

    def __contains__(self, key: str) -> bool:
        return self._left.get(key) not in _NOTHING

    @property
    def rest(self) -> list[str]:
        """The keys that nobody has taken yet."""
        return list(self._left)

    def peek(self, key: str) -> Any:
        """The value of a key, which stays to be taken."""
        return self._left.get(key)

    def take(self, key: str, default: Any = None) -> Any:
        """The value of a key, whatever it is."""
        value = self._left.pop(key, None)
        return default if value is None else value

    def text(self, key: str) -> str | None:
        """A text, or None where there is none."""
        found: str | None = self._typed(key, str, "a text")
        return found

    def flag(self, key: str) -> bool:
        """A boolean; False where there is none."""
        return bool(self._typed(key, bool, "true or false"))

    def items(self, key: str) -> Sequence[Any]:
        """A list; empty where there is none."""
        return self._typed(key, (list, tuple), "a list") or []

    def texts(self, key: str) -> list[str]:
        """A list of texts; empty where there is none."""
        found = self.items(key)
        for i, item in enumerate(found):
            if not isinstance(item, str):
                raise malformed(f"{self._at(key)}[{i}]", item, "a text")
        return list(found)

    def _typed(self, key: str, wanted: type | tuple[type, ...], what: str) -> Any:
        value = self.take(key)
        if value is not None and not isinstance(value, wanted):
            raise malformed(self._at(key), value, what)
        return value

    def entry(self, key: str) -> Entry:
        """The mapping under a key; an empty one where there is none."""
        return Entry(self.take(key, {}), self._ledger, (*self.path, key), self._at(key))

    def entries(self, key: str, named: Callable[[Mapping[str, Any]], object]) -> Iterator[Entry]:
        """The mappings of the list under a key; ``named`` says what to call one."""
        for i, item in enumerate(self.items(key)):
            if not isinstance(item, Mapping):
                raise malformed(f"{self._at(key)}[{i}]", item, "a mapping")
            called = named(item)
            name = f"{self._at(key)}.{i if called is None else called}"
            yield Entry(item, self._ledger, (*self.path, key, i), name)

    def mappings(self, key: str) -> Iterator[tuple[str, Entry]]:
        """The mappings by name under a key."""
        found = self.take(key, {})
        if not isinstance(found, Mapping):
            raise malformed(self._at(key), found, "a mapping")
        for name, item in found.items():
            yield name, Entry(item or {}, self._ledger, (*self.path, key, name), f"{self._at(key)}.{name}")

    def _at(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key


def _is_nothing(value: object) -> bool:
    """Whether a value says nothing: it is empty, or all that is in it is."""
    return value in _NOTHING or (isinstance(value, Mapping) and all(map(_is_nothing, value.values())))


def _members(value: object) -> str:
    """`` (big, small)``: what a list's members are called."""
    if not isinstance(value, (list, tuple)):
        return ""
    titles = [
        next((one[key] for key in ("name", "role") if isinstance(one.get(key), str)), None)
        for one in value
        if isinstance(one, Mapping)
    ]
    named = [title for title in titles if title]
    return f" ({', '.join(named)})" if named else ""


def malformed(where: str, value: object, wanted: str) -> TycoError:
    """A document that is not what it should be at all."""
    return TycoError(
        "metadata-invalid",
        f"{where} is {kind(value)}, but must be {wanted}",
        hint="export the metadata anew: `hasura metadata export`, or export_metadata",
    )
