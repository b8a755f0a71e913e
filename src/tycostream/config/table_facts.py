"""What a catalogue says of a table, as far as a configuration can be written from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key: ``columns`` name a row of another table by its ``referenced`` columns."""

    columns: tuple[str, ...]
    schema: str
    table: str
    referenced: tuple[str, ...]
    always: bool = False  # no column of it may be NULL, and it holds for every row


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table, view or source as the catalogue knows it; ``enums`` maps a column to (its enum's name, the labels in order).

    ``remedy`` is what must be done before it can be followed: until then it is left out, or if it is ``wanted`` all the
    same, written with that said.
    """

    schema: str
    name: str
    columns: tuple[tuple[str, str], ...]  # (name, SQL type)
    primary_key: tuple[str, ...]
    enums: Mapping[str, tuple[str, tuple[str, ...]]]
    comment: str | None = None
    comments: Mapping[str, str] = field(default_factory=dict)  # column → what is said of it
    references: tuple[Reference, ...] = ()
    remedy: str = ""
    wanted: bool = False
    view: bool = False

    @property
    def title(self) -> str:
        """Its name for a comment."""
        return comment_text(f"{self.schema}.{self.name}")

    @property
    def left_out(self) -> str:
        """Why it cannot be a source, or nothing."""
        if not self.columns:
            return "it has no columns"
        return (
            f"before it can be followed, {comment_text(self.remedy)}"
            if self.remedy and not self.wanted
            else ""
        )


def comment_text(text: str) -> str:
    """A text as a part of a YAML comment: one line that prints."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
