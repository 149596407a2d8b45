"""The thread-centric streams of LangGraph's published Python client show hosted graphs whole: every projection, on both
transports, asynchronous and synchronous."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langgraph_client import client, says
from langgraph_sdk.client import LangGraphClient

__all__ = ["client"]


async def items(source: Any, seconds: float = 20) -> list[Any]:
    """All that a projection shows until its run ends or pauses."""
    async with asyncio.timeout(seconds):
        return [item async for item in source]


async def whole(message: Any) -> dict[str, Any]:
    """A message as its stream shows it."""
    text, reasoning = await message.text, await message.reasoning
    output = await message.output
    return {"text": text, "reasoning": reasoning, "calls": output.tool_calls, "usage": output.usage_metadata}


@pytest.fixture(params=["sse"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opened(client: LangGraphClient, home_key: str, transport: str) -> Any:
    """Opens a stream of a thread that is not there yet. A handshake carries only the headers that are given for it."""

    def open_stream(assistant: str, thread_id: str | None = None) -> Any:
        headers = {"authorization": f"Bearer {home_key}"} if transport == "websocket" else None
        kind: Any = transport
        return client.threads.stream(thread_id, assistant_id=assistant, headers=headers, transport=kind)

    return open_stream


TEXTS = {
    "chat": ("Hello there, friend.", ""),
    "thinking": ("Hello there, friend.", "let me think"),
    "blocks": ("Hello there.", "let me think"),
    "usage_on_text": ("I look it up", ""),
    "calls_only": ("", ""),
}


@pytest.mark.parametrize("graph", TEXTS)
async def test_messages_have_text_reasoning_calls_and_usage(opened: Any, graph: str) -> None:
    async with opened(graph) as thread:
        await thread.run.start(input=says("hi"))
        [message] = await items(thread.messages)
        shown = await whole(message)
    assert (shown["text"], shown["reasoning"]) == TEXTS[graph]
    assert (shown["usage"] or {}).get("total_tokens") == 15
    if graph in ("usage_on_text", "calls_only"):
        assert [(c["name"], list(c["args"])) for c in shown["calls"]] == [("look_up", ["what"])]
