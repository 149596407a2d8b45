"""Real graphs on the saver: what one leg leaves, the next one finds, on any worker."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from graph_threads import DictRows, Threads
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.types import Command
from sample_graphs import Address, Mood, Visit

from connectors.graphs import RowTooLarge, StagingSaver

DURABILITIES = ["exit", "async", "sync"]


def texts(result: Any) -> list[str]:
    return [message.text for message in result["messages"]]


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_each_leg_goes_on_from_the_rows_of_the_one_before(thread_of: Threads, durability: str) -> None:
    thread = thread_of("chat")
    for number in range(1, 5):
        result = await thread.run({"messages": [HumanMessage(f"m{number}")]}, durability=durability)
    assert texts(result) == ["m1", "1: m1", "m2", "3: m2", "m3", "5: m3", "m4", "7: m4"]
    assert texts((await thread.state()).values) == texts(result)


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_bytes_and_reads_of_a_leg_do_not_grow_with_the_conversation(thread_of: Threads, durability: str) -> None:
    thread, sizes = thread_of("chat"), []
    for number in range(150):
        await thread.run({"messages": [HumanMessage(f"m{number:03} " + "x" * 400)]}, durability=durability)
        sizes.append(thread.bytes_written)
        if number in (10, 149):
            thread.rows.ranges.clear()
            thread.rows.checkpoint_reads = 0
    async with thread.leg() as graph:
        state = await graph.aget_state(thread.config)
    assert len(state.values["messages"]) == 300
    assert max(sizes[100:]) < 1.3 * max(sizes[:20])
    assert thread.rows.checkpoint_reads == 1
    assert len(thread.rows.ranges) <= 2
    assert sum(map(len, thread.rows.ranges)) <= 6


async def test_a_message_is_one_row_whatever_names_it(thread_of: Threads) -> None:
    thread = thread_of("chat")
    await thread.run({"messages": [HumanMessage("first question " + "x" * 100)]}, durability="async")
    await thread.run({"messages": [HumanMessage("second question " + "x" * 100)]}, durability="async")
    values = [row.body for row in thread.rows.rows.values() if row.kind == "value"]
    assert len(values) == len(set(values))
    assert sum(b"1: first question" in body for body in values) == 1
    assert not any(b"first question" in row.body for row in thread.rows.rows.values() if row.kind == "checkpoint")


async def test_edits_removals_and_summaries_are_kept(thread_of: Threads) -> None:
    thread = thread_of("chat")
    for text in ("a", "b", "c"):
        await thread.run({"messages": [HumanMessage(text)]})
    await thread.run({"messages": [HumanMessage("edit A")]})
    assert texts((await thread.state()).values)[:3] == ["A", "1: a", "b"]
    await thread.run({"messages": [HumanMessage("remove 1")]})
    assert texts((await thread.state()).values)[:3] == ["A", "b", "3: b"]
    result = await thread.run({"messages": [HumanMessage("forget")]})
    assert (
        texts((await thread.state()).values) == texts(result) == ["summary", "edited", "remove 1", "removed", "forget"]
    )
    oldest = (await thread.history())[-2]
    assert texts(oldest.values) == ["a"]


async def test_a_message_that_is_changed_in_place_is_written_again(thread_of: Threads) -> None:
    thread = thread_of("chat")
    await thread.run({"messages": [HumanMessage("a", id="1")]})
    async with thread.leg() as graph:
        message = (await graph.aget_state(thread.config)).values["messages"][0]
        message.content = "changed"
        await graph.aupdate_state(thread.config, {"messages": [message]})
    assert texts((await thread.state()).values) == ["changed", "1: a"]


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_tools_inside_a_graph_run(thread_of: Threads, durability: str) -> None:
    thread = thread_of("with_tools")
    for _ in range(2):
        result = await thread.run({"messages": [HumanMessage("Vienna")]}, durability=durability)
    assert texts(result) == ["Vienna", "", "rain in Vienna", "It is rain in Vienna."] * 2


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("name", ["outer", "plain_call", "blocking_call"])
async def test_an_interrupt_in_a_subgraph_is_answered_on_another_worker(
    thread_of: Threads, name: str, durability: str
) -> None:
    thread = thread_of(name)
    for answer in ("yes", None, "no"):
        paused = await thread.run({"messages": [HumanMessage("hi")]}, durability=durability)
        (waiting,) = paused["__interrupt__"]
        assert waiting.value == {"question": "go on?"}
        result = await thread.run(Command(resume={waiting.id: answer}), durability=durability)
        assert texts(result)[-1] == f"you said {answer}"
        assert (await thread.state()).next == ()


async def test_the_state_of_a_subgraph_that_waits_can_be_read_and_changed(thread_of: Threads) -> None:
    thread = thread_of("outer")
    await thread.run({"messages": [HumanMessage("hi")]})
    inner = (await thread.state(subgraphs=True)).tasks[0].state
    assert inner.values["steps"] == ["think", "prepare"]
    assert inner.next == ("ask",)
    async with thread.leg() as graph:
        await graph.aupdate_state(inner.config, {"steps": ["by hand"]})
    inner = (await thread.state(subgraphs=True)).tasks[0].state
    assert inner.values["steps"] == ["think", "prepare", "by hand"]


async def test_entering_a_subgraph_does_not_read_the_whole_thread(thread_of: Threads) -> None:
    thread = thread_of("outer")
    for _ in range(40):
        await thread.run({"messages": [HumanMessage("hi")]})
        await thread.run(Command(resume="yes"))
    thread.rows.checkpoint_reads = 0
    await thread.run({"messages": [HumanMessage("hi")]})
    await thread.run(Command(resume="yes"))
    assert len(thread.rows.rows) > 400
    assert thread.rows.checkpoint_reads == 2


async def test_a_subgraph_with_a_memory_of_its_own_keeps_it(thread_of: Threads) -> None:
    thread = thread_of("with_memory")
    for _ in range(3):
        await thread.run({"messages": [], "steps": []})
    async with thread.leg() as graph:
        inner = await graph.aget_state({"configurable": {"thread_id": "t", "checkpoint_ns": "memory"}})
    assert len([step for step in inner.values["steps"] if step.startswith("note")]) >= 3


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_parallel_interrupts_are_answered_by_their_ids(thread_of: Threads, durability: str) -> None:
    thread = thread_of("voting")
    paused = await thread.run({"names": ["a", "b", "c"], "votes": []}, durability=durability)
    ids = {waiting.value: waiting.id for waiting in paused["__interrupt__"]}
    assert set(ids) == {"a", "b", "c"}
    still = await thread.run(Command(resume={ids["b"]: "no"}), durability=durability)
    assert {waiting.value for waiting in still["__interrupt__"]} == {"a", "c"}
    assert {i.value for i in (await thread.state()).interrupts} == {"a", "c"}
    result = await thread.run(Command(resume={ids["c"]: "yes", ids["a"]: "perhaps"}), durability=durability)
    assert result["votes"] == ["a: perhaps", "b: no", "c: yes"]


async def test_commands_lead_to_nodes_from_inside_and_from_outside(thread_of: Threads) -> None:
    thread = thread_of("routing")
    assert (await thread.run({"messages": [], "steps": []}))["steps"] == ["route", "went left"]
    result = await thread.run(Command(goto="right", update={"steps": ["right"]}))
    assert result["steps"] == ["route", "went left", "right", "went right"]


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_the_functional_api_keeps_what_it_saved_and_its_tasks(thread_of: Threads, durability: str) -> None:
    thread = thread_of("counter")
    assert await thread.run(2, durability=durability) == 4
    paused = await thread.run(20, durability=durability)
    assert paused["__interrupt__"][0].value == "add 40?"
    assert await thread.run(Command(resume=True), durability=durability) == 44


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_types_of_the_graphs_own_come_back_as_they_were(thread_of: Threads, durability: str) -> None:
    thread = thread_of("profile")
    await thread.run({"name": "Ada"}, durability=durability)
    values = (await thread.state()).values
    at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    assert values["address"] == Address(street="Ada street", since=at)
    assert values["visits"] == [Visit(at, [Mood.GOOD])]
    assert values["mood"] is Mood.GOOD
    assert values["tags"] == {"a", "b"}
    assert values["anything"] == Visit(at)


async def test_types_that_are_not_the_graphs_own_are_not_made(thread_of: Threads) -> None:
    thread = thread_of("profile")
    await thread.run({"name": "Ada"})
    bare = StagingSaver(thread.rows)
    found = await bare.aget_tuple(thread.config)
    assert found is not None
    assert found.checkpoint["channel_values"]["anything"] == {"at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "moods": []}


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_thread_forks_from_an_old_checkpoint(thread_of: Threads, durability: str) -> None:
    thread = thread_of("chat")
    for text in ("a", "b", "c"):
        await thread.run({"messages": [HumanMessage(text)]}, durability=durability)
    old = next(s for s in await thread.history() if texts(s.values) == ["a", "1: a"] and not s.next)
    result = await thread.run({"messages": [HumanMessage("other")]}, old.config, durability=durability)
    assert texts(result) == ["a", "1: a", "other", "3: other"]
    assert texts((await thread.state()).values) == texts(result)
    again = await thread.run({"messages": [HumanMessage("next")]}, durability=durability)
    assert texts(again)[2:] == ["other", "3: other", "next", "5: next"]


async def test_an_old_checkpoint_is_run_again(thread_of: Threads) -> None:
    thread = thread_of("outer")
    await thread.run({"messages": [HumanMessage("hi")]})
    await thread.run(Command(resume="yes"))
    before_sub = next(s for s in await thread.history() if s.next == ("sub",))
    paused = await thread.run(None, before_sub.config)
    assert paused["__interrupt__"][0].value == {"question": "go on?"}
    result = await thread.run(Command(resume="no"))
    assert texts(result)[-1] == "you said no"


async def test_a_state_is_changed_by_hand_and_the_graph_goes_on_from_it(thread_of: Threads) -> None:
    thread = thread_of("chat")
    await thread.run({"messages": [HumanMessage("a")]})
    async with thread.leg() as graph:
        await graph.aupdate_state(thread.config, {"messages": [HumanMessage("by hand")]}, as_node="__start__")
    assert (await thread.state()).next == ("reply",)
    assert texts(await thread.run(None)) == ["a", "1: a", "by hand", "3: by hand"]
    old = (await thread.history())[-1]
    async with thread.leg() as graph:
        forked = await graph.aupdate_state(old.config, {"messages": [HumanMessage("new")]}, as_node="reply")
    assert texts((await thread.state(forked)).values) == ["new"]


async def test_history_is_newest_first_by_pages_and_by_metadata(thread_of: Threads) -> None:
    thread = thread_of("chat")
    for text in ("a", "b"):
        await thread.run({"messages": [HumanMessage(text)]})
    states = await thread.history()
    assert [s.metadata["step"] for s in states] == [4, 3, 2, 1, 0, -1]
    ids = [s.config["configurable"]["checkpoint_id"] for s in states]
    assert ids == sorted(ids, reverse=True)
    assert [s.parent_config and s.parent_config["configurable"]["checkpoint_id"] for s in states] == [*ids[1:], None]
    page = await thread.history(limit=2, before=states[1].config)
    assert [s.config["configurable"]["checkpoint_id"] for s in page] == ids[2:4]
    inputs = await thread.history(filter={"source": "input"})
    assert [s.metadata["step"] for s in inputs] == [2, -1]
    assert [len(s.values.get("messages", [])) for s in states] == [4, 3, 2, 2, 1, 0]


async def test_supersteps_are_committed_one_by_one(thread_of: Threads) -> None:
    thread = thread_of("outer")
    saver = StagingSaver(thread.rows)
    hosted = await thread._graphs.get("outer")
    commits = 0
    async with hosted.bound(saver=saver, store=thread._store, config=thread.config) as graph:
        async for _ in graph.astream({"messages": [HumanMessage("hi")]}, thread.config, durability="sync"):
            commits += bool(thread.rows.commit(saver))
            # Whoever takes over here finds a checkpoint with all that it names.
            assert await StagingSaver(thread.rows).aget_tuple(thread.config) is not None
    thread.rows.commit(saver)
    assert commits >= 2
    assert texts(await thread.run(Command(resume="yes")))[-1] == "you said yes"


async def test_a_leg_that_is_thrown_away_leaves_nothing(thread_of: Threads) -> None:
    thread = thread_of("chat")
    await thread.run({"messages": [HumanMessage("a")]})
    before = dict(thread.rows.rows)
    hosted = await thread._graphs.get("chat")
    saver = StagingSaver(thread.rows, next_row=thread.rows.next_row)
    async with hosted.bound(saver=saver, store=thread._store, config=thread.config) as graph:
        await graph.ainvoke({"messages": [HumanMessage("lost")]}, thread.config)
    assert thread.rows.rows == before
    assert texts(await thread.run({"messages": [HumanMessage("b")]})) == ["a", "1: a", "b", "3: b"]


async def test_a_value_that_no_row_can_hold_is_refused_in_words(thread_of: Threads) -> None:
    thread = thread_of("large")
    with pytest.raises(RowTooLarge, match="the channel 'document' has 1,000,"):
        await thread.run({"document": "x"}, durability="sync")


async def test_the_store_is_there_in_async_and_in_plain_nodes(thread_of: Threads) -> None:
    thread = thread_of("keeping")
    assert (await thread.run({"messages": [], "steps": ["s"]}))["steps"] == ["s", "kept", "found 1"]


async def test_reading_on_the_event_loop_without_await_says_what_to_do(thread_of: Threads) -> None:
    thread = thread_of("chat")
    await thread.run({"messages": [HumanMessage("a")]})
    saver = StagingSaver(thread.rows)
    with pytest.raises(RuntimeError, match="use the async method"):
        saver.get_tuple(thread.config)
    await saver.aget_tuple(thread.config)
    found = saver.get_tuple(thread.config)
    assert found is not None
    assert isinstance(found.checkpoint["channel_values"]["messages"][-1], AIMessage)


async def test_an_empty_thread_has_no_checkpoint() -> None:
    saver = StagingSaver(DictRows())
    assert await saver.aget_tuple({"configurable": {"thread_id": "t", "checkpoint_ns": ""}}) is None
    assert [found async for found in saver.alist(None)] == []
    assert saver.staged() == ()
    assert saver.next_row == 1
