"""What nobody takes is listed, at its place and with its reason; what says nothing is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tycostream.errors import TycoError
from tycostream.metadata.ledger import Entry, Ledger


def left(ledger: Ledger) -> list[tuple[str, str]]:
    return [(one.name, one.reason) for one in ledger.left]


def test_keys_that_nobody_took_are_listed() -> None:
    ledger = Ledger()
    with Entry({"a": 1, "b": 2, "c": 3}, ledger) as entry:
        entry.because({"b": "not here"})
        assert entry.take("a") == 1
        assert entry.rest == ["b", "c"]
    assert left(ledger) == [("b", "not here"), ("c", "this version does not know it")]


@pytest.mark.parametrize("nothing", [None, [], {}, {"a": None, "b": {"c": []}}])
def test_what_says_nothing_is_not_listed(nothing: Any) -> None:
    ledger = Ledger()
    Entry({"a": nothing}, ledger).close()
    assert ledger.left == []


@pytest.mark.parametrize("something", [0, False, "", [None], {"a": 0}])
def test_everything_else_is(something: Any) -> None:
    ledger = Ledger()
    Entry({"a": something}, ledger).close()
    assert len(ledger.left) == 1


def test_an_error_inside_lists_nothing() -> None:
    ledger = Ledger()
    with pytest.raises(LookupError), Entry({"a": 1}, ledger):
        raise LookupError
    assert ledger.left == []


def test_a_skipped_one_is_one_line_and_its_members_are_named() -> None:
    ledger = Ledger()
    root = Entry({"a": [{"name": "x", "y": 1}], "b": [{"role": "r"}, {"name": "n", "role": "r"}, 1]}, ledger)
    for entry in root.entries("a", lambda item: item["name"]):
        entry.skip("whole")
    root.close()
    assert left(ledger) == [("a.x", "whole"), ("b (r, n)", "this version does not know it")]
    assert [one.pointer for one in ledger.left] == ["$.a[0]", "$.b"]


def test_places_below() -> None:
    ledger = Ledger()
    root = Entry({"a": {"b": [{"c": 1}], "d": {"x": {"e": 1}, "y": None}}}, ledger)
    with root.entry("a") as a:
        for item in a.entries("b", lambda item: None):
            item.close()
        for _, entry in a.mappings("d"):
            entry.close()
        a.leave("why", "f", 0)
    assert [(one.name, one.pointer) for one in ledger.left] == [
        ("a.b.0.c", "$.a.b[0].c"),
        ("a.d.x.e", "$.a.d.x.e"),
        ("a.f.0", "$.a.f[0]"),
    ]


def test_the_list_is_in_the_order_of_the_document() -> None:
    document = {"a": {"x": 1}, "b": [1, {"y": 1}], "c": 1}
    ledger = Ledger()
    root = Entry(document, ledger)
    root.leave("", "c")
    root.leave("", "b", 1)
    root.leave("", "b")
    root.leave("", "a", "x")
    root.leave("", "nowhere")
    assert [one.name for one in ledger.ordered(document)] == ["nowhere", "a.x", "b", "b.1", "c"]


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda entry: entry.text("n"), "r.n is a number, but must be a text"),
        (lambda entry: entry.flag("n"), "r.n is a number, but must be true or false"),
        (lambda entry: entry.items("t"), "r.t is a text, but must be a list"),
        (lambda entry: entry.texts("l"), "r.l[0] is a number, but must be a text"),
        (lambda entry: entry.entry("l"), "r.l is a list, but must be a mapping"),
        (lambda entry: list(entry.entries("l", lambda item: None)), "r.l[0] is a number, but must be a mapping"),
        (lambda entry: list(entry.mappings("l")), "r.l is a list, but must be a mapping"),
        (lambda entry: Entry(None, Ledger()), "the document is empty, but must be a mapping"),
    ],
)  # fmt: skip
def test_what_is_no_metadata_at_all(read: Callable[[Entry], object], message: str) -> None:
    entry = Entry({"n": 1, "t": "x", "l": [1]}, Ledger(), (), "r")
    with pytest.raises(TycoError) as caught:
        read(entry)
    assert caught.value.message == message
    assert "export the metadata anew" in caught.value.hint
