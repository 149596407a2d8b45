"""Spans of row numbers: first and last, both included."""

from __future__ import annotations

from collections.abc import Iterable

from schemas import Span


def merged(ranges: Iterable[Span], *, gap: int = 0) -> list[Span]:
    """The numbers of these spans in as few spans as possible, in order.

    Spans with at most `gap` numbers between them become one, which then has those numbers, too.
    """
    found: list[Span] = []
    for first, last in sorted(ranges):
        if first > last:
            continue
        if found and first <= found[-1][1] + 1 + gap:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def below(before: int, spans: Iterable[Span]) -> list[Span]:
    """What of these spans, in their order, is below a number."""
    return [(first, min(last, before - 1)) for first, last in spans if first < before]
