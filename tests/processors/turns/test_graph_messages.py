"""Which messages of a graph's state join the thread, and as what. Pure rules."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage

from processors.turns.graph_messages import new_messages
from schemas import MAX_TEXT, GraphRequest, Message, TokenUsage, derived_id
from threads.graph_transitions import first_text

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def gained(before: list[Any], after: Any) -> list[Message]:
    return new_messages({"messages": before}, {"messages": after}, run_id="r1", at=NOW)


def test_only_what_was_not_there_joins_in_order() -> None:
    old = HumanMessage("hi", id="h1")
    new = gained([old], [old, AIMessage("yes?", id="a1"), HumanMessage("go", id="h2")])
    assert [(m.message_id, m.role, m.text) for m in new] == [("a1", "assistant", "yes?"), ("h2", "user", "go")]


def test_calls_usage_and_failures_are_kept() -> None:
    asked = AIMessage(
        [{"type": "text", "text": "let me "}, {"type": "text", "text": "see"}],
        id="a1",
        tool_calls=[{"name": "look", "args": {"at": 1}, "id": "call/1"}],
        usage_metadata={"input_tokens": 7, "output_tokens": 2, "total_tokens": 9},
        response_metadata={"model_name": "m"},
    )
    result = ToolMessage("no", tool_call_id="call/1", name="look", status="error", id="t1")
    one, two = gained([], [asked, result])
    assert (one.text, one.usage, one.model) == ("let me see", TokenUsage(input_tokens=7, output_tokens=2), "m")
    assert one.tool_calls[0].arguments == {"at": 1}
    assert one.tool_calls[0].call_id == two.call_id == derived_id("call", "call/1")
    assert (two.role, two.tool_name, two.failed) == ("tool", "look", True)


def test_ids_that_cannot_be_ours_are_made_into_some_that_can() -> None:
    (message,) = gained([], [HumanMessage("hi", id="run--1/2")])
    assert message.message_id == derived_id("msg", "run--1/2")


def test_messages_without_an_id_are_known_by_their_place() -> None:
    one, two = HumanMessage("a"), HumanMessage("b")
    assert [m.text for m in gained([one], [one, two])] == ["b"]


def test_instructions_and_removals_stay_out() -> None:
    assert gained([], [SystemMessage("be good", id="s"), RemoveMessage(id="x")]) == []


@pytest.mark.parametrize("state", ["text", ["a"], None, [{"role": "user", "content": "x"}], 5])
def test_what_is_no_list_of_messages_is_left_alone(state: Any) -> None:
    assert gained([], state) == []


def test_long_texts_and_arguments_are_cut() -> None:
    call = {"name": "w" * 200, "args": {"text": "x" * (MAX_TEXT + 1)}, "id": "c1"}
    one, two = gained([], [HumanMessage("x" * (MAX_TEXT + 5), id="h"), AIMessage("", id="a", tool_calls=[call])])
    assert len(one.text) == MAX_TEXT
    assert one.text.endswith("…")
    assert set(two.tool_calls[0].arguments) == {"cauce:left_out"}


@pytest.mark.parametrize(
    ("given", "title"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, "hi"),
        ({"messages": [{"type": "human", "content": [{"type": "text", "text": "hi"}, {"type": "image"}]}]}, "hi"),
        ({"messages": [{"role": "system", "content": "x"}, ["human", "hi"]]}, "hi"),
        ({"messages": {"role": "user", "content": "hi"}}, "hi"),
        ({"messages": "hi"}, "hi"),
        ("hi", "hi"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, ""),
        ({"question": "hi"}, ""),
        (None, ""),
        ([["a", "b", "c"], 5], ""),
    ],
)
def test_a_title_is_taken_from_the_first_person_that_speaks(given: Any, title: str) -> None:
    assert first_text(GraphRequest(graph="g", input=given)) == title
