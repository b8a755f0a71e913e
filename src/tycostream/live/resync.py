"""Sources that come back together: their differences are told in one set per position, when all have arrived. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tycostream.rows import Batch, Change, Position


class Resync:
    """The differences of sources that share one history, held until none is missing.

    Told one by one they would show states that never were: a transaction over two tables half of which is there.
    """

    def __init__(self) -> None:
        self.missing: set[str] = set()
        self._arrived: dict[str, tuple[Position, Sequence[Change]]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._arrived

    def expect(self, names: Iterable[str]) -> None:
        """Start anew, with these sources missing."""
        self.missing, self._arrived = set(names), {}

    def arrived(self, name: str, position: Position, changes: Sequence[Change]) -> None:
        """A missing source's difference is known."""
        self.missing.discard(name)
        self._arrived[name] = position, changes

    def forget(self, name: str) -> None:
        """Nobody waits for this source: it failed, or needs no difference."""
        self.missing.discard(name)
        self._arrived.pop(name, None)

    @property
    def idle(self) -> bool:
        """Whether nothing is held or missing."""
        return not (self._arrived or self.missing)

    @property
    def due(self) -> bool:
        """Whether something is held and nothing is missing."""
        return bool(self._arrived) and not self.missing

    def release(self) -> list[Batch]:
        """Everything held, in order of positions; what is still missing comes alone later."""
        held, self._arrived, self.missing = self._arrived, {}, set()
        positions = sorted({position for position, _ in held.values()})
        return [
            Batch(
                position,
                {name: changes for name, (at, changes) in held.items() if at == position},
                resync=True,
            )
            for position in positions
        ]
