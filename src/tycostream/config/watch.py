"""Files that are watched for other contents.

They are looked at a few times a second rather than subscribed to. Editors replace a file by renaming another over it,
Kubernetes swaps a link two folders up, and network and container file systems send no events at all: each of these
loses a subscription to the file that was, and none of them fools somebody who looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

from tycostream.clock import Clock

_LOOK_S: Final = 0.2
_QUIET_S: Final = 0.1  # contents that stay the same for so long are whole: an editor may write in pieces
_RESTLESS_MAX: Final = 50  # looks at a file that never rests before it is taken as it is
_FRESH_S: Final = 5.0  # a file written so recently may be written again within one tick of its time stamp

_Stamp = tuple[int, int, int]


class Watch:
    """Tells which of some files have other contents than before. What they hold now counts as known."""

    def __init__(self, paths: Sequence[Path], clock: Clock) -> None:
        self._paths = tuple(paths)
        self._clock = clock
        self._stamps: dict[Path, tuple[_Stamp, bytes]] = {}
        self._known = self._look()

    async def changed(self) -> set[Path]:
        """Wait until files have changed and come to rest; gives them. One that went, or came, has changed."""
        while True:
            await self._clock.sleep(_LOOK_S)
            found = self._look()
            if found == self._known:
                continue
            for _ in range(_RESTLESS_MAX):
                before = found
                await self._clock.sleep(_QUIET_S)
                found = self._look()
                if found == before:
                    break
            known, self._known = self._known, found
            if changed := {path for path in self._paths if found[path] != known[path]}:
                return changed

    def _look(self) -> dict[Path, bytes | None]:
        return {path: self._digest(path) for path in self._paths}

    def _digest(self, path: Path) -> bytes | None:
        """What stands for the contents of a file; None if it cannot be read."""
        try:
            status = path.stat()
            stamp = status.st_mtime_ns, status.st_size, status.st_ino
            known = self._stamps.get(path)
            settled = self._clock.time() - status.st_mtime > _FRESH_S
            if known is not None and known[0] == stamp and settled:
                return known[1]
            digest = blake2b(path.read_bytes(), digest_size=16).digest()
        except OSError:
            self._stamps.pop(path, None)
            return None
        self._stamps[path] = stamp, digest
        return digest
