"""The garbage collector and half a million rows: what will not be garbage for long is taken out of its sight.

A full collection walks over every reference of every container that it tracks: 100 to 300 ms for a store and its
views, again and again, with every socket waiting. Frozen containers are freed as ever when nothing refers to them.
"""

from __future__ import annotations

import gc
from typing import Final

_ROWS_MIN: Final = 20_000  # below this a walk is short, and freezing would only keep what is garbage just now


def keep_out(rows: int) -> None:
    """Something of so many rows was made, and will stay."""
    if rows >= _ROWS_MIN:
        gc.freeze()
