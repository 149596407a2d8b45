"""Graphs with `durability="async"`, as they come: checkpoints are committed behind the graph, which does not wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import graphs_sample
import pytest
from graph_kit import Hosting, _fresh_graphs, answer, crash, hosting, on_both_stores, run, say, told
from turns_kit import Behind, messages, record

from processors.turns import graph_saving
from schemas import CancelRun, GraphInput, Record, Unavailable

__all__ = ["_fresh_graphs", "hosting"]


@pytest.fixture(autouse=True)
def _at_once(hosting: Hosting) -> None:
    hosting.trail_after = 0.001


async def shown(hosting: Hosting, graph: str, log: list[str]) -> None:
    """Waits until the journal has this state of the thread."""
    async with asyncio.timeout(120):
        while True:
            found = await hosting.stores.journal.hydrate("acme", "t1", window=0)
            if found.head and (await hosting.state(graph))["values"].get("log") == log:
                return
            await asyncio.sleep(0.01)


async def crash_when_shown(hosting: Hosting, one: Record, node: str, log: list[str]) -> None:
    """The process ends in this node, when the state before it is in the journal."""
    await crash(hosting, one, node, when=lambda: shown(hosting, graph_of(one), log))


def graph_of(one: Record) -> str:
    assert isinstance(one.body, GraphInput)
    return one.body.request.graph


def on_commits(hosting: Hosting, before: Callable[[Any], Awaitable[None]]) -> list[bool]:
    """Does this before each commit; whether each was the turn's."""
    journal, seen = hosting.stores.journal, list[bool]()
    commit = journal.commit

    async def committing(tenant: str, thread: str, batch: Any) -> Any:
        seen.append(batch.final)
        await before(batch)
        return await commit(tenant, thread, batch)

    journal.commit = committing  # type: ignore[method-assign]
    return seen


async def nothing(_: Any) -> None:
    """Does nothing."""


@on_both_stores
async def test_checkpoints_show_while_the_graph_works(hosting: Hosting) -> None:
    for node, log in (("two", ["in", "one"]), ("three", ["in", "one", "two"])):
        graphs_sample.hooks[node] = lambda log=log: shown(hosting, "steps", log)
    outputs = await hosting.processor().process(run("steps", {"log": ["in"]}))
    assert told(outputs) == ["run.started", *["message.added"] * 3, "run.completed"]
    assert graphs_sample.ran == ["one", "two", "three"]
    assert (await hosting.state("steps"))["values"]["log"] == ["in", "one", "two", "three"]
    head = await hosting.head()
    assert (head.run, head.progress) == (None, "")


async def test_quick_leg_costs_no_commit_more(hosting: Hosting) -> None:
    hosting.trail_after = 60
    commits = on_commits(hosting, nothing)
    await hosting.processor().process(run("steps", {"log": ["in"]}))
    assert commits == [True]


async def test_graph_does_not_wait_for_what_is_committed_behind_it(hosting: Hosting) -> None:
    in_commit, three_ran = asyncio.Event(), asyncio.Event()

    async def slow(batch: Any) -> None:
        if not batch.final:
            in_commit.set()
            await three_ran.wait()

    async def wait() -> None:
        await in_commit.wait()

    async def go() -> None:
        three_ran.set()

    graphs_sample.hooks |= {"two": wait, "three": go}
    commits = on_commits(hosting, slow)
    assert told(await hosting.processor().process(run("steps", {})))[-1] == "run.completed"
    assert commits[0] is False
    assert commits.count(True) == 1
    assert (await hosting.state("steps"))["values"]["log"] == ["one", "two", "three"]


async def test_what_piles_up_behind_a_slow_store_is_committed_in_pieces(
    hosting: Hosting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_saving, "PIECE_BYTES", 10_000)
    in_commit, three_ran, sizes = asyncio.Event(), asyncio.Event(), list[int]()

    async def slow(batch: Any) -> None:
        sizes.append(sum(len(row.body) for row in batch.rows))
        in_commit.set()
        await three_ran.wait()

    async def wait() -> None:
        await in_commit.wait()

    async def go() -> None:
        three_ran.set()

    graphs_sample.hooks |= {"one": wait, "three": go}
    commits = on_commits(hosting, slow)
    given = "x" * 8_000  # of which each checkpoint has a copy
    assert told(await hosting.processor().process(run("steps", {"log": [given]})))[-1] == "run.completed"
    assert len(sizes) > 3
    assert commits == [*[False] * (len(sizes) - 1), True]
    assert max(sizes) < 2 * 10_000
    assert (await hosting.state("steps"))["values"]["log"] == [given, "one", "two", "three"]
    assert (await hosting.head()).progress == ""


@on_both_stores
async def test_graph_goes_on_after_what_was_committed_when_its_process_dies(hosting: Hosting) -> None:
    asked = run("steps", {"log": ["in"]})
    await crash_when_shown(hosting, asked, "three", ["in", "one", "two"])
    assert await messages(hosting.system) == []
    outputs = await hosting.processor().process(asked)
    assert graphs_sample.ran == ["one", "two", "three", "three"]
    assert told(outputs) == ["run.started", *["message.added"] * 3, "run.completed"]
    assert (await hosting.state("steps"))["values"]["log"] == ["in", "one", "two", "three"]
    assert list(await hosting.processor().process(asked)) == list(outputs)


async def test_what_was_not_committed_when_the_process_died_is_made_again_from_the_start(hosting: Hosting) -> None:
    hosting.trail_after = 60
    asked = run("steps", {"log": ["in"]})
    await crash(hosting, asked, "three")
    await hosting.processor().process(asked)
    assert graphs_sample.ran == ["one", "two", "three", "one", "two", "three"]
    assert (await hosting.state("steps"))["values"]["log"] == ["in", "one", "two", "three"]


async def test_answer_is_not_lost_when_the_process_dies_after_it(hosting: Hosting) -> None:
    await hosting.processor().process(run("asks", {}, id="r1"))
    yes = answer("asks", "yes")
    await crash_when_shown(hosting, yes, "finish", ["asked: yes"])
    assert told(await hosting.processor().process(yes)) == ["run.resumed", "run.completed"]
    assert (await hosting.state("asks"))["values"]["log"] == ["asked: yes", "finished"]
    assert graphs_sample.ran == ["ask", "ask", "finish", "finish"]


async def test_pause_after_committed_checkpoints_asks_once_and_goes_on(hosting: Hosting) -> None:
    asked = run("around", {})
    assert told(await hosting.processor().process(asked))[-1] == "run.paused"
    yes = answer("around", "yes")
    graphs_sample.hooks["finish"] = lambda: asyncio.sleep(0.05)  # something is committed meanwhile, or not
    assert told(await hosting.processor().process(yes))[-1] == "run.completed"
    assert (await hosting.state("around"))["values"]["log"] == ["asked: yes", "finished"]


@on_both_stores
async def test_race_that_is_lost_behind_the_graph_starts_the_input_again(hosting: Hosting) -> None:
    other = hosting.processor()

    async def be_overtaken() -> None:
        await other.process(run("chat", say("first")))

    graphs_sample.hooks["two"] = be_overtaken
    outputs = await hosting.processor().process(run("steps", {"log": ["in"]}))
    assert told(outputs)[-1] == "run.completed"
    stored = await hosting.stores.journal.events("acme", "t1")
    assert [e.seq for e in stored] == list(range(1, len(stored) + 1))
    assert (await hosting.state("steps"))["values"]["log"][-3:] == ["one", "two", "three"]


async def test_store_that_is_away_behind_the_graph_is_not_the_graphs_failure(hosting: Hosting) -> None:
    gone = asyncio.Event()

    async def away(batch: Any) -> None:
        if not batch.final and not gone.is_set():
            gone.set()
            raise Unavailable("the store is away")

    async def wait() -> None:
        await gone.wait()

    graphs_sample.hooks["two"] = wait
    on_commits(hosting, away)
    asked = run("steps", {"log": ["in"]})
    with pytest.raises(Unavailable):
        await hosting.processor().process(asked)
    assert told(await hosting.processor().process(asked))[-1] == "run.completed"
    assert (await hosting.state("steps"))["values"]["log"] == ["in", "one", "two", "three"]


@pytest.mark.parametrize(
    ("comes", "log"),
    [
        (record(CancelRun(user_id="u")), ["before", "one", "two", "three", "in", "one", "two"]),
        (None, ["before", "one", "two", "three"]),
    ],
)
async def test_cancel_keeps_what_was_committed_and_a_rollback_takes_it_back(
    hosting: Hosting, comes: Record | None, log: list[str]
) -> None:
    await hosting.processor().process(run("steps", {"log": ["before"]}))
    processor = hosting.processor()
    stop = comes or run("steps", {}, multitask_strategy="rollback")

    async def stopped() -> None:
        await shown(hosting, "steps", ["before", "one", "two", "three", "in", "one", "two"])
        processor.attach(Behind(stop))
        processor.arrived(stop.raw)
        await asyncio.Event().wait()

    graphs_sample.hooks["three"] = stopped
    assert told(await processor.process(run("steps", {"log": ["in"]})))[-1] == "run.cancelled"
    assert (await hosting.state("steps"))["values"]["log"] == log


async def test_nothing_is_committed_behind_a_leg_that_was_stopped(hosting: Hosting) -> None:
    there = asyncio.Event()

    async def die() -> None:
        there.set()
        await asyncio.Event().wait()

    graphs_sample.hooks["one"] = die
    hosting.trail_after = 0.2
    commits = on_commits(hosting, nothing)
    dying = asyncio.create_task(hosting.processor().process(run("steps", {"log": ["in"]})))
    await there.wait()
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "graph-trail" and not task.cancelling()]
    assert commits == []
