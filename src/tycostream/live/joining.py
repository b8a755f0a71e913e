"""Putting a large answer together in slices: to copy 60 MB, and to have the kernel find the pages for it, is one long step."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Final

_BYTES_PER_STEP: Final = 2 * 2**20  # two or three milliseconds


class Joining:
    """Joins the parts of a payload by ``step``."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        # its buffer grows without moving, and is handed over rather than copied: neither is true of a list to be joined
        self._joined = BytesIO()

    def step(self) -> bool:
        """Copy the next parts; True when there are no more."""
        room, write = _BYTES_PER_STEP, self._joined.write
        for part in self._parts:
            room -= write(part)
            if room <= 0:
                return False
        return True

    def payload(self) -> bytes:
        """All of it, once ``step`` is done."""
        return self._joined.getvalue()
