"""Rows of a graph's state, and turns of several commits."""

from __future__ import annotations

import pytest
from state_samples import checkpoint, commit, event, head, message, value

from schemas import StateRow
from state import AlreadyDone, Committed, Hydrated, Stale, Stores


def numbers(rows: list[StateRow]) -> list[int]:
    return [row.seq for row in rows]


async def test_rows_of_a_turn_are_read_back_byte_by_byte(stores: Stores, tenant: str) -> None:
    odd = StateRow(seq=2, kind="value", body=bytes(range(256)))
    empty = StateRow(seq=3, kind="value", body=b"")
    rows = [value(1), odd, empty, checkpoint(4)]

    assert await stores.journal.commit(tenant, "th", commit("i1", 0, messages=[message(1)], rows=rows)) == Committed(1)

    assert await stores.journal.checkpoints(tenant, "th") == [checkpoint(4)]
    assert await stores.journal.values(tenant, "th", [(1, 4)]) == [value(1), odd, empty]
    thread = await stores.journal.hydrate(tenant, "th", window=9)
    assert thread.messages == (message(1),)
    assert await stores.journal.events(tenant, "th") == []
    assert await stores.journal.runs(tenant, "th") == []


async def test_thread_without_rows_has_none(stores: Stores, tenant: str) -> None:
    await stores.journal.commit(tenant, "th", commit("i1", 0))
    for thread in ("th", "no thread"):
        assert await stores.journal.checkpoints(tenant, thread) == []
        assert await stores.journal.values(tenant, thread, [(1, 100)]) == []


async def test_checkpoints_come_newest_first_and_in_pages(stores: Stores, tenant: str) -> None:
    for n in range(4):
        rows = [row for seq in range(3 * n + 1, 3 * n + 4, 3) for row in (checkpoint(seq), value(seq + 1))]
        await stores.journal.commit(tenant, "th", commit(f"i{n}", n, rows=rows))

    assert numbers(await stores.journal.checkpoints(tenant, "th")) == [10, 7, 4, 1]
    assert numbers(await stores.journal.checkpoints(tenant, "th", limit=2)) == [10, 7]
    assert numbers(await stores.journal.checkpoints(tenant, "th", before=7, limit=2)) == [4, 1]
    assert numbers(await stores.journal.checkpoints(tenant, "th", before=8, limit=1)) == [7]
    assert await stores.journal.checkpoints(tenant, "th", before=1) == []
    assert await stores.journal.checkpoints(tenant, "th", limit=0) == []


async def test_more_checkpoints_than_a_page_of_the_store_are_all_listed(stores: Stores, tenant: str) -> None:
    rows = [checkpoint(n) for n in range(1, 251)]
    await stores.journal.commit(tenant, "th", commit("i1", 0, rows=rows))
    assert len(await stores.journal.checkpoints(tenant, "th")) == 50
    assert await stores.journal.checkpoints(tenant, "th", limit=1000) == rows[::-1]


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([], []),
        ([(1, 40)], [n for n in range(1, 41) if n % 4]),
        ([(5, 5)], [5]),
        ([(4, 4)], []),
        ([(30, 31), (5, 7), (2, 2)], [2, 5, 6, 7, 30, 31]),
        ([(1, 3), (3, 6), (2, 2), (5, 5)], [1, 2, 3, 5, 6]),
        ([(n, n) for n in range(1, 40, 2)], list(range(1, 40, 2))),
        ([(39, 2**63 - 1)], [39]),
        ([(7, 5)], []),
        ([(50, 60)], []),
    ],
    ids=["none", "all", "one", "a checkpoint", "apart", "overlapping", "every second", "open", "backwards", "beyond"],
)
async def test_values_are_those_of_the_ranges_by_number(
    stores: Stores, tenant: str, ranges: list[tuple[int, int]], expected: list[int]
) -> None:
    rows = [checkpoint(n) if n % 4 == 0 else value(n) for n in range(1, 41)]
    await stores.journal.commit(tenant, "th", commit("i1", 0, rows=rows))
    assert await stores.journal.values(tenant, "th", ranges) == [value(n) for n in expected]


async def test_thousands_of_values_are_read_at_once(stores: Stores, tenant: str) -> None:
    for n in range(4):
        rows = [value(seq) for seq in range(1000 * n + 1, 1000 * n + 1001)]
        await stores.journal.commit(tenant, "th", commit(f"i{n}", n, rows=rows))
    assert await stores.journal.values(tenant, "th", [(1, 4000)]) == [value(n) for n in range(1, 4001)]
    every_twentieth = [(n, n) for n in range(1, 4001, 20)]
    assert numbers(await stores.journal.values(tenant, "th", every_twentieth)) == list(range(1, 4001, 20))


async def test_rows_of_800_kb_are_kept(stores: Stores, tenant: str) -> None:
    large = [StateRow(seq=n, kind="value", body=bytes([n]) * 800_000) for n in (1, 2)]
    for n, row in enumerate(large):
        await stores.journal.commit(tenant, "th", commit(f"i{n}", n, rows=[row, checkpoint(10 + n)]))
    assert await stores.journal.values(tenant, "th", [(1, 2)]) == large


async def test_commit_that_lost_its_race_or_is_a_replay_writes_no_rows(stores: Stores, tenant: str) -> None:
    first = commit("i1", 0, rows=[value(1), checkpoint(2)])
    await stores.journal.commit(tenant, "th", first)
    late = [value(1, "late"), checkpoint(2, "late"), value(3), checkpoint(4)]

    assert await stores.journal.commit(tenant, "th", commit("i2", 0, rows=late)) == Stale()
    assert await stores.journal.commit(tenant, "th", commit("i2", 0, rows=late, final=False)) == Stale()
    assert await stores.journal.commit(tenant, "th", commit("i1", 1, rows=late)) == AlreadyDone(b"outputs of i1")

    assert await stores.journal.checkpoints(tenant, "th") == [checkpoint(2)]
    assert await stores.journal.values(tenant, "th", [(1, 9)]) == [value(1)]


async def test_erasing_takes_all_rows_but_those_that_the_commit_brings(stores: Stores, tenant: str) -> None:
    await stores.journal.commit(tenant, "th", commit("i1", 0, rows=[value(1), value(2), checkpoint(3)]))
    await stores.journal.commit(tenant, "th", commit("i2", 1, rows=[value(4), checkpoint(5)], erase=True))
    assert await stores.journal.checkpoints(tenant, "th") == [checkpoint(5)]
    assert await stores.journal.values(tenant, "th", [(1, 9)]) == [value(4)]

    gone = head(updated=9).model_copy(update={"deleted": True})
    assert await stores.journal.commit(tenant, "th", commit("i3", 2, thread=gone, erase=True)) == Committed(3)
    assert await stores.journal.checkpoints(tenant, "th") == []
    assert await stores.journal.values(tenant, "th", [(1, 9)]) == []


async def test_superstep_is_kept_and_leaves_its_input_to_the_commit_that_ends_the_turn(
    stores: Stores, tenant: str
) -> None:
    first = commit("i1", 0, messages=[message(1)], events=[event(1)], rows=[value(1), checkpoint(2)], final=False)
    assert await stores.journal.commit(tenant, "th", first) == Committed(1)
    hydrated = await stores.journal.hydrate(tenant, "th", window=9, input_id="i1")
    assert hydrated == Hydrated(1, first.head, (message(1),), None)
    assert await stores.journal.outputs_of(tenant, "th", "i1") is None

    second = commit("i1", 1, rows=[value(3), checkpoint(4)], final=False)
    assert await stores.journal.commit(tenant, "th", second) == Committed(2)
    last = commit("i1", 2, outputs=b"all of it", events=[event(2)], rows=[value(5), checkpoint(6)])
    assert await stores.journal.commit(tenant, "th", last) == Committed(3)

    assert await stores.journal.outputs_of(tenant, "th", "i1") == b"all of it"
    assert await stores.journal.events(tenant, "th") == [event(1), event(2)]
    assert numbers(await stores.journal.checkpoints(tenant, "th")) == [6, 4, 2]
    assert numbers(await stores.journal.values(tenant, "th", [(1, 9)])) == [1, 3, 5]


@pytest.mark.parametrize("expected_version", [0, 1, 2], ids=lambda v: f"version_{v}")
async def test_superstep_of_a_turn_that_another_writer_ended_is_answered_with_its_outputs(
    stores: Stores, tenant: str, expected_version: int
) -> None:
    await stores.journal.commit(tenant, "th", commit("i1", 0, rows=[value(1)], final=False))
    await stores.journal.commit(tenant, "th", commit("i1", 1, outputs=b"", rows=[value(2)]))

    late = commit("i1", expected_version, rows=[value(3), checkpoint(4)], final=False)
    assert await stores.journal.commit(tenant, "th", late) == AlreadyDone(b"")

    assert (await stores.journal.hydrate(tenant, "th", window=1)).version == 2
    assert await stores.journal.checkpoints(tenant, "th") == []
    assert numbers(await stores.journal.values(tenant, "th", [(1, 9)])) == [1, 2]


async def test_superstep_that_lost_its_race_leaves_nothing(stores: Stores, tenant: str) -> None:
    await stores.journal.commit(tenant, "th", commit("i1", 0, rows=[value(1, "first")], final=False))
    rival = commit("i1", 0, messages=[message(1)], rows=[value(1, "second"), checkpoint(2)], final=False)
    assert await stores.journal.commit(tenant, "th", rival) == Stale()
    assert await stores.journal.commit(tenant, "th", commit("i2", 7, rows=[value(9)], final=False)) == Stale()
    assert await stores.journal.messages(tenant, "th") == []
    assert await stores.journal.checkpoints(tenant, "th") == []
    assert await stores.journal.values(tenant, "th", [(1, 9)]) == [value(1, "first")]


async def test_rows_of_a_thread_are_not_those_of_another_thread_or_tenant(
    stores: Stores, tenant: str, other_tenant: str
) -> None:
    await stores.journal.commit(tenant, "th", commit("i1", 0, rows=[value(1), checkpoint(2)]))
    for whose, thread in ((tenant, "other"), (other_tenant, "th")):
        await stores.journal.commit(whose, thread, commit("i1", 0))
        assert await stores.journal.checkpoints(whose, thread) == []
        assert await stores.journal.values(whose, thread, [(1, 9)]) == []
