"""Values that travel: strings that are shared, and the bound on what is kept for that."""

from __future__ import annotations

from tycostream.rows import Repeats


def fresh(text: str) -> str:
    return "".join(list(text))


def test_equal_texts_are_one_string() -> None:
    repeats = Repeats()
    first = fresh("ACME")
    assert repeats[first] is first
    assert repeats[fresh("ACME")] is first
    assert repeats[fresh("acme")] == "acme"


def test_long_texts_and_what_finds_no_room_pass_through() -> None:
    repeats = Repeats()
    assert repeats["x" * 65] == "x" * 65
    assert not repeats
    for n in range(Repeats.ENTRIES_MAX + 5):
        assert repeats[f"row {n} of many"] == f"row {n} of many"
    assert len(repeats) == Repeats.ENTRIES_MAX
    known, other = fresh("row 7 of many"), fresh("row 9999 of many")
    assert repeats[known] is not known
    assert repeats[other] is other


def test_a_table_that_no_longer_fits_is_begun_anew() -> None:
    repeats = Repeats()
    for n in range(Repeats.ENTRIES_MAX + Repeats.PASSED_MAX + 1):
        repeats[f"old {n}"]
    assert not repeats
    first = fresh("new")
    assert repeats[first] is first
    assert repeats[fresh("new")] is first


def test_equal_texts_are_parsed_once() -> None:
    parsed: list[str] = []

    def parse(text: str) -> int:
        parsed.append(text)
        return int(text)

    repeats = Repeats(parse)
    assert [repeats["1000"], repeats["2000"], repeats[fresh("1000")]] == [1000, 2000, 1000]
    assert parsed == ["1000", "2000"]
    assert repeats.missed == 2
