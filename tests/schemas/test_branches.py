"""Which messages are a conversation that went back, for any order of messages and ways back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas import branch, forked, newest, within

STEPS = st.lists(st.one_of(st.none(), st.integers(0, 40)), max_size=40)
"""None: a message comes; a number: the conversation goes back to that message, on any branch."""


@given(STEPS)
def test_branch_is_what_was_said_up_to_a_message(steps: list[int | None]) -> None:
    forks: tuple[tuple[int, int], ...] = ()
    following, at = 1, 0
    said: dict[int, list[int]] = {0: []}
    for step in steps:
        if step is None:
            assert newest(forks, following) == at
            said[following] = [*said[at], following]
            at, following = following, following + 1
        elif step < following:
            forks, at = forked(forks, following, step), step
        assert newest(forks, following) == at
        for last, messages in said.items():
            spans = branch(forks, last)
            assert [n for n in range(1, following) if within(n, spans)] == messages
            assert list(spans) == sorted(spans)
    assert len(forks) <= sum(step is not None for step in steps)
