"""What is kept of the newest, and pauses that grow."""

from __future__ import annotations

from schemas.common.recent import Backoff, Recent, pause_after


def test_the_oldest_goes_and_what_was_touched_or_set_again_is_not_the_oldest() -> None:
    kept: Recent[str, int] = Recent(3)
    for name in "abc":
        kept[name] = 0
    kept.touch("a")
    kept["b"] = 1
    kept["d"] = 0
    assert list(kept) == ["a", "b", "d"]


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(0.5, 3)
    assert [backoff.next() for _ in range(5)] == [0.5, 1, 2, 3, 3]
    assert pause_after(10_000, 0.5, 3) == 3
