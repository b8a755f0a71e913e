"""Metadata is found in whatever it is wrapped in, and is of version 3."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tycostream.errors import TycoError
from tycostream.metadata.document import read_json, write_json

METADATA: dict[str, Any] = {"version": 3, "sources": [], "actions": [{"name": "ß"}]}


@pytest.mark.parametrize(
    "wrapped",
    [
        METADATA,
        {"resource_version": 12, "metadata": METADATA},
        {"type": "replace_metadata", "args": METADATA},
        {"type": "replace_metadata", "version": 2, "args": {"allow_inconsistent_metadata": True, "metadata": METADATA}},
    ],
)  # fmt: skip
def test_every_form_is_read(wrapped: dict[str, Any]) -> None:
    assert read_json(json.dumps(wrapped), "m.json") == METADATA


def test_it_is_written_in_its_order_and_reads_back() -> None:
    text = write_json(METADATA)
    assert text.startswith('{\n  "version": 3,\n  "sources"')
    assert "ß" in text
    assert read_json(text, "m.json") == METADATA


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("{", "m.json is not JSON: Expecting property name", "hasura metadata export"),
        ("[" * 100_000, "m.json is nested too deeply", "hasura metadata export"),
        ("[]", "m.json is a list, but must be a mapping", "export the metadata anew"),
        ('{"metadata": 1}', "m.json is a number, but must be a mapping", "export the metadata anew"),
        ("{}", "m.json has no version; metadata of version 3 can be read", "hasura metadata export"),
        (
            '{"version": 2, "tables": []}',
            "m.json has version 2; metadata",
            "hasura scripts update-project-v3",
        ),
        ('{"version": 4, "sources": []}', "m.json has version 4; metadata", "hasura metadata export"),
        ('{"version": "x", "sources": []}', "m.json has version 'x'; metadata", "hasura metadata export"),
    ],
)
def test_what_is_refused(text: str, message: str, hint: str) -> None:
    with pytest.raises(TycoError) as caught:
        read_json(text, "m.json")
    assert caught.value.message.startswith(message)
    assert hint in caught.value.hint
