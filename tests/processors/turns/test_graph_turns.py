"""Hosted graphs in the turns processor, on real stores: answered once, paused, resumed, replaced, cancelled, failed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import graphs_sample
import pytest
from graph_kit import Hosting, _fresh_graphs, answer, crash, events, hosting, on_both_stores, raw, run, say, told
from turns_kit import Behind, messages, record
from turns_kit import say as message

from connectors.graphs import Graphs
from schemas import CancelRun, GraphCommand, RunLimits, Topic, UpdateState, decode
from schemas.base import Body
from streams import Reject, Retry

__all__ = ["_fresh_graphs", "hosting"]


@on_both_stores
async def test_a_graph_answers_and_its_messages_join_the_thread(hosting: Hosting) -> None:
    outputs = await hosting.processor().process(run("chat", say("  hello\nthere ")))
    assert told(outputs) == ["run.started", "message.added", "message.added", "run.completed"]
    assert await messages(hosting.system) == ["user: hello\nthere", "assistant: done done done done done"]
    added, completed = events(outputs, "message.added")[-1]["message"], events(outputs, "run.completed")[0]
    assert completed["message_id"] == added["message_id"]
    assert completed["turns"] == 1
    assert completed["usage"]["input_tokens"] == 10
    head = await hosting.head()
    assert head.title == "hello there"
    assert head.agent_id == "chat"
    assert head.run is None
    assert (await hosting.state("chat"))["next"] == []


@on_both_stores
async def test_a_replay_gives_the_same_bytes_and_does_not_run_the_graph_again(hosting: Hosting) -> None:
    asked = run("chat", say("hi"))
    first = await hosting.processor().process(asked)
    assert list(await hosting.processor().process(asked)) == list(first)
    assert graphs_sample.ran == ["model"]


async def test_the_next_input_goes_on_from_the_state_that_the_last_one_left(hosting: Hosting) -> None:
    processor = hosting.processor()
    await processor.process(run("chat", say("one")))
    outputs = await hosting.processor().process(run("chat", say("two")))
    assert told(outputs) == ["run.started", "message.added", "message.added", "run.completed"]
    assert len(await messages(hosting.system)) == 4
    assert len((await hosting.state("chat"))["values"]["messages"]) == 4


@on_both_stores
async def test_a_crash_before_the_commit_leaves_nothing_and_the_record_is_answered_again(hosting: Hosting) -> None:
    asked = run("steps", {})
    await crash(hosting, asked, "three")
    assert (await hosting.stores.journal.hydrate("acme", "t1", window=1)).head is None
    assert await hosting.stores.journal.checkpoints("acme", "t1") == []
    outputs = await hosting.processor().process(asked)
    assert told(outputs)[-1] == "run.completed"
    assert graphs_sample.ran == ["one", "two", "three", "one", "two", "three"]


@on_both_stores
async def test_a_lost_race_runs_the_graph_again_on_top_of_what_won(hosting: Hosting) -> None:
    other = hosting.processor()

    async def be_overtaken() -> None:
        await other.process(run("chat", say("first")))

    graphs_sample.hooks["model"] = be_overtaken
    outputs = await hosting.processor().process(run("chat", say("second")))
    assert told(outputs)[-1] == "run.completed"
    assert graphs_sample.ran == ["model", "model", "model"]
    said = [m for m in await messages(hosting.system) if m.startswith("user")]
    assert said == ["user: first", "user: second"]
    stored = await hosting.stores.journal.events("acme", "t1")
    assert [e.seq for e in stored] == list(range(1, len(stored) + 1))


@on_both_stores
async def test_an_interrupt_pauses_the_run_and_an_answer_lets_the_same_run_go_on(hosting: Hosting) -> None:
    asked = await hosting.processor().process(run("asks", {"log": ["in"]}, id="r1"))
    assert told(asked) == ["run.started", "run.paused"]
    (paused,) = events(asked, "run.paused")
    assert paused["reason"] == "interrupt"
    assert [i["value"] for i in paused["interrupts"]] == ["Sure?"]
    head = await hosting.head()
    assert head.run
    assert head.run.paused
    assert head.condition == "approval"
    assert (await hosting.state("asks"))["next"] == ["ask"]
    done = await hosting.processor().process(answer("asks", "yes", id="a1"))
    assert told(done) == ["run.resumed", "run.completed"]
    assert events(done, "run.completed")[0]["run_id"] == "r1"
    assert (await hosting.state("asks"))["values"]["log"] == ["in", "asked: yes", "finished"]
    assert (await hosting.head()).run is None


@pytest.mark.parametrize("value", [None, False, {"a": 1}])
async def test_any_value_is_an_answer(hosting: Hosting, value: Any) -> None:
    await hosting.processor().process(run("asks", {}))
    assert told(await hosting.processor().process(answer("asks", value))) == ["run.resumed", "run.completed"]
    assert (await hosting.state("asks"))["values"]["log"] == [f"asked: {value}", "finished"]


async def test_an_interrupt_of_a_subgraph_says_whose_it_is(hosting: Hosting) -> None:
    asked = await hosting.processor().process(run("around", {}))
    (interrupt,) = events(asked, "run.paused")[0]["interrupts"]
    assert interrupt["namespace"][0].startswith("inner:")
    assert told(await hosting.processor().process(answer("around", "yes"))) == ["run.resumed", "run.completed"]


async def test_an_empty_input_passes_a_stop_before_a_node(hosting: Hosting) -> None:
    first = await hosting.processor().process(run("steps", {}, interrupt_before=("two",), id="r1"))
    assert told(first)[-1] == "run.paused"
    assert events(first, "run.paused")[0]["interrupts"] == []
    done = await hosting.processor().process(run("steps"))
    assert told(done)[-1] == "run.completed"
    assert events(done, "run.completed")[0]["run_id"] == "r1"
    assert graphs_sample.ran == ["one", "two", "three"]


async def test_a_new_input_abandons_the_run_that_waits(hosting: Hosting) -> None:
    await hosting.processor().process(run("asks", {"log": ["a"]}, id="r1"))
    outputs = await hosting.processor().process(run("asks", {"log": ["b"]}, id="r2"))
    assert told(outputs) == ["run.cancelled", "run.started", "run.paused"]
    assert events(outputs, "run.cancelled")[0]["reason"] == "abandoned"
    assert (await hosting.state("asks"))["values"]["log"] == ["a", "b"]


async def test_a_message_to_the_agent_abandons_a_graph_that_waits(hosting: Hosting) -> None:
    await hosting.processor().process(run("asks", {}))
    outputs = await hosting.processor().process(message("hi"))
    assert told(outputs)[:2] == ["run.cancelled", "run.started"]
    assert told(outputs)[-1] == "run.completed"


@pytest.mark.parametrize("before", [None, "asks", "done"])
async def test_an_answer_that_nobody_waits_for_is_refused_without_a_run(hosting: Hosting, before: str | None) -> None:
    if before == "done":
        await hosting.processor().process(run("chat", say("hi")))
    elif before:
        await hosting.processor().process(run("asks", {}))
    graph = "around" if before == "asks" else "chat"
    outputs = await hosting.processor().process(answer(graph, "yes"))
    assert told(outputs) == ["input.refused"]
    assert "wait" in events(outputs)[0]["reason"]


async def test_an_answer_to_what_is_not_open_any_more_is_refused_and_the_run_waits_on(hosting: Hosting) -> None:
    processor = hosting.processor()
    await processor.process(run("asks", {}))
    stale = GraphCommand(resumes=True, resume="yes", answers=("another",))
    assert told(await processor.process(run("asks", command=stale))) == ["input.refused"]
    waiting = (await hosting.head()).run
    assert waiting
    (asked,) = waiting.interrupts
    right = GraphCommand(resumes=True, resume="yes", answers=(asked.id,))
    assert told(await processor.process(run("asks", command=right)))[-1] == "run.completed"


async def test_a_command_without_an_answer_starts_a_run(hosting: Hosting) -> None:
    await hosting.processor().process(run("steps", {}))
    command = GraphCommand(update={"log": ["by hand"]}, goto="three")
    outputs = await hosting.processor().process(run("steps", command=command))
    assert told(outputs)[0] == "run.started"
    assert told(outputs)[-1] == "run.completed"
    assert (await hosting.state("steps"))["values"]["log"][-2:] == ["by hand", "three"]


async def test_reject_and_enqueue_wait_their_turn_behind_an_agents_run(hosting: Hosting) -> None:
    await hosting.system.tenant("scripted:tool=Nope")
    head = await _with_a_tool_call(hosting)
    assert head == "tools"
    rejected = await hosting.processor().process(run("chat", say("no"), multitask_strategy="reject"))
    assert events(rejected, "run.cancelled")[0]["reason"] == "rejected"
    queued = await hosting.processor().process(run("chat", say("later"), id="r2", multitask_strategy="enqueue"))
    assert told(queued) == ["run.queued"]
    ended = await hosting.processor().process(record(CancelRun(user_id="u")))
    (note,) = [o for o in ended if o.topic is Topic.CHAT_MESSAGES]
    outputs = await hosting.processor().process(decode(raw(note)))
    assert told(outputs)[0] == "run.started"
    assert events(outputs, "run.completed")[0]["run_id"] == "r2"
    assert (await messages(hosting.system))[-2:] == ["user: later", "assistant: done done done done done"]


async def _with_a_tool_call(hosting: Hosting) -> str:
    """An agent's run that waits for a tool."""
    await hosting.system.tenant("scripted:tool=Bench_Look")
    await hosting.system.processor().process(message("look"))
    return (await hosting.head()).status


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_interrupt_keeps_and_rollback_removes_what_the_run_before_did(hosting: Hosting, strategy: Any) -> None:
    await hosting.processor().process(run("steps", {"log": ["before"]}))
    await hosting.processor().process(run("asks", {"log": ["in"], "messages": [{"role": "user", "content": "q"}]}))
    assert (await messages(hosting.system))[-1] == "user: q"
    outputs = await hosting.processor().process(run("steps", {"log": ["next"]}, multitask_strategy=strategy))
    removed = ["messages.removed"] if strategy == "rollback" else []
    assert told(outputs)[: len(removed) + 2] == [*removed, "run.cancelled", "run.started"]
    log = (await hosting.state("steps"))["values"]["log"]
    between = ["in"] if strategy == "interrupt" else []
    assert log == ["before", "one", "two", "three", *between, "next", "one", "two", "three"]
    assert ("user: q" in await messages(hosting.system)) == (strategy == "interrupt")


@on_both_stores
async def test_a_rollback_of_the_first_run_leaves_no_state(hosting: Hosting) -> None:
    await hosting.processor().process(run("asks", {"log": ["in"]}))
    await hosting.processor().process(message("rather this", multitask_strategy="rollback"))
    state = await hosting.state("asks")
    assert not any(state["values"].values())
    assert state["next"] == []
    await hosting.processor().process(run("asks", {"log": ["again"]}))
    assert (await hosting.state("asks"))["values"]["log"] == ["again"]


@pytest.mark.parametrize("durability", ["async", "sync", "exit"])
@pytest.mark.parametrize("body", ["cancel", "interrupt", "rollback"])
async def test_a_record_that_comes_in_stops_the_graph(hosting: Hosting, body: str, durability: Any) -> None:
    processor, reached = hosting.processor(), asyncio.Event()
    await processor.process(run("steps", {"log": ["before"]}))

    async def hang() -> None:
        reached.set()
        await asyncio.Event().wait()

    graphs_sample.hooks["two"] = hang
    running = asyncio.ensure_future(processor.process(run("steps", {"log": ["in"]}, durability=durability)))
    await reached.wait()
    stop = (
        record(CancelRun(user_id="u")) if body == "cancel" else run("steps", {"log": ["next"]}, multitask_strategy=body)
    )
    processor.attach(Behind(stop))
    processor.arrived(stop.raw)
    outputs = await running
    assert told(outputs)[-1] == "run.cancelled"
    log = (await hosting.state("steps"))["values"]["log"]
    assert log == ["before", "one", "two", "three", *([] if body == "rollback" else ["in", "one"])]
    processor.attach(Behind())
    after = told(await processor.process(stop))
    assert after[-1:] == ([] if body == "cancel" else ["run.completed"])
    said = await messages(hosting.system)
    assert said.count("user: said by one") == {"cancel": 2, "interrupt": 3, "rollback": 2}[body]


async def test_a_graph_that_raises_fails_its_run_and_keeps_its_supersteps(hosting: Hosting) -> None:
    def fail() -> None:
        raise ValueError("no such thing")

    graphs_sample.hooks["three"] = fail
    outputs = await hosting.processor().process(run("steps", {}))
    (failed,) = events(outputs, "run.failed")
    assert failed["code"] == "graph_error"
    assert failed["message"] == "ValueError: no such thing"
    state = await hosting.state("steps")
    assert state["values"]["log"] == ["one", "two"]
    assert state["next"] == ["three"]
    assert told(await hosting.processor().process(run("steps")))[-1] == "run.completed"
    assert (await hosting.state("steps"))["values"]["log"] == ["one", "two", "three"]


async def test_a_graph_without_end_fails_at_its_recursion_limit(hosting: Hosting) -> None:
    outputs = await hosting.processor().process(run("counts", {"count": 1}, config={"recursion_limit": 5}))
    (failed,) = events(outputs, "run.failed")
    assert failed["code"] == "graph_error"
    assert failed["message"].startswith("GraphRecursionError: Recursion limit of 5")
    assert told(outputs) == ["run.started", "run.failed"]


async def test_a_graph_stops_at_its_seconds(hosting: Hosting) -> None:
    hosting.limits = RunLimits(seconds=0.3)
    graphs_sample.hooks["two"] = lambda: asyncio.sleep(60)
    outputs = await hosting.processor().process(run("steps", {}))
    assert events(outputs, "run.failed")[0]["code"] == "limit_seconds"
    assert (await hosting.state("steps"))["values"]["log"] == ["one"]


async def test_a_graph_that_is_not_there_fails_the_run_in_words(hosting: Hosting) -> None:
    (failed,) = events(await hosting.processor().process(run("nope", {})), "run.failed")
    assert failed["code"] == "graph_missing"
    assert "'nope'" in failed["message"]
    assert "steps" not in failed["message"], "the others that are hosted are not named"


async def test_why_a_graph_cannot_be_loaded_is_in_the_log_and_not_shown_to_users(
    hosting: Hosting, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken_graph.py").write_text("raise OSError('/srv/secrets/token is not there')")
    hosting.graphs = Graphs({"broken": f"{tmp_path}/broken_graph.py:graph"})
    (failed,) = events(await hosting.processor().process(run("broken", {})), "run.failed")
    assert failed["code"] == "graph_missing"
    assert "'broken' is not hosted here, or cannot be loaded" in failed["message"]
    assert [hidden for hidden in ("/srv/secrets", str(tmp_path), "OSError") if hidden in failed["message"]] == []
    assert "/srv/secrets/token is not there" in caplog.text


async def test_a_worker_runs_and_changes_no_graph_that_the_tenant_may_not_use(hosting: Hosting) -> None:
    await hosting.processor().process(run("steps", {}))
    tenant = await hosting.stores.directory.tenant("acme")
    assert tenant
    less = tenant.model_copy(update={"graphs": ("other_*",), "version": tenant.version + 1})
    assert await hosting.stores.directory.put_tenant(less, expected_version=tenant.version)
    before = (await hosting.state("steps"))["values"]
    (failed,) = events(await hosting.processor().process(run("steps", {})), "run.failed")
    assert (failed["code"], "may not use" in failed["message"]) == ("graph_missing", True)
    assert (await hosting.state("steps"))["values"] == before


async def test_a_checkpoint_to_go_on_from_has_to_be_there(hosting: Hosting) -> None:
    await hosting.processor().process(run("steps", {}))
    (failed,) = events(await hosting.processor().process(run("steps", {}, checkpoint_id="made-up")), "run.failed")
    assert "'made-up'" in failed["message"]


async def test_a_fork_goes_on_from_an_older_checkpoint(hosting: Hosting) -> None:
    outputs = await hosting.processor().process(run("steps", {"log": ["in"]}))
    values = [e["checkpoint_id"] for e in events(outputs, "graph.streamed") if e["mode"] == "values"]
    assert (await hosting.state("steps", checkpoint_id=values[1]))["values"]["log"] == ["in", "one"]
    await hosting.processor().process(run("steps", checkpoint_id=values[1]))
    assert graphs_sample.ran == ["one", "two", "three", "two", "three"]
    assert (await hosting.state("steps"))["values"]["log"] == ["in", "one", "two", "three"]


async def test_strangers_are_rejected_and_paused_tenants_wait(hosting: Hosting) -> None:
    await hosting.processor().process(run("chat", say("hi")))
    stranger = run("chat", say("hi"))
    body = stranger.body.model_copy(update={"user_id": "other"})
    with pytest.raises(Reject, match="does not belong"):
        await hosting.processor().process(record(body))
    tenant = await hosting.stores.directory.tenant("acme")
    assert tenant
    paused = tenant.model_copy(update={"paused": True, "version": tenant.version + 1})
    assert await hosting.stores.directory.put_tenant(paused, expected_version=tenant.version)
    with pytest.raises(Retry, match="paused"):  # this processor has no timers that could hold it
        await hosting.processor().process(run("chat", say("hi")))


async def test_giving_up_on_an_answer_ends_the_run_that_waits_for_it(hosting: Hosting) -> None:
    await hosting.processor().process(run("asks", {}, id="r1"))
    outputs = await hosting.processor().give_up(answer("asks", "yes"), "poison")
    assert events(outputs, "run.failed")[0]["run_id"] == "r1"
    assert (await hosting.head()).run is None
    alone = await hosting.processor().give_up(run("asks", {}, id="r2"), "poison")
    assert events(alone, "run.failed")[0]["run_id"] == "r2"


def update(graph: str, values: Any, **fields: Any) -> Body:
    return UpdateState(user_id="u", graph=graph, values=values, **fields)


@on_both_stores
async def test_a_state_is_changed_by_hand(hosting: Hosting) -> None:
    await hosting.processor().process(run("steps", {}))
    body = update("steps", {"log": ["by hand"], "messages": [{"role": "user", "content": "hm"}]}, as_node="three")
    outputs = await hosting.processor().process(record(body, id="u1"))
    assert told(outputs) == ["state.updated", "message.added"]
    state = await hosting.state("steps")
    assert state["values"]["log"] == ["one", "two", "three", "by hand"]
    assert events(outputs)[0]["checkpoint_id"] == state["checkpoint"]["checkpoint_id"]
    assert (await messages(hosting.system))[-1] == "user: hm"


async def test_a_change_by_hand_leaves_a_waiting_run_waiting(hosting: Hosting) -> None:
    await hosting.processor().process(run("asks", {}, id="r1"))
    assert told(await hosting.processor().process(record(update("asks", {"log": ["by hand"]})))) == ["state.updated"]
    run_now = (await hosting.head()).run
    assert run_now
    assert run_now.paused
    assert told(await hosting.processor().process(answer("asks", "yes")))[-1] == "run.completed"


@pytest.mark.parametrize("body", [update("steps", {"log": 5}, as_node="one"), update("nope", {}), update("steps", 5)])
async def test_a_change_that_cannot_be_is_refused_in_words(hosting: Hosting, body: Body) -> None:
    await hosting.processor().process(run("steps", {}))
    outputs = await hosting.processor().process(record(body))
    assert told(outputs) == ["input.refused"]
    assert len(events(outputs)[0]["reason"]) > 10
    assert (await hosting.state("steps"))["values"]["log"] == ["one", "two", "three"]


async def test_a_change_by_hand_of_a_thread_that_is_not_there_is_rejected(hosting: Hosting) -> None:
    with pytest.raises(Reject, match="does not exist"):
        await hosting.processor().process(record(update("steps", {}), "nowhere"))
