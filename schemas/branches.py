"""Branches of a conversation: messages are numbered as they come, and a fork says which one the next of them follows.

`(7, 3)`: message 7 follows message 3, so that 4, 5 and 6 are on another branch. All others follow the one before them. Forks of a
thread are in the order of their first messages; together with a message number they determine the conversation up to it, on any
branch.
"""

from __future__ import annotations

from collections.abc import Sequence

Fork = tuple[int, int]
Span = tuple[int, int]
"""First and last number, both included."""

MOST_FORKS = 1_000
"""Forks of one thread: every turn rewrites them with the head."""


def branch(forks: Sequence[Fork], last: int) -> tuple[Span, ...]:
    """The messages up to `last` on the branch that it is on, as spans in ascending order; some numbers may have no message.

    None for 0, which is before the first message.
    """
    found: list[Span] = []
    while last > 0:
        first, after = max((fork for fork in forks if fork[0] <= last), default=(1, 0))
        found.append((first, last))
        last = after
    return tuple(reversed(found))


def newest(forks: Sequence[Fork], following: int) -> int:
    """What the message `following`, which is the next to come, follows; 0 where it will be the first."""
    return forks[-1][1] if forks and forks[-1][0] == following else following - 1


def forked(forks: Sequence[Fork], following: int, after: int) -> tuple[Fork, ...]:
    """The forks when the next message, `following`, is to follow `after`."""
    kept = tuple(fork for fork in forks if fork[0] < following)
    return kept if after == following - 1 else (*kept, (following, after))


def within(seq: int, spans: Sequence[Span]) -> bool:
    """Whether a message is on a branch."""
    return any(first <= seq <= last for first, last in spans)
