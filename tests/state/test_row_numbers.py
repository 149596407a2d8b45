from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from state.spans import merged

RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12)


def numbers_of(ranges: list[tuple[int, int]]) -> set[int]:
    return {n for first, last in ranges for n in range(first, last + 1)}


@given(RANGES, st.integers(0, 5))
def test_merged_ranges_have_the_same_numbers_and_those_of_small_gaps(ranges: list[tuple[int, int]], gap: int) -> None:
    found = merged(ranges, gap=gap)
    assert numbers_of(merged(ranges)) == numbers_of(ranges)
    assert numbers_of(found) >= numbers_of(ranges)
    assert all(after - before > gap + 1 for (_, before), (after, _) in pairwise(found))
    assert len(numbers_of(found) - numbers_of(ranges)) <= gap * max(len(merged(ranges)) - 1, 0)
