"""What graphs give, say, stream, ask and raise is storable: no value of theirs costs more than itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import graphs_hostile
import pytest
from graph_kit import Hosting, answer, events, hosting, run, say, told
from graphs_hostile import HALF, plans
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.config import get_stream_writer
from langgraph.types import interrupt

from connectors.graphs import Graphs
from schemas import Output, Topic, decode
from schemas.records import RawRecord

__all__ = ["hosting"]


@pytest.fixture(autouse=True)
def _hostile(hosting: Hosting) -> Iterator[None]:
    hosting.graphs = Graphs(graphs_hostile.SPECS)
    graphs_hostile.ran.clear()
    graphs_hostile.looks.clear()
    plans.clear()
    yield
    plans.clear()


MODES = ("values", "updates", "messages", "custom", "tasks", "debug", "events")


async def _played(hosting: Hosting, **fields: Any) -> Sequence[Output]:
    """What a run of the graph publishes; all of it can be read by its readers."""
    outputs = await hosting.processor().process(run("anything", say("hi"), modes=MODES, **fields))
    for output in outputs:
        if output.topic is Topic.CHAT_RESPONSES:
            decode(RawRecord(output.topic.value, 0, 0, 0, output.key.encode(), output.value, output.headers))
    return outputs


class _Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


class _Unkind:
    def __repr__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("x " + HALF), "ValueError: x \ufffd"),
        (_Mute(), "_Mute"),
        (ValueError("m" * 10_000_000), "ValueError: " + "m" * 488),
        (ValueError(_Unkind()), "ValueError"),
        (UnicodeEncodeError("utf-8", HALF, 0, 1, "no " + HALF), None),
    ],
    ids=["half an emoji", "cannot say", "10 MB of words", "cannot be shown", "of the codec"],
)
async def test_whatever_a_node_raises_is_one_execution_and_a_failed_run(
    hosting: Hosting, error: Exception, words: str | None
) -> None:
    def fail() -> None:
        raise error

    plans["one"] = fail
    outputs = await _played(hosting)
    (failed,) = events(outputs, "run.failed")
    assert failed["code"] == "graph_error"
    assert words is None or failed["message"] == words
    assert graphs_hostile.ran.count("one") == 1


def _tool_call() -> AIMessage:
    call: Any = {"name": "look" + HALF, "args": {HALF: [HALF, float("nan")]}, "id": "c" + HALF, "type": "tool_call"}
    return AIMessage("x " + HALF, id="a" + HALF, name="n" + HALF, tool_calls=[call])


def _streams() -> None:
    get_stream_writer()({HALF: HALF, 5: float("inf"), None: 10**5000, (1, 2): {HALF}, "raw": b"\xff", "who": _Unkind()})


@pytest.mark.parametrize(
    "plan",
    [
        lambda: {"messages": [AIMessage("x " + HALF)], "values": [HALF, {HALF: HALF}]},
        lambda: {"messages": [_tool_call(), ToolMessage("y " + HALF, tool_call_id="c" + HALF, name="look" + HALF)]},
        lambda: {
            "messages": [AIMessage([{"type": "text", "text": HALF}, HALF], response_metadata={"model_name": HALF})]
        },
        lambda: {"values": ["\x00", "\u2028", {2: 2, None: 3, True: 4}, [[[[HALF]]]]]},
        _streams,
    ],
    ids=["text", "tool call and result", "blocks", "odd keys", "custom stream"],
)
async def test_whatever_a_node_gives_or_streams_the_run_completes(hosting: Hosting, plan: Callable[[], Any]) -> None:
    plans["one"] = plan
    outputs = await _played(hosting)
    assert told(outputs)[-1] == "run.completed", events(outputs, "run.failed")
    assert graphs_hostile.ran.count("one") == 1
    json.dumps(await hosting.state("anything"), ensure_ascii=False, allow_nan=False).encode()


async def test_what_a_node_gives_is_kept_for_the_graph_and_shown_the_same_live_and_later(hosting: Hosting) -> None:
    given = [2**64, -(2**70), 10**6000, {"n": [10**6000]}, HALF, HALF + "\ude00", {HALF: HALF}]
    shown = [2**64, -(2**70), "1" + "0" * 6000, {"n": ["1" + "0" * 6000]}, "\ufffd", "\U0001f600", {"\ufffd": "\ufffd"}]
    plans["one"] = lambda: {
        "values": given,
        "messages": [AIMessage(HALF, id="a", additional_kwargs={"n": 10**6000, HALF: HALF})],
    }
    outputs = await _played(hosting)
    assert told(outputs)[-1] == "run.completed", events(outputs, "run.failed")
    values = (await hosting.state("anything"))["values"]
    assert values["values"] == shown
    assert values["messages"][-1]["content"] == "\ufffd"
    assert values["messages"][-1]["additional_kwargs"] == {"n": "1" + "0" * 6000, "\ufffd": "\ufffd"}
    streamed = [e["data"] for e in events(outputs, "graph.streamed") if e["mode"] == "updates"]
    assert [part["one"]["values"] for part in streamed if "one" in part] == [shown]
    seen = list[Any]()
    graphs_hostile.looks.append(seen.append)
    plans.clear()
    await hosting.processor().process(run("anything", say("again")))
    assert seen[0]["values"][:4] == given[:4]
    assert seen[0]["messages"][1].additional_kwargs["n"] == 10**6000


async def test_half_an_emoji_in_a_question_is_asked_and_answered(hosting: Hosting) -> None:
    plans["one"] = lambda: {"values": [interrupt({"q": "x " + HALF, HALF: 1})]}
    plans["odd\u2028"] = lambda: {"values": [HALF]}
    outputs = await _played(hosting)
    (paused,) = events(outputs, "run.paused")
    (asked,) = paused["interrupts"]
    assert asked["value"] == {"q": "x \ufffd", "\ufffd": 1}
    done = await hosting.processor().process(answer("anything", {asked["id"]: "yes"}))
    assert told(done)[-1] == "run.completed"
