"""From requests to LangGraph's arguments, and from its states to the LangGraph API's JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from graph_threads import Threads
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.types import Command, Interrupt, Send
from sample_graphs import Address, Mood, Visit

from connectors.graphs import graph_input, run_config, thread_state, to_json
from connectors.graphs.factories import GraphUser
from connectors.graphs.state_rows import flat, ranges_over, unflat
from schemas import BadRecord
from schemas.graphs import GraphCommand, GraphInterrupt, GraphRequest
from state.spans import merged

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Unhappy:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Speechless:
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ({"a": (1, 2.5, None, True)}, {"a": [1, 2.5, None, True]}),
        ({1: "one", Mood.GOOD: "m", None: "n", AT: "t"}, {"1": "one", "good": "m", "None": "n", AT.isoformat(): "t"}),
        (Mood.GOOD, "good"),
        ({"b", "a"}, ["a", "b"]),
        (AT, "2026-01-02T03:04:00+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (timedelta(minutes=1), 60.0),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\x00\xff", "AP8="),
        (Decimal("1.50"), "1.50"),
        (float("nan"), None),
        (ValueError("why"), "ValueError('why')"),
        (Point(1, 2), {"x": 1, "y": 2}),
        (Visit(AT, [Mood.BAD]), {"at": AT.isoformat(), "moods": ["bad"]}),
        (Address(street="s", since=AT), {"street": "s", "since": AT.isoformat()}),
        (Interrupt(value={"q": AT}, id="1"), {"value": {"q": AT.isoformat()}, "id": "1"}),
        (Send("node", {"m": {1}}), {"node": "node", "input": {"m": [1]}}),
        (Command(goto="a", update={"x": 1}), {"goto": "a", "update": {"x": 1}}),
        (Speechless(), "<Speechless>"),
        (Unhappy(), {}),
    ],
)
def test_whatever_a_graph_says_is_plain_json(value: Any, plain: Any) -> None:
    assert to_json(value) == plain
    json.dumps(to_json(value), allow_nan=False)


def test_messages_are_their_fields() -> None:
    shown = to_json([HumanMessage("hi", id="1"), AIMessage("", tool_calls=[{"name": "t", "args": {}, "id": "c"}])])
    assert [message["type"] for message in shown] == ["human", "ai"]
    assert (shown[0]["content"], shown[0]["id"]) == ("hi", "1")
    assert shown[1]["tool_calls"] == [{"name": "t", "args": {}, "id": "c", "type": "tool_call"}]


def test_list_that_contains_itself_becomes_json() -> None:
    loop: list[Any] = []
    loop.append(loop)
    json.dumps(to_json(loop))


async def test_a_state_has_the_shape_of_the_langgraph_api(thread_of: Threads) -> None:
    thread = thread_of("outer")
    empty = thread_state(await thread.state(), thread_id="T")
    assert (empty["values"], empty["next"], empty["tasks"], empty["interrupts"]) == ({}, [], [], [])
    assert empty["checkpoint"] == {"thread_id": "T", "checkpoint_ns": "", "checkpoint_id": None}
    await thread.run({"messages": [HumanMessage("hi")]})
    state = thread_state(await thread.state(), thread_id="T")
    assert set(state) == {
        "values",
        "next",
        "tasks",
        "metadata",
        "created_at",
        "checkpoint",
        "parent_checkpoint",
        "interrupts",
    }
    assert state["next"] == ["sub"]
    assert state["values"]["messages"][0]["content"] == "hi"
    assert state["metadata"]["source"] == "loop"
    assert state["checkpoint"]["thread_id"] == state["parent_checkpoint"]["thread_id"] == "T"
    (task,) = state["tasks"]
    assert set(task) == {"id", "name", "path", "error", "interrupts", "checkpoint", "state", "result"}
    assert task["name"] == "sub"
    assert task["interrupts"] == state["interrupts"]
    assert state["interrupts"][0]["value"] == {"question": "go on?"}
    assert task["checkpoint"] == {"thread_id": "T", "checkpoint_ns": f"sub:{task['id']}"}
    whole = thread_state(await thread.state(subgraphs=True), thread_id="T")
    inner = whole["tasks"][0]["state"]
    assert inner["next"] == ["ask"]
    assert inner["checkpoint"]["checkpoint_ns"] == f"sub:{task['id']}"
    assert inner["checkpoint"]["checkpoint_id"]
    json.dumps(whole, allow_nan=False)


def test_ids_and_identity_of_ours_win_over_what_a_client_put_there() -> None:
    request = GraphRequest(
        graph="g",
        config={
            "configurable": {
                "user_id": "mallory",
                "tenant_id": "other",
                "langgraph_auth_user": {"identity": "mallory", "permissions": ["admin"]},
                "langgraph_secret": 1,
                "cauce_x": 1,
                "thread_id": "x",
                "model": "m",
                "__pregel_store": 1,
                "checkpoint_ns": "a",
            },
            "metadata": {"run_id": "y", "note": "n", "user_id": "mallory", "langgraph_step": 3},
            "tags": ["t"],
            "recursion_limit": 7,
            "callbacks": ["c"],
        },
        context={"tone": "kind", "user_id": "mallory", "__x": 1},
        checkpoint_id="c1",
    )
    config = run_config(request, thread_id="t", run_id="r", assistant_id="a", tenant_id="acme", user_id="ada")
    ours = {"thread_id": "t", "run_id": "r", "assistant_id": "a", "graph_id": "g"}
    assert config == {
        "tags": ["t"],
        "recursion_limit": 7,
        "metadata": {"note": "n", "langgraph_step": 3, **ours},
        "configurable": {
            **ours,
            "model": "m",
            "tone": "kind",
            "tenant_id": "acme",
            "user_id": "ada",
            "langgraph_auth_user_id": "acme:ada",
            "langgraph_auth_user": GraphUser("acme:ada"),
            "langgraph_auth_permissions": [],
            "langgraph_request_id": "r",
            "checkpoint_ns": "",
            "checkpoint_id": "c1",
        },
    }
    assert (
        "checkpoint_id"
        not in run_config(
            GraphRequest(graph="g"), thread_id="t", run_id="r", assistant_id="a", tenant_id="acme", user_id="u"
        )["configurable"]
    )


def test_commands_of_clients_are_langgraphs() -> None:
    def made(**command: Any) -> Any:
        return graph_input(GraphRequest(graph="g", input={}, command=GraphCommand(**command)))

    assert graph_input(GraphRequest(graph="g", input={"a": 1})) == {"a": 1}
    assert graph_input(GraphRequest(graph="g")) is None
    assert made(resumes=True, resume={"yes": 1}) == Command(resume={"yes": 1})
    assert made(goto="node") == Command(goto="node")
    assert made(goto={"node": "n", "input": 1}) == Command(goto=Send("n", 1))
    assert made(goto=["a", {"node": "b"}]) == Command(goto=["a", Send("b", None)])
    assert made(update=[["a", 1], ["a", 2]]) == Command(update=[("a", 1), ("a", 2)])
    assert made() == {}
    with pytest.raises(BadRecord, match="goto must be the name of a node"):
        made(goto=5)


async def test_null_is_an_answer_when_it_is_known_to_what(thread_of: Threads) -> None:
    thread = thread_of("outer")
    await thread.run({"messages": [HumanMessage("hi")]})
    (waiting,) = (await thread.state()).interrupts
    request = GraphRequest(graph="outer", command=GraphCommand(resumes=True, resume=None))
    result = await thread.run(graph_input(request, waiting=[GraphInterrupt(id=waiting.id)]))
    assert result["messages"][-1].text == "you said None"


@given(st.lists(st.integers(1, 300)))
def test_ranges_name_their_numbers_in_order_and_in_few_reads(numbers: list[int]) -> None:
    ranges = ranges_over(numbers)
    assert [n for start, end in ranges for n in range(start, end + 1)] == numbers
    assert unflat(flat(ranges)) == ranges
    around = merged(((number, number) for number in numbers), gap=4)
    assert all(any(start <= n <= end for start, end in around) for n in numbers)
    assert all(after[0] - before[1] > 5 for before, after in pairwise(around))
