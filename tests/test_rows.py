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


def test_long_texts_pass_through() -> None:
    repeats = Repeats()
    assert repeats["x" * 65] == "x" * 65
    assert not repeats


def test_what_still_comes_outlives_a_full_table_and_what_does_not_is_forgotten() -> None:
    repeats = Repeats()
    kept, lost = repeats[fresh("kept")], repeats[fresh("lost")]
    for n in range(3 * Repeats.ENTRIES_MAX):
        assert repeats[f"row {n} of many"] == f"row {n} of many"
        if n % 1000 == 0:
            assert repeats[fresh("kept")] is kept
    assert len(repeats) <= Repeats.ENTRIES_MAX
    again = fresh("lost")
    assert repeats[again] is again is not lost


def test_a_table_that_is_begun_anew_knows_nothing() -> None:
    repeats = Repeats()
    for n in range(Repeats.ENTRIES_MAX + 1):
        repeats[f"old {n}"]
    assert repeats.missed == Repeats.ENTRIES_MAX + 1
    repeats.forget()
    assert repeats.missed == 0
    for n in (0, Repeats.ENTRIES_MAX):
        again = fresh(f"old {n}")
        assert repeats[again] is again


def test_equal_texts_are_parsed_once() -> None:
    parsed: list[str] = []

    def parse(text: str) -> int:
        parsed.append(text)
        return int(text)

    repeats = Repeats(parse)
    assert [repeats["1000"], repeats["2000"], repeats[fresh("1000")]] == [1000, 2000, 1000]
    assert parsed == ["1000", "2000"]
    assert repeats.missed == 2
