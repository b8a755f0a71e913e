"""Where the audit log goes. Values only."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from tycostream.config.values import Flag, Model


def _path(value: str) -> str:
    if not value or "\0" in value:
        raise ValueError("must be the path of a file, or - for standard output")
    return value


class AuditConfig(Model):
    """What is written down of who did what."""

    file: Annotated[str, AfterValidator(_path)] = Field(
        description="The file that lines are added to; -: standard output. Made with the mode 0600."
    )
    operations: Flag = Field(
        True, description="Whether the start and the end of each operation are lines too."
    )
