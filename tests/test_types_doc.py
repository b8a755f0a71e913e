"""docs/types.md holds the table of types as it is in the code."""

from __future__ import annotations

import json
from pathlib import Path

from tests.scalar_cases import CASES
from tycostream.scalars import (
    CONTAINMENT,
    DOCUMENTS,
    ORDERED,
    PATTERNS,
    SCALARS,
    Scalar,
    scalar_for,
    stringified,
)

PAGE = Path(__file__).parents[1] / "docs" / "types.md"
GROUPS = {"compare": ORDERED, "patterns": PATTERNS, "contain": CONTAINMENT, "documents": DOCUMENTS}
KINDS = {bool: "boolean", int: "number", float: "number", str: "string", dict: "object", list: "list"}
NOT_HERE = {
    "uint2": "1",
    "uint4": "1",
    "uint8": "1",
    "mz_timestamp": "1",
    "list": "{a}",
    "map": "{a=>1}",
    "xml": "<a/>",
}


def operators(scalar: Scalar) -> str:
    left, said = scalar.operators, []
    for group, names in GROUPS.items():
        if names <= left:
            said.append(group)
            left -= names
    said += [f"`{name}`" for name in sorted(left - {"_is_null"})]
    return ", ".join(said) or "–"


def form(scalar: Scalar, text: str) -> str:
    if scalar.name in ("json", "jsonb"):
        return "any JSON"
    kind = KINDS[type(json.loads(scalar.json(scalar.parse(text))))]
    return f"{kind}, or string" if stringified(scalar) is not scalar else kind


def table() -> list[str]:
    samples = {name: case.samples[0] for name, case in CASES.items()} | NOT_HERE
    samples |= {
        "hstore": '"a"=>"1"',
        "bytea": "\\x00",
        "interval": "PT0S",
        "uuid": "0" * 8 + "-0000" * 3 + "-" + "0" * 12,
    }
    lines = [
        f"| `{name}` | `{scalar.graphql}` | {form(scalar, samples[name])} | {operators(scalar)} |"
        for name, scalar in sorted(SCALARS.items())
    ]
    array = scalar_for("int4[]")
    return [*lines, f"| `int4[]`, any array | `{array.graphql}` | list | {operators(array)} |"]


def test_the_page_has_every_type_as_it_is() -> None:
    documented = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert documented == table(), "the rows of docs/types.md should be:\n" + "\n".join(table())
