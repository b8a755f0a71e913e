"""A result's JSON, kept from one push to the next: what did not change is neither encoded nor joined again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tycostream.dataflow.edits import EditKind
from tycostream.dataflow.view import View
from tycostream.graphql.documents import Flawed, gathered
from tycostream.rows import Key, Row

_BLOCK: Final = 32  # rows joined in one piece: of a thousand rows, one change joins 32 and copies 32 pieces


class Pieces:
    """The fragments of a view's window, in blocks, each with its joined text once that was asked for.

    Until it is filled, and where ``follow`` could not, it stands for nothing (``valid``). ``follow`` brings it level with
    its view.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._valid = False
        self._flawed = False  # whether something may be told of a fragment
        self._blocks: list[list[bytes]] = []
        self._joined: list[bytes | None] = []

    @property
    def valid(self) -> bool:
        """Whether it stands for a window, as it was when ``follow`` was last called."""
        return self._valid

    def fill(self, fragments: Sequence[bytes]) -> None:
        """Take over a whole window."""
        self._blocks = [list(fragments[at : at + _BLOCK]) for at in range(0, len(fragments), _BLOCK)]
        self._joined = [None] * len(self._blocks)
        self.rows = len(fragments)
        self._flawed = Flawed in map(type, fragments)
        self._valid = True

    def follow(self, view: View, encode: Callable[[Key, Row], bytes]) -> bool:
        """Do what was done to the window since the last call; False if that is not known: ``fill`` it then."""
        edits = view.edits()
        if edits is None or not self._valid:
            self._valid = False
            self._blocks, self._joined, self.rows = [], [], 0
            return False
        self._valid = False  # an edit is told once: should ``encode`` raise, the rest of them are lost
        for kind, place, key, row in edits:
            if kind is EditKind.INSERT:
                if place <= self.rows:
                    self._insert(place, encode(key, row))
                    if view.end is not None and self.rows > view.end:
                        self._remove(view.end)  # pushed out; of what is beyond the end nothing is told
            elif place < self.rows:
                if kind is EditKind.REPLACE:
                    self._replace(place, encode(key, row))
                else:
                    self._remove(place)
        if self.rows < view.length:  # what the end lets in has not been told either
            keys, rows = view.window(self.rows)
            for key, row in zip(keys, rows, strict=True):
                self._insert(self.rows, encode(key, row))
        self._valid = True
        return True

    def value(self) -> list[bytes]:
        """The JSON list, in few pieces."""
        joined = self._joined
        pieces = [b"["]
        for n, text in enumerate(joined):
            if text is None:
                text = joined[n] = b",".join(self._blocks[n])
            if n:
                pieces.append(b",")
            pieces.append(text)
        pieces.append(b"]")
        if self._flawed:  # an empty piece, of which all of it is told
            told = gathered(b"", [fragment for block in self._blocks for fragment in block])
            self._flawed = type(told) is Flawed
            pieces.append(told)
        return pieces

    def _find(self, place: int) -> tuple[int, int]:
        for b, block in enumerate(self._blocks):
            if place < len(block):
                return b, place
            place -= len(block)
        raise LookupError("a place beyond the result")

    def _replace(self, place: int, fragment: bytes) -> None:
        b, i = self._find(place)
        self._blocks[b][i] = fragment
        self._joined[b] = None
        self._flawed |= type(fragment) is Flawed

    def _remove(self, place: int) -> None:
        b, i = self._find(place)
        del self._blocks[b][i]
        self._joined[b] = None
        self.rows -= 1
        if not self._blocks[b]:
            del self._blocks[b], self._joined[b]

    def _insert(self, place: int, fragment: bytes) -> None:
        if not self._blocks:
            self._blocks, self._joined = [[]], [None]
        if place == self.rows:
            b, i = len(self._blocks) - 1, len(self._blocks[-1])
        else:
            b, i = self._find(place)
        block = self._blocks[b]
        block.insert(i, fragment)
        self._joined[b] = None
        self._flawed |= type(fragment) is Flawed
        self.rows += 1
        if len(block) > 2 * _BLOCK:
            self._blocks[b : b + 1] = [block[:_BLOCK], block[_BLOCK:]]
            self._joined[b : b + 1] = [None, None]
