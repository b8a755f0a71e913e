"""Multisets against a plain list."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.dataflow import multiset
from tycostream.dataflow.multiset import Multiset, Sorted

STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=80)


@given(STEPS, st.sampled_from([1, 2, 1000]))
def test_extremes_and_counts_are_those_of_a_list(steps: list[tuple[bool, int]], block: int) -> None:
    values, plain = Sorted(), Multiset()
    there: list[int] = []
    with patch.object(multiset, "_BLOCK", block):
        for add, value in steps:
            if not add and value not in there:
                continue
            for each in (values, plain):
                (each.add if add else each.remove)(value)
            (there.append if add else there.remove)(value)
            assert values.first() == min(there, default=None)
            assert values.last() == max(there, default=None)
            assert len(values) == len(plain) == len(set(there))
    blocks = [each for each in values.containers() if isinstance(each, list)]
    assert [value for each in blocks for value in each] == sorted(set(there))
    assert all(1 <= len(each) <= 2 * block for each in blocks)


@pytest.mark.parametrize("made", [Multiset, Sorted])
def test_what_is_not_there_cannot_be_removed(made: type[Multiset]) -> None:
    values = made()
    values.add(1)
    with pytest.raises(LookupError):
        values.remove(2)
    values.remove(1)
    with pytest.raises(LookupError):
        values.remove(1)
