"""Whatever a model writes, on_answer takes it, and the records of it can be stored; what a model is shown is bounded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from listed_tools import tool
from transition_kit import LIMITS, Thread, an_input, policy

from connectors.toolset import ToolSpec
from processors.turns.model_answers import MOST_CALLS, to_answer
from processors.turns.model_history import model_facing_name, to_history
from processors.turns.profile import MOST_TOOLS, offered_tools
from processors.turns.written import Gathered
from schemas import MAX_BODY_BYTES, AgentSettings, Message
from threads import transitions
from threads.context_window import tokens_of, window
from threads.leg_ends import on_answer

texts = st.text(st.characters(), max_size=20) | st.sampled_from(["", "x" * 200, "\ud83d", "\0", "Read", "Write"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(texts, v, max_size=3),
)
words = texts | st.sampled_from(["{", '{"a": 1}', '{"a": 1', "[1]", "3", "null", "NaN", '{"n": NaN}', "{}{}", '"x"'])
pieces = st.fixed_dictionaries(
    {
        "name": st.none() | texts,
        "args": st.none() | words,
        "id": st.none() | texts,
        "index": st.none() | st.integers(0, 2),
        "type": st.just("tool_call_chunk"),
    }
)
contents = texts | st.lists(
    texts | st.dictionaries(st.sampled_from(["type", "text", "thinking", "id"]), values), max_size=3
)
metadata = st.dictionaries(st.sampled_from(["finish_reason", "stop_reason", "model_name", "id"]), values, max_size=3)
usages = st.none() | st.dictionaries(st.sampled_from(["input_tokens", "output_tokens"]), values)


def taken(answer: Any) -> None:
    """Writes it into a thread, and looks at what would be published and sent to the model again."""
    thread = Thread()
    new = an_input("m", "hi", thread.clock)
    draft = thread.draft(new)
    transitions.on_input(draft, new, LIMITS)
    on_answer(draft, answer, policy)
    thread.commit(draft)
    assert all(len(output.value) <= MAX_BODY_BYTES for output in thread.outputs)
    kept = [Message.model_validate_json(row.message.to_bytes()) for row in thread.messages]
    to_history(kept, "m")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(contents, st.lists(pieces, max_size=3), metadata, usages), min_size=1, max_size=4))
def test_no_stream_of_pieces_raises(stream: list[Any]) -> None:
    gathered = Gathered()
    for content, calls, about, usage in stream:
        piece = AIMessageChunk(content="x", tool_call_chunks=calls)
        piece.content, piece.response_metadata, piece.usage_metadata = content, about, usage
        gathered.add(piece)
    taken(to_answer(gathered.whole(), "m"))


@settings(max_examples=60, deadline=None)
@given(
    contents,
    st.lists(st.fixed_dictionaries({"name": st.none() | texts, "args": values, "id": st.none() | texts}), max_size=3),
    metadata,
    usages,
)
def test_no_whole_message_raises(content: Any, calls: list[Any], about: Any, usage: Any) -> None:
    message = AIMessage("x")
    message.content, message.response_metadata, message.usage_metadata = content, about, usage
    message.tool_calls, message.invalid_tool_calls = calls, [{**c, "error": None} for c in calls]
    message.additional_kwargs = {"refusal": content}
    taken(to_answer(message, "m"))


@pytest.mark.parametrize(
    ("content", "extra", "words"),
    [
        ("", {"refusal": "I cannot."}, "I cannot."),
        ("Well. ", {"refusal": "I cannot."}, "Well. I cannot."),
        ([{"type": "refusal", "refusal": "I cannot."}], {}, "I cannot."),
        ([{"type": "refusal", "refusal": "I cannot."}], {"refusal": "I cannot."}, "I cannot."),
        ([{"type": "text", "text": "Well. "}, {"type": "refusal", "refusal": "No."}], {}, "Well. No."),
        ([{"type": "refusal", "refusal": None}], {"refusal": ["x"]}, ""),
    ],
)
def test_the_words_of_a_refusal_are_the_answer(content: Any, extra: dict[str, Any], words: str) -> None:
    assert to_answer(AIMessage(content, additional_kwargs=extra)).text == words
    gathered = Gathered()
    gathered.add(AIMessageChunk(content, additional_kwargs=extra))
    gathered.add(AIMessageChunk(""))
    assert to_answer(gathered.whole()).text == words


def test_what_is_huge_still_fits_into_records() -> None:
    calls = [{"name": "Read", "args": {"text": "é" * 90_000}, "id": f"c{n}"} for n in range(9)]
    taken(to_answer(AIMessage("日" * 900_000, tool_calls=calls, additional_kwargs={"r": "x" * 10**6}), "m"))
    taken(to_answer(AIMessage("", tool_calls=[{"name": "Read", "args": {}, "id": f"c{n}"} for n in range(5000)]), "m"))
    assert len(to_answer(AIMessage("", tool_calls=calls * 1000)).tools) == MOST_CALLS


def _result(n: int, size: int) -> Message:
    return Message(message_id=f"t{n}", role="tool", text="x" * size, run_id="r", at=Thread().clock, call_id=f"c{n}")


def test_older_results_of_one_run_are_cut_to_what_fits_and_the_newest_last() -> None:
    asked = Message(message_id="u", role="user", text="look", run_id="r", at=Thread().clock)
    for sizes in ([64_000] * 6, [60_000, 60_000], [100] * 3 + [64_000] * 2):
        shown = window([asked, *(_result(n, size) for n, size in enumerate(sizes))], 16_000)
        assert sum(tokens_of(message) for message in shown) <= 16_000
        assert [m.message_id for m in shown] == ["u", *(f"t{n}" for n in range(len(sizes)))]
        assert len(shown[-1].text) > 59_000, "the newest has what there is room for"
        assert "left out here" in "".join(m.text for m in shown)


def test_results_whose_calls_are_not_there_are_not_shown() -> None:
    answer = Message(message_id="a", role="assistant", text="hm", run_id="r", at=Thread().clock)
    shown = window([_result(1, 10), _result(2, 10), answer], 16_000)
    assert [m.role for m in shown] == ["user", "assistant"]


def _tools(count: int, name: str = "Kit_Tool") -> dict[str, ToolSpec]:
    names = [f"{name}{n}" for n in range(count)]
    return {n: tool(n, read_only=True) for n in names}


def test_as_many_tools_are_offered_as_models_take_and_the_rest_is_said() -> None:
    offered, words = offered_tools(AgentSettings(), _tools(300))
    assert len(offered) == MOST_TOOLS == 128
    assert "300 tools, the model takes 128: name fewer with --tool" in words
    assert offered_tools(AgentSettings(tools=("Kit_Tool1*",)), _tools(300))[1] == ""
    offered, words = offered_tools(AgentSettings(), _tools(2, "x" * 200))
    assert (offered, "too long" in words) == ({}, True)


def test_names_that_providers_refuse_are_offered_under_short_ones_that_differ() -> None:
    facing = {model_facing_name(f"{'Kit_' * 25}{n}") for n in range(100)} | {
        model_facing_name("a.b"),
        model_facing_name("a b"),
    }
    assert len(facing) == 102
    assert all(len(name) <= 64 for name in facing)
    assert model_facing_name("Gmail_SendEmail") == "Gmail_SendEmail"
