"""The published Python client of the LangGraph Server API, and what it is told, for tests of `/lg`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from door import Door
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient


def says(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


@pytest.fixture
async def client(door: Door, home_key: str) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=f"{door.url}/lg", api_key=home_key) as client:
        yield client


async def new_thread(client: LangGraphClient) -> str:
    return (await client.threads.create())["thread_id"]


def chunks(told: list[Any]) -> list[dict[str, Any]]:
    """The messages of `messages-tuple` parts, of the graph and its subgraphs."""
    return [p.data[0] for p in told if p.event.partition("|")[0] == "messages"]


def put_together(told: list[Any]) -> dict[str, str]:
    """By message, as a client adds chunks up."""
    texts: dict[str, str] = {}
    for chunk in chunks(told):
        texts[chunk["id"]] = texts.get(chunk["id"], "") + chunk["content"]
    return texts


async def dropped(client: LangGraphClient, assistant: str, modes: Any, messages: int) -> tuple[str, str, list[Any]]:
    """A thread, its run and the parts until that many of messages, when the reader left."""
    thread, started, had = await new_thread(client), [], []
    stream = client.runs.stream(
        thread, assistant, input=says("write"), stream_mode=modes, stream_resumable=True, on_run_created=started.append
    )
    async for part in stream:
        had.append(part)
        if len(chunks(had)) == messages:
            break
    await stream.aclose()  # type: ignore[attr-defined]
    return thread, started[0]["run_id"], had
