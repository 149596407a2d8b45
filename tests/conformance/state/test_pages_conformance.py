"""Pages of a thread are bounded in bytes where they are read, and a list that is read page by page is whole."""

from __future__ import annotations

from typing import Any

import pytest
from state_samples import checkpoint, commit, event, head, message, value

from schemas import TooLarge
from state import Page, Stores

BYTES = 100_000


async def fill(stores: Stores, tenant: str) -> None:
    """Forty messages and rows of 10 KB each."""
    thread = head().model_copy(update={"next_message": 41, "next_row": 81})
    for n in range(0, 40, 10):
        made = [message(m, "x" * 10_000) for m in range(n + 1, n + 11)]
        rows = [
            row
            for m in range(n + 1, n + 11)
            for row in (checkpoint(2 * m - 1, "x" * 10_000), value(2 * m, "x" * 10_000))
        ]
        await stores.journal.commit(tenant, "th", commit(f"i{n}", n // 10, messages=made, rows=rows, thread=thread))


def size(rows: list[Any]) -> int:
    return sum(len(row.to_bytes() if hasattr(row, "to_bytes") else row.body) for row in rows)


@pytest.mark.parametrize("spans", [None, [(1, 7), (12, 40)]])
async def test_messages_come_in_pages_of_so_many_bytes(stores: Stores, tenant: str, spans: Any) -> None:
    await fill(stores, tenant)
    found, before, more = [], None, True
    while more:
        page = await stores.journal.messages(tenant, "th", before=before, limit=30, max_bytes=BYTES, spans=spans)
        assert size(page) <= BYTES
        found = [*(one.seq for one in page), *found]
        before, more = page.next, page.next is not None
    assert found == [n for n in range(1, 41) if spans is None or any(a <= n <= b for a, b in spans)]


async def test_thread_is_read_with_the_newest_messages_that_fit(stores: Stores, tenant: str) -> None:
    await fill(stores, tenant)
    few = (await stores.journal.hydrate(tenant, "th", window=40, max_bytes=BYTES)).messages
    assert [one.seq for one in few] == list(range(32, 41))
    many = (await stores.journal.hydrate(tenant, "th", window=35, max_bytes=10 * BYTES)).messages
    assert [one.seq for one in many] == list(range(6, 41))
    assert [m.seq for m in (await stores.journal.hydrate(tenant, "th", window=9, max_bytes=1)).messages] == [40]


async def test_rows_of_states_come_in_pages_of_so_many_bytes(stores: Stores, tenant: str) -> None:
    await fill(stores, tenant)
    found, before, more = [], None, True
    while more:
        page: Page[Any] = await stores.journal.checkpoints(tenant, "th", before=before, limit=30, max_bytes=BYTES)
        assert size(page) <= BYTES
        found += [one.seq for one in page]
        before, more = page.next, page.next is not None
    assert found == list(range(79, 0, -2))


async def test_values_of_a_state_are_read_as_a_whole_or_not_at_all(stores: Stores, tenant: str) -> None:
    await fill(stores, tenant)
    assert len(await stores.journal.values(tenant, "th", [(1, 10), (21, 24)], max_bytes=BYTES)) == 7
    with pytest.raises(TooLarge):
        await stores.journal.values(tenant, "th", [(1, 10), (21, 40)], max_bytes=BYTES)


async def test_events_come_in_pages_of_so_many_bytes(stores: Stores, tenant: str) -> None:
    for n in range(0, 40, 10):
        made = [event(m, "x" * 10_000) for m in range(n + 1, n + 11)]
        await stores.journal.commit(tenant, "th", commit(f"i{n}", n // 10, events=made))
    found, since, sizes = [], 0, []
    while since is not None:
        page = await stores.journal.events(tenant, "th", since=since, max_bytes=BYTES)
        found += [one.seq for one in page]
        sizes.append(len(page))
        since = page.next
    assert (found, max(sizes)) == (list(range(1, 41)), 9)
    page = await stores.journal.events(tenant, "th", since=7, limit=2)
    assert ([one.seq for one in page], page.next) == ([8, 9], 9)
    assert len(await stores.journal.events(tenant, "th", max_bytes=1)) == 1


async def test_lines_of_a_list_are_read_for_the_places_that_are_wanted(stores: Stores, tenant: str) -> None:
    for n in range(7):
        thread = head(title=f"title {n}", updated=n % 3)
        await stores.journal.commit(tenant, f"th{n}", commit("i1", 0, thread=thread))
    places = await stores.journal.places(tenant, "u1")
    assert [place.thread_id for place in places] == ["th2", "th5", "th1", "th4", "th0", "th3", "th6"]
    assert [place.thread_id for place in await stores.journal.places(tenant, "u1", limit=3)] == ["th2", "th5", "th1"]
    lines = await stores.journal.lines(tenant, "u1", ["th4", "th9", "th2"])
    assert [(line.thread_id, line.title) for line in lines] == [("th4", "title 4"), ("th2", "title 2")]
    assert [line.updated_at for line in lines] == [places[3].updated_at, places[0].updated_at]
    assert await stores.journal.lines(tenant, "u2", ["th4"]) == []
    assert (await stores.journal.count(tenant, "u1")).rows == 7
    assert (await stores.journal.count(tenant, "u2")).rows == 0
