"""Graphs that say and ask much: their events always fit, whole, or the run ends in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import graphs_hostile
import pytest
from graph_kit import Hosting, answer, events, hosting, raw, run, say, told
from graphs_hostile import plans
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import interrupt
from turns_kit import record

from connectors.graphs import Graphs
from schemas import CancelRun, Output, Topic, UserMessage, decode
from schemas.records import most_bytes

__all__ = ["hosting"]

MODES = ("values", "updates", "messages", "custom")


@pytest.fixture(autouse=True)
def _hostile(hosting: Hosting) -> Iterator[None]:
    hosting.graphs = Graphs(graphs_hostile.SPECS)
    plans.clear()
    yield
    plans.clear()


async def _played(hosting: Hosting, modes: tuple[str, ...] = MODES) -> Sequence[Output]:
    outputs = await hosting.processor().process(run("anything", say("hi"), modes=modes))
    assert all(len(output.value) <= most_bytes(output.topic) for output in outputs)
    return outputs


def _streamed(outputs: Sequence[Output], mode: str) -> list[Any]:
    return [event.get("data") for event in events(outputs, "graph.streamed") if event["mode"] == mode]


async def test_an_update_of_750_kb_is_told_whole(hosting: Hosting) -> None:
    plans["one"] = lambda: {"values": ["x" * 750_000]}
    outputs = await _played(hosting)
    assert told(outputs)[-1] == "run.completed"
    assert {"one": {"values": ["x" * 750_000]}} in _streamed(outputs, "updates")


async def test_a_tool_message_of_750_kb_is_told_whole(hosting: Hosting) -> None:
    message = ToolMessage("x" * 750_000, tool_call_id="c", id="m")
    plans["one"] = lambda: {"messages": [message]}
    outputs = await _played(hosting)
    assert told(outputs)[-1] == "run.completed"
    assert [len(data[0]["content"]) for data in _streamed(outputs, "messages") if data[0]["id"] == "m"] == [750_000]


@pytest.mark.parametrize("modes", [("updates",), ("values",), ("messages", "custom")])
async def test_an_update_that_no_event_holds_ends_the_run_in_words_where_it_was_asked_for(
    hosting: Hosting, modes: tuple[str, ...]
) -> None:
    plans["one"] = lambda: {"values": ["x" * 600_000], "messages": [AIMessage("y" * 600_000)]}
    outputs = await _played(hosting, modes)
    if "updates" in modes:
        (failed,) = events(outputs, "run.failed")
        assert failed["code"] == "graph_error"
        assert "bytes in one part (updates)" in failed["message"]
    else:
        assert told(outputs)[-1] == "run.completed"


async def test_many_large_messages_fit_into_the_thread(hosting: Hosting) -> None:
    call: Any = {"name": "n", "args": {"t": "x" * 190_000}, "type": "tool_call"}
    calls = [{**call, "id": f"c{n}"} for n in range(6)]
    plans["one"] = lambda: {"messages": [AIMessage("\x01" * 190_000), AIMessage("", tool_calls=calls[:4])]}
    plans["two"] = lambda: {"values": ["x"]}
    outputs = await _played(hosting, ("values",))
    assert told(outputs)[-1] == "run.completed", events(outputs, "run.failed")


async def test_a_question_of_720_kb_is_asked_whole_and_answered(hosting: Hosting) -> None:
    plans["one"] = lambda: {"values": [interrupt("z" * 720_000)]}
    outputs = await _played(hosting)
    (paused,) = events(outputs, "run.paused")
    assert [asked["value"] for asked in paused["interrupts"]] == ["z" * 720_000]
    head = await hosting.head()
    assert head.run
    assert head.run.interrupts[0].value == "z" * 720_000
    done = await hosting.processor().process(answer("anything", "yes"))
    assert told(done)[-1] == "run.completed"


@pytest.mark.parametrize("modes", [MODES, ("values",)])
async def test_two_questions_that_no_event_holds_together_fail_in_words(
    hosting: Hosting, modes: tuple[str, ...]
) -> None:
    plans["one"] = lambda: {"values": [interrupt("a" * 600_000)]}
    plans["two"] = lambda: {"values": [interrupt("b" * 600_000)]}
    outputs = await _played(hosting, modes)
    (failed,) = events(outputs, "run.failed")
    assert failed["code"] == "graph_error"
    assert "1,200," in failed["message"]
    head = await hosting.head()
    assert head.run is None
    assert len(head.to_bytes()) < 10_000, "the thread's head, which every turn writes again, does not keep them"
    seqs = [event["seq"] for event in events(outputs)]
    assert seqs == list(range(1, len(seqs) + 1))
    plans.clear()
    assert told(await hosting.processor().process(run("anything", say("again"))))[-1] == "run.completed"


async def test_an_input_as_large_as_it_may_be_waits_behind_a_run_and_then_runs(hosting: Hosting) -> None:
    await hosting.system.tenant("scripted:tool=Bench_Look")
    await hosting.system.processor().process(record(UserMessage(user_id="u", text="look"), "t2"))
    large = run("anything", say("x" * 750_000), "t2", id="r2", metadata={"kept": "m" * 100_000})
    queued = await hosting.processor().process(large)
    assert told(queued) == ["run.queued"]
    assert all(len(output.value) <= most_bytes(output.topic) for output in queued)
    ended = await hosting.processor().process(record(CancelRun(user_id="u"), "t2"))
    (note,) = [output for output in ended if output.topic is Topic.CHAT_MESSAGES]
    outputs = await hosting.processor().process(decode(raw(note)))
    assert told(outputs)[0] == "run.started"
    assert told(outputs)[-1] == "run.completed"
