"""What LangGraph's contract of a saver promises, asked for directly."""

from __future__ import annotations

from typing import Any

import pytest
from graph_threads import DictRows
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.base.id import uuid6

from connectors.graphs import BrokenState, StagingSaver
from connectors.graphs.state_rows import RANGES_A_PAGE

ROOT: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


def checkpoint(values: dict[str, Any], versions: dict[str, int]) -> Checkpoint:
    return {
        "v": 4,
        "id": str(uuid6()),
        "ts": "2026-01-02T03:04:05+00:00",
        "channel_values": values,
        "channel_versions": dict(versions),
        "versions_seen": {"node": dict(versions)},
        "updated_channels": None,
    }


async def put(saver: StagingSaver, config: Any, values: dict[str, Any], versions: dict[str, int], **new: int) -> Any:
    metadata: Any = {"source": "loop", "step": 0, "parents": {}}
    return await saver.aput(config, checkpoint(values, versions), metadata, new or versions)


async def values_of(saver: StagingSaver, config: Any) -> dict[str, Any]:
    found = await saver.aget_tuple(config)
    assert found is not None
    return found.checkpoint["channel_values"]


async def test_pending_writes_come_in_langgraphs_order_on_another_worker_too() -> None:
    rows = DictRows()
    saver = StagingSaver(rows)
    config = await put(saver, ROOT, {}, {})
    await saver.aput_writes(config, [("b", "x" * 100), ("a", 2)], "task2", "~2")
    await saver.aput_writes(config, [("a", 1)], "task9", "~1")
    await saver.aput_writes(config, [("a", 3), ("__error__", "old")], "task1", "~3")
    await saver.aput_writes(config, [("a", "ignored"), ("__error__", "new")], "task1", "~3")
    expected = [
        ("task9", "a", 1),
        ("task2", "b", "x" * 100),
        ("task2", "a", 2),
        ("task1", "__error__", "new"),
        ("task1", "a", 3),
    ]
    for reader in (saver, None):
        if reader is None:
            rows.commit(saver)
            reader = StagingSaver(rows)
        found = await reader.aget_tuple(ROOT)
        assert found is not None
        assert found.pending_writes == expected


async def test_writes_that_come_before_their_checkpoint_are_staged_after_it() -> None:
    rows = DictRows()
    saver = StagingSaver(rows)
    late = checkpoint({}, {})
    config: Any = {"configurable": {**ROOT["configurable"], "checkpoint_id": late["id"]}}
    await saver.aput_writes(config, [("a", 1)], "task", "")
    assert [row for row in saver.staged() if row.kind == "checkpoint"] == []
    await saver.aput(ROOT, late, {"source": "loop", "step": 0, "parents": {}}, {})
    rows.commit(saver)
    found = await StagingSaver(rows).aget_tuple(ROOT)
    assert found is not None
    assert found.pending_writes == [("task", "a", 1)]


async def test_a_value_stays_where_it_is_until_its_version_changes() -> None:
    rows = DictRows()
    saver = StagingSaver(rows)
    first = await put(saver, ROOT, {"a": "a" * 500, "b": "b" * 500}, {"a": 1, "b": 1})
    rows.commit(saver)
    saver = StagingSaver(rows, next_row=rows.next_row)
    second = await put(saver, first, {"b": "c" * 500}, {"a": 1, "b": 2}, b=2)
    assert sum(row.kind == "value" for row in rows.commit(saver)) == 1
    third = await put(StagingSaver(rows, next_row=rows.next_row), second, {}, {"a": 1, "b": 3}, b=3)
    assert third
    assert await values_of(StagingSaver(rows), second) == {"a": "a" * 500, "b": "c" * 500}
    assert await values_of(StagingSaver(rows), first) == {"a": "a" * 500, "b": "b" * 500}


async def test_a_branch_with_the_same_version_numbers_has_values_of_its_own() -> None:
    saver = StagingSaver(DictRows())
    first = await put(saver, ROOT, {"a": "1" * 100}, {"a": 1})
    left = await put(saver, first, {"a": "left" * 100}, {"a": 2}, a=2)
    right = await put(saver, first, {"a": "right" * 100}, {"a": 2}, a=2)
    assert await values_of(saver, left) == {"a": "left" * 100}
    assert await values_of(saver, right) == {"a": "right" * 100}


@pytest.mark.parametrize("count", [0, 1, RANGES_A_PAGE, RANGES_A_PAGE + 1, 5 * RANGES_A_PAGE + 3])
async def test_lists_of_messages_come_back_in_their_order_whatever_their_length(count: int) -> None:
    rows = DictRows()
    saver = StagingSaver(rows)
    messages = [HumanMessage(str(number), id=str(number)) for number in range(count)]
    await put(saver, ROOT, {"m": messages}, {"m": 1})
    mixed = messages[::2] + messages[1::2]
    await put(saver, ROOT, {"m": mixed}, {"m": 2})
    assert sum(row.kind == "value" for row in rows.commit(saver)) <= count + count // RANGES_A_PAGE + 1
    assert await values_of(StagingSaver(rows), ROOT) == {"m": mixed}


async def test_what_is_handed_over_may_be_changed_afterwards() -> None:
    saver = StagingSaver(DictRows())
    given = checkpoint({"a": 1}, {"a": 1})
    config = await saver.aput(ROOT, given, {"source": "loop", "step": 0, "parents": {}}, {"a": 1})
    given["channel_versions"]["a"] = 5
    for _ in range(2):
        found = await saver.aget_tuple(config)
        assert found is not None
        assert found.checkpoint["channel_versions"] == {"a": 1}
        found.checkpoint["channel_versions"]["a"] = 7
        found.checkpoint["versions_seen"]["node"]["a"] = 7


async def test_a_row_that_is_missing_is_an_error_and_not_an_empty_state() -> None:
    rows = DictRows()
    saver = StagingSaver(rows)
    await put(saver, ROOT, {"a": "x" * 100}, {"a": 1})
    rows.commit(saver)
    rows.rows = {seq: row for seq, row in rows.rows.items() if row.kind == "checkpoint"}
    with pytest.raises(BrokenState, match="lacks row 1"):
        await StagingSaver(rows).aget_tuple(ROOT)
