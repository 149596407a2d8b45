"""Stores and loads the values of channels: as a whole, or message by message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.base import SerializerProtocol

from connectors.graphs.state_rows import (
    INLINE,
    RANGES_A_PAGE,
    MessagePlace,
    Place,
    page_body,
    ranges_of,
    ranges_over,
    typed_value,
    value_body,
)
from connectors.graphs.thread_rows import ThreadRows


def place(value: Any, channel: str, rows: ThreadRows, serde: SerializerProtocol) -> Place:
    """Stores a value in rows, unless these exist already. Raises `RowTooLarge`, which names the channel.

    Messages are compared by their bytes: an edited message is written again, one that has only moved is not.
    """
    if type(value) is list and all(isinstance(item, BaseMessage) for item in value):
        numbers = [rows.add_value(value_body(serde.dumps_typed(message)), channel) for message in value]
        ranges = ranges_over(numbers)
        full = len(ranges) - 1 - (len(ranges) - 1) % RANGES_A_PAGE if ranges else 0
        pages = (ranges[at : at + RANGES_A_PAGE] for at in range(0, full, RANGES_A_PAGE))
        return MessagePlace(tuple(rows.add_value(page_body(page), channel) for page in pages), tuple(ranges[full:]))
    body = value_body(serde.dumps_typed(value))
    return body if len(body) <= INLINE else rows.add_value(body, channel)


async def values_at(places: Iterable[Place], rows: ThreadRows, serde: SerializerProtocol) -> list[Any]:
    """The values at these locations, in order. Reads at most twice: first the pages, then the rows they refer to."""
    places = list(places)
    bodies = await rows.load(page for p in places if isinstance(p, MessagePlace) for page in p.pages)
    lists = {
        at: [
            number
            for start, end in [*(r for page in p.pages for r in ranges_of(bodies[page])), *p.tail]
            for number in range(start, end + 1)
        ]
        for at, p in enumerate(places)
        if isinstance(p, MessagePlace)
    }
    single = [p for p in places if isinstance(p, int)]
    bodies = await rows.load([*single, *(number for numbers in lists.values() for number in numbers)])

    def load(body: bytes) -> Any:
        return serde.loads_typed(typed_value(body))

    return [
        [load(bodies[number]) for number in lists[at]]
        if isinstance(p, MessagePlace)
        else load(p if isinstance(p, bytes) else bodies[p])
        for at, p in enumerate(places)
    ]
