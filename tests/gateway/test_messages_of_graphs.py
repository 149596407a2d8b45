"""What a model writes in a hosted graph reaches live readers as LangGraph itself streams it, piece by piece and all of it."""

from __future__ import annotations

from typing import Any

import pytest
import shape_graphs
from gates import Gate, until
from langchain_core.messages import AIMessageChunk
from langgraph_client import chunks, client, new_thread, says
from langgraph_sdk.client import LangGraphClient

__all__ = ["client", "until"]

WRITTEN = ("chat", "thinking", "blocks", "usage_on_text", "calls_only")
_MODES: Any = ["messages-tuple"]


def added_up(found: list[Any]) -> dict[str, Any]:
    """The one message of these chunks, in what counts of it."""
    made = [c if isinstance(c, AIMessageChunk) else AIMessageChunk(**c) for c in found]
    whole = made[0]
    for chunk in made[1:]:
        assert chunk.id == whole.id
        whole = whole + chunk
    shown = whole.model_dump()
    names = ("content", "additional_kwargs", "response_metadata", "usage_metadata", "tool_calls", "invalid_tool_calls")
    return {name: shown[name] for name in names}


async def live(client: LangGraphClient, name: str, until: Gate) -> list[Any]:
    """What a reader is told of a run whose model does not write the end before the reader has had a beginning."""
    told = []
    words = says(f"hi until {until.file}")
    async for part in client.runs.stream(await new_thread(client), name, input=words, stream_mode=_MODES):
        told.append(part)
        if chunks(told):
            until.open()
    return told


async def langgraphs(name: str) -> dict[str, Any]:
    graph = getattr(shape_graphs, name)
    told = graph.astream({"messages": [("user", "hi")]}, stream_mode="messages")
    return added_up([message async for message, _ in told])


@pytest.mark.parametrize("name", WRITTEN)
async def test_chunks_of_a_live_reader_add_up_to_what_langgraph_streams(
    client: LangGraphClient, until: Gate, name: str
) -> None:
    told = await live(client, name, until)
    assert len(chunks(told)) > 1, "it was to come in pieces"
    assert added_up(chunks(told)) == await langgraphs(name)


@pytest.mark.parametrize("name", WRITTEN)
async def test_chunks_of_a_reader_that_comes_back_add_up_to_what_langgraph_streams(
    client: LangGraphClient, name: str
) -> None:
    thread, had, started = await new_thread(client), list[Any](), list[Any]()
    stream = client.runs.stream(
        thread, name, input=says("hi"), stream_mode=_MODES, stream_resumable=True, on_run_created=started.append
    )
    async for part in stream:
        had.append(part)
        if chunks(had):
            break
    await stream.aclose()  # type: ignore[attr-defined]
    for more in (1, 10**6):
        run, last = started[0]["run_id"], had[-1].id
        again = client.runs.join_stream(thread, run, stream_mode=_MODES, last_event_id=last)
        count = len(chunks(had))
        async for part in again:
            had.append(part)
            if len(chunks(had)) == count + more:
                break
        await again.aclose()  # type: ignore[attr-defined]
    assert added_up(chunks(had)) == await langgraphs(name)


@pytest.mark.parametrize("name", WRITTEN)
async def test_chunks_of_a_late_reader_add_up_to_what_langgraph_streams(client: LangGraphClient, name: str) -> None:
    thread = await new_thread(client)
    first = client.runs.stream(thread, name, input=says("hi"), stream_mode=_MODES, stream_resumable=True)
    all_of_it = [p async for p in first]
    run = all_of_it[0].data["run_id"]
    told = [p async for p in client.runs.join_stream(thread, run, stream_mode=_MODES, last_event_id="-1")]
    assert added_up(chunks(told)) == await langgraphs(name)


async def test_arguments_of_a_call_come_while_the_model_writes_them(client: LangGraphClient, until: Gate) -> None:
    told = await live(client, "calls_only", until)
    pieces = [piece for chunk in chunks(told) for piece in chunk["tool_call_chunks"]]
    assert len(pieces) > 1
    assert [p["name"] for p in pieces if p["name"]] == ["look_up"]
    assert "".join(p["args"] or "" for p in pieces) == '{"what": "the sky"}'
