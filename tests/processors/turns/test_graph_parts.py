"""How a leg's stream is cut into parts and pieces: pure rules, and what comes out of real graphs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from graph_kit import Hosting, _fresh_graphs, events, hosting, run, say
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from langgraph.graph import StateGraph

from connectors.graphs import to_json
from processors.turns.graph_parts import MAX_PART, Parts, PartTooLarge, encoded
from schemas import GraphPiece, GraphStreamed

__all__ = ["_fresh_graphs", "hosting"]


def token(text: str, id: str = "m1") -> Any:
    return (AIMessageChunk(text, id=id), {"langgraph_node": "model"})


def taken(parts: Parts) -> list[tuple[int, int, Any]]:
    """Index, offset and text (or data) of each fresh piece."""
    found = []
    for piece, _ in parts.take():
        data = piece.data[0]["content"] if piece.mode == "messages" else piece.data
        found.append((piece.index, piece.offset, data))
    return found


def test_chunks_of_a_message_are_one_part_whose_pieces_say_where_they_begin() -> None:
    parts = Parts(to_json)
    parts.add("messages", (), token("Hel"))
    assert taken(parts) == [(0, 0, "Hel")]
    parts.add("messages", (), token("lo"))
    parts.add("messages", (), token(" you"))
    assert taken(parts) == [(0, 3, "lo you")]
    (part,) = parts.whole()
    assert part.data[0]["content"] == "Hello you"
    assert part.data[1] == {"langgraph_node": "model"}


def test_anything_between_two_chunks_ends_the_part() -> None:
    parts = Parts(to_json)
    parts.add("messages", (), token("a"))
    parts.add("custom", (), {"x": 1})
    parts.add("messages", (), token("b"))
    assert taken(parts) == [(0, 0, "a"), (1, 0, {"x": 1}), (2, 0, "b")]
    assert [p.mode for p in parts.whole()] == ["messages", "custom", "messages"]


def test_the_same_id_in_another_namespace_is_another_message() -> None:
    parts = Parts(to_json)
    parts.add("messages", ("a:1",), token("a"))
    parts.add("messages", ("b:2",), token("b"))
    assert [p.namespace for p in parts.whole()] == [("a:1",), ("b:2",)]


def test_models_that_write_at_once_are_not_cut_into_tokens() -> None:
    parts = Parts(to_json)
    for n in range(10):
        parts.add("messages", (), token(f"a{n}", "m1"))
        parts.add("messages", (), token(f"b{n}", "m2"))
    assert len(taken(parts)) == 2
    assert [p.data[0]["content"] for p in parts.whole()] == ["".join(f"{m}{n}" for n in range(10)) for m in "ab"]


def test_a_whole_message_is_a_part_of_its_own() -> None:
    parts = Parts(to_json)
    parts.add("messages", (), (AIMessage("all of it", id="m"), {}))
    (part,) = parts.whole()
    assert part.data[0]["type"] == "ai"


def test_a_state_is_named_by_the_checkpoint_that_comes_after_it() -> None:
    parts = Parts(to_json)
    parts.add("values", (), {"n": 1})
    parts.add("values", ("sub:1",), {"m": 1})
    parts.checkpoint((), "c1")
    parts.checkpoint(("sub:1",), "s1")
    parts.add("values", (), {"n": 2})  # of an interrupt: no checkpoint follows
    assert [piece.data for piece, _ in parts.take()] == [{"n": 1}, {"m": 1}, {"n": 2}]
    assert [(p.data, p.checkpoint_id) for p in parts.whole()] == [(None, "c1"), (None, "s1"), (None, "c1")]


@pytest.mark.parametrize("mode", ["updates", "messages", "custom"])
def test_a_part_that_no_record_holds_ends_the_graph_in_words(mode: str) -> None:
    parts = Parts(to_json)
    data: Any = "x" * (MAX_PART - 2)
    parts.add("custom", (), data)
    with pytest.raises(PartTooLarge, match=f"bytes in one part .{mode}."):
        parts.add(mode, (), [AIMessage(data), {}] if mode == "messages" else data + "x")
    assert [p.data for p in parts.whole()] == [data], "what came before is told"


def test_a_text_that_grows_beyond_a_record_ends_the_graph_in_words() -> None:
    parts = Parts(to_json)
    for _ in range(9):
        parts.add("messages", (), token("x" * 100_000))
    with pytest.raises(PartTooLarge):
        parts.add("messages", (), token("x" * 100_000))
    assert len(parts.whole()[0].data[0]["content"]) == 900_000


@pytest.mark.parametrize("mode", ["tasks", "debug", "checkpoints", "events"])
def test_what_the_state_has_too_is_left_out_under_a_name_that_no_node_has(mode: str) -> None:
    parts = Parts(to_json)
    parts.add(mode, (), "x" * MAX_PART)
    told = {"cauce:left_out": {"mode": mode, "bytes": MAX_PART + 2}}
    ((piece, _),) = parts.take()
    assert piece.data == told
    assert parts.whole()[0].data == told
    with pytest.raises(ValueError, match="reserved"):
        StateGraph(dict).add_node(next(iter(told)), lambda state: state)


def test_what_is_too_much_for_a_batch_is_left_out_of_the_events_and_debugging_first() -> None:
    parts = Parts(to_json)
    size = 500_000
    for _ in range(2):
        parts.add("tasks", (), "x" * size)
    for _ in range(9):
        parts.add("custom", (), "x" * size)
    data = [p.data for p in parts.whole()]
    assert [isinstance(d, str) for d in data] == [False, False, *[True] * 7, False, False]
    assert data[-1] == {"cauce:left_out": {"mode": "custom", "bytes": size + 2}}
    assert len(parts.take()) == len(data)


def test_half_an_emoji_does_not_break_a_record() -> None:
    told, _ = encoded("custom", to_json({"text": "broken \ud800 text"}))
    assert GraphPiece(index=0, mode="custom", data=told).data == {"text": "broken \ufffd text"}


def test_an_emoji_that_a_model_writes_in_two_halves_is_one_for_early_readers_and_late_ones() -> None:
    parts, seen = Parts(to_json), ""
    for text in ("cold \ud83d", "\ude00 and", " \ude00 \ud83d"):
        parts.add("messages", (), token(text))
        for _, offset, piece in taken(parts):
            assert offset == len(seen)
            seen += piece
    (whole,) = parts.whole()
    assert whole.data[0]["content"] == seen == "cold 😀 and \ufffd "


steps = st.one_of(
    st.tuples(st.just("token"), st.sampled_from(["m1", "m2"]), st.text(max_size=5)),
    st.tuples(st.just("custom"), st.integers(), st.just("")),
    st.tuples(st.just("take"), st.just(0), st.just("")),
)


@given(st.lists(steps, max_size=40))
def test_pieces_in_order_make_up_the_parts_whatever_comes(life: list[tuple[str, Any, str]]) -> None:
    parts, pieces = Parts(to_json), list[GraphPiece]()
    written: dict[str, str] = {"m1": "", "m2": ""}
    for what, which, text in life:
        if what == "token":
            parts.add("messages", (), token(text, which))
            written[which] += text
        elif what == "custom":
            parts.add("custom", (), which)
        else:
            pieces += [piece for piece, _ in parts.take()]
    pieces += [piece for piece, _ in parts.take()]
    whole = parts.whole()
    assert [p.index for p in pieces] == sorted(p.index for p in pieces), "who saw a part saw all before it"
    assert {p.index for p in pieces} == set(range(len(whole)))
    for index, part in enumerate(whole):
        mine = [p for p in pieces if p.index == index]
        if part.mode == "custom":
            assert [p.data for p in mine] == [part.data]
            continue
        text = ""
        for piece in mine:
            assert piece.offset == len(text)
            text += piece.data[0]["content"]
        assert text == part.data[0]["content"]
    for id, text in written.items():
        assert text == "".join(p.data[0]["content"] for p in whole if p.mode == "messages" and p.data[0]["id"] == id)


async def test_what_goes_out_early_is_told_again_with_the_turn(hosting: Hosting) -> None:
    outputs = await hosting.processor().process(run("chat", say("hi"), modes=("messages-tuple", "updates", "custom")))
    streamed = [GraphStreamed.model_validate(e) for e in events(outputs, "graph.streamed")]
    (leg,) = {e.leg for e in streamed}
    assert {told for told, _ in hosting.pieces} == {leg}
    assert [e.index for e in streamed] == list(range(len(streamed)))
    assert [e.mode for e in streamed] == ["messages", "updates"]
    text = "".join(piece.data[0]["content"] for _, piece in hosting.pieces if piece.index == 0)
    assert text == streamed[0].data[0]["content"] == "done done done done done "
    (added,) = [e["message"] for e in events(outputs, "message.added") if e["message"]["role"] == "assistant"]
    assert streamed[0].data[0]["id"] == added["message_id"]


async def test_states_are_not_repeated_but_named(hosting: Hosting) -> None:
    outputs = await hosting.processor().process(run("steps", {"log": ["in"]}))
    streamed = events(outputs, "graph.streamed")
    early = [piece.data["log"] for _, piece in hosting.pieces]
    assert early == [["in"], ["in", "one"], ["in", "one", "two"], ["in", "one", "two", "three"]]
    for event, log in zip(streamed, early, strict=True):
        assert "data" not in event
        assert (await hosting.state("steps", checkpoint_id=event["checkpoint_id"]))["values"]["log"] == log


async def test_subgraphs_are_told_where_that_is_asked_for(hosting: Hosting) -> None:
    outputs = await hosting.processor().process(run("around", {}, modes=("tasks",), subgraphs=True))
    namespaces = [e["namespace"] for e in events(outputs, "graph.streamed")]
    assert [] in namespaces
    assert any(n and n[0].startswith("inner:") for n in namespaces)
    alone = await hosting.processor().process(run("around", {}, modes=("tasks",), thread="t2"))
    assert all(e["namespace"] == [] for e in events(alone, "graph.streamed"))


async def test_events_come_beside_the_modes_that_are_asked_for(hosting: Hosting) -> None:
    asked = run("chat", say("hi"), modes=("events", "values", "messages", "updates", "tasks", "checkpoints", "debug"))
    outputs = await hosting.processor().process(asked)
    streamed = events(outputs, "graph.streamed")
    assert {e["mode"] for e in streamed} == set(asked.body.request.modes)
    names = {e["data"]["event"] for e in streamed if e["mode"] == "events"}
    assert {
        "on_chain_start",
        "on_chat_model_start",
        "on_chat_model_stream",
        "on_chat_model_end",
        "on_chain_end",
    } <= names
    assert all(e.get("checkpoint_id") for e in streamed if e["mode"] == "values")


async def test_a_run_without_modes_streams_nothing(hosting: Hosting) -> None:
    outputs = await hosting.processor().process(run("steps", {}, modes=()))
    assert events(outputs, "graph.streamed") == []
    assert hosting.pieces == []


async def test_the_same_leg_made_again_has_another_id(hosting: Hosting) -> None:
    one = await hosting.processor().process(run("steps", {}, id="r1"))
    two = await hosting.processor().process(run("steps", {}, "t2", id="r1"))
    legs = {json.loads(json.dumps(e))["leg"] for e in [*events(one, "graph.streamed"), *events(two, "graph.streamed")]}
    assert len(legs) == 2
    assert all(leg.startswith("r1.") for leg in legs)
