"""The garbage collector and half a million rows: what will not be garbage for long is taken out of its sight.
And the allocator and large results: what it will need again at once is not given back to the kernel.

A full collection walks over every reference of every container that it tracks: 100 to 300 ms for a store and its
views, again and again, with every socket waiting. Frozen containers are freed as ever when nothing refers to them.
"""

from __future__ import annotations

import gc
from typing import Final

_ROWS_MIN: Final = 20_000  # below this a walk is short, and freezing would only keep what is garbage just now

_LARGE_BYTES: Final = 4 * 2**20  # twice as much may then stay at the end of the heap


def walk_seldom() -> None:
    """Look for garbage after 20,000 new containers instead of 700: a line of an upstream makes a dozen that die at once.

    Reference counting frees them; what the collector is for, cycles, comes from connections and requests, and is small.
    What survives is walked over once more after every fifth time: after twenty, of a schema that is being made, it
    would be 400,000 containers and 100 ms.
    """
    gc.set_threshold(20_000, 5, 200)


def keep_pages() -> None:
    """Have the C library keep freed memory of a few large results instead of returning it to the kernel.

    A result of 150 KB is copied three times on its way out. glibc gives blocks of that size back when they are freed,
    and every push then faults all their pages in anew: 230 µs of 300. It stops doing so for sizes below the largest
    such block that was ever freed. Elsewhere this is one allocation that is never touched.
    """
    bytes(_LARGE_BYTES)


def keep_out(rows: int) -> None:
    """Something of so many rows was made, and will stay."""
    if rows >= _ROWS_MIN:
        gc.collect(1)  # what is garbage just now would be kept for ever
        gc.freeze()
