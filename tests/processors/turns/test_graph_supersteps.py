"""Graphs with `durability="sync"`: each superstep is committed, and a process that dies loses at most one."""

from __future__ import annotations

import asyncio
from typing import Any

import graphs_sample
import pytest
from graph_kit import Hosting, _fresh_graphs, answer, crash, hosting, on_both_stores, run, say, told
from turns_kit import Behind, messages, record

from schemas import CancelRun, ChangeThread, Unavailable

__all__ = ["_fresh_graphs", "hosting"]


@on_both_stores
async def test_a_graph_goes_on_after_its_last_superstep(hosting: Hosting) -> None:
    asked = run("steps", {"log": ["in"]}, durability="sync")
    await crash(hosting, asked, "three")
    head = await hosting.head()
    assert head.progress == asked.envelope.id
    assert head.run is None
    assert await messages(hosting.system) == []
    outputs = await hosting.processor().process(asked)
    assert graphs_sample.ran == ["one", "two", "three", "three"]
    assert told(outputs) == ["run.started", *["message.added"] * 3, "run.completed"]
    assert (await hosting.state("steps"))["values"]["log"] == ["in", "one", "two", "three"]
    head = await hosting.head()
    assert head.progress == ""
    assert list(await hosting.processor().process(asked)) == list(outputs)


async def test_durability_exit_starts_over(hosting: Hosting) -> None:
    asked = run("steps", {"log": ["in"]}, durability="exit")
    await crash(hosting, asked, "three")
    await hosting.processor().process(asked)
    assert graphs_sample.ran == ["one", "two", "three", "one", "two", "three"]


async def test_a_crash_before_the_first_superstep_takes_the_input_again(hosting: Hosting) -> None:
    await hosting.processor().process(run("steps", {"log": ["before"]}))
    asked = run("steps", {"log": ["in"]}, durability="sync")
    await crash(hosting, asked, "one")
    await hosting.processor().process(asked)
    assert (await hosting.state("steps"))["values"]["log"] == [
        "before",
        "one",
        "two",
        "three",
        "in",
        "one",
        "two",
        "three",
    ]


async def test_an_answer_is_not_lost_when_the_process_dies_after_it(hosting: Hosting) -> None:
    await hosting.processor().process(run("asks", {}, id="r1"))
    yes = answer("asks", "yes", durability="sync")
    await crash(hosting, yes, "finish")
    outputs = await hosting.processor().process(yes)
    assert told(outputs) == ["run.resumed", "run.completed"]
    assert (await hosting.state("asks"))["values"]["log"] == ["asked: yes", "finished"]
    assert graphs_sample.ran == ["ask", "ask", "finish", "finish"]


@pytest.mark.parametrize(
    "stop", [{"interrupt_before": ("two",)}, {"interrupt_after": ("one",)}, {"interrupt_after": ("*",)}]
)
async def test_a_stop_between_nodes_holds_when_the_process_died_there(hosting: Hosting, stop: dict[str, Any]) -> None:
    """The superstep before the stop is committed; the process dies before the turn is."""
    asked = run("steps", {}, durability="sync", **stop)
    journal = hosting.stores.journal
    commit = journal.commit

    class Died(Exception):
        """The process ends here."""

    async def until_the_turn(tenant: str, thread: str, batch: Any) -> Any:
        if batch.final:
            raise Died
        return await commit(tenant, thread, batch)

    journal.commit = until_the_turn  # type: ignore[method-assign]
    with pytest.raises(Died):
        await hosting.processor().process(asked)
    journal.commit = commit  # type: ignore[method-assign]
    assert told(await hosting.processor().process(asked))[-1] == "run.paused"
    assert graphs_sample.ran == ["one"]
    assert told(await hosting.processor().process(run("steps")))[-1] == "run.completed"
    assert graphs_sample.ran == ["one", "two", "three"]


@on_both_stores
async def test_a_race_that_is_lost_between_supersteps_starts_the_input_again(hosting: Hosting) -> None:
    other = hosting.processor()

    async def be_overtaken() -> None:
        await other.process(run("chat", say("first")))

    graphs_sample.hooks["two"] = be_overtaken
    asked = run("steps", {"log": ["in"]}, durability="sync")
    outputs = await hosting.processor().process(asked)
    assert told(outputs)[-1] == "run.completed"
    stored = await hosting.stores.journal.events("acme", "t1")
    assert [e.seq for e in stored] == list(range(1, len(stored) + 1))
    assert (await hosting.state("steps"))["values"]["log"][-3:] == ["one", "two", "three"]


@on_both_stores
async def test_a_run_that_overtakes_another_in_supersteps_of_its_own_leaves_no_progress(hosting: Hosting) -> None:
    other = hosting.processor()

    async def be_overtaken() -> None:
        await other.process(run("chat", say("first"), durability="sync"))
        assert (await hosting.head()).progress == ""

    graphs_sample.hooks["two"] = be_overtaken
    outputs = await hosting.processor().process(run("steps", {"log": ["in"]}, durability="sync"))
    assert told(outputs)[-1] == "run.completed"
    assert graphs_sample.ran[-3:] == ["one", "two", "three"]


async def test_a_change_of_the_thread_in_between_does_not_make_the_graph_start_over(hosting: Hosting) -> None:
    other = hosting.processor()

    async def be_overtaken() -> None:
        await other.process(record(ChangeThread(user_id="u", action="update", title="Other")))

    graphs_sample.hooks["two"] = be_overtaken
    asked = run("steps", {"log": ["in"]}, durability="sync")
    outputs = await hosting.processor().process(asked)
    assert told(outputs) == ["run.started", *["message.added"] * 3, "run.completed"]
    assert graphs_sample.ran == ["one", "two", "two", "three"]
    assert (await hosting.state("steps"))["values"]["log"] == ["in", "one", "two", "three"]
    assert (await hosting.head()).title == "Other"


async def test_a_cancel_that_waits_after_a_crash_ends_the_run_that_had_made_progress(hosting: Hosting) -> None:
    asked = run("steps", {"log": ["in"]}, durability="sync")
    await crash(hosting, asked, "three")
    processor = hosting.processor()
    processor.attach(Behind(record(CancelRun(user_id="u"))))
    assert told(await processor.process(asked))[-1] == "run.cancelled"
    assert (await hosting.state("steps"))["values"]["log"] == ["in", "one", "two"]
    assert len(await messages(hosting.system)) == 2


async def test_a_rollback_takes_back_supersteps_that_are_committed(hosting: Hosting) -> None:
    await hosting.processor().process(run("steps", {"log": ["before"]}))
    asked = run("steps", {"log": ["in"]}, durability="sync")
    await crash(hosting, asked, "three")
    processor = hosting.processor()
    processor.attach(Behind(run("steps", {}, multitask_strategy="rollback")))
    assert told(await processor.process(asked))[-1] == "run.cancelled"
    assert (await hosting.state("steps"))["values"]["log"] == ["before", "one", "two", "three"]


async def test_a_subgraphs_supersteps_are_committed_too(hosting: Hosting) -> None:
    asked = run("around", {}, durability="sync")
    assert told(await hosting.processor().process(asked))[-1] == "run.paused"
    yes = answer("around", "yes", durability="sync")
    await crash(hosting, yes, "finish")
    assert told(await hosting.processor().process(yes))[-1] == "run.completed"
    assert graphs_sample.ran.count("finish") == 2
    assert (await hosting.state("around"))["values"]["log"] == ["asked: yes", "finished"]


async def test_a_store_that_is_away_between_supersteps_is_not_the_graphs_failure(hosting: Hosting) -> None:
    journal = hosting.stores.journal
    commit, asked = journal.commit, run("steps", {}, durability="sync")
    left = 2

    async def away(tenant: str, thread: str, batch: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise Unavailable("the store is away")
        return await commit(tenant, thread, batch)

    journal.commit = away  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await hosting.processor().process(asked)
    journal.commit = commit  # type: ignore[method-assign]
    assert told(await hosting.processor().process(asked))[-1] == "run.completed"
    assert (await hosting.state("steps"))["values"]["log"] == ["one", "two", "three"]


@on_both_stores
async def test_two_workers_with_one_record_come_to_one_run(hosting: Hosting) -> None:
    asked = run("steps", {}, durability="sync")
    first, second = await asyncio.gather(hosting.processor().process(asked), hosting.processor().process(asked))
    assert list(first) == list(second)
    assert (await hosting.state("steps"))["values"]["log"] == ["one", "two", "three"]
