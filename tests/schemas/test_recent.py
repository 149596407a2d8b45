"""What is kept of the newest, and pauses that grow."""

from __future__ import annotations

from schemas.common.recent import Backoff, Recent, Weighed, pause_after


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


def test_what_is_weighed_goes_when_it_is_too_much_together() -> None:
    kept: Weighed[str, str] = Weighed(3, 10, len)
    for name in "abc":
        kept.set(name, "xx")
    assert kept.get("a") == "xx"
    kept.set("d", "xx")
    assert (kept.get("b"), len(kept), kept.bytes) == (None, 3, 6)
    kept.set("e", "xxxxxxx")
    assert ([kept.get(name) for name in "acde"], kept.bytes) == ([None, None, "xx", "xxxxxxx"], 9)
    kept.set("f", "x" * 100)
    assert (len(kept), kept.bytes) == (1, 100)
    kept.forget("f")
    kept.forget("f")
    assert (len(kept), kept.bytes) == (0, 0)
