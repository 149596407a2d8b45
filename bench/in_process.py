"""The baseline: the same model and tool in one LangGraph agent in this process, with its in-memory saver."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

from bench.figures import Figures, figures

MODEL_SECONDS, TOOL_SECONDS = 0.2, 0.05


async def run(clients: int, turns: int) -> Figures:
    """Closed-loop clients, each with its own conversation; `turns` in total."""
    from langchain.agents import create_agent
    from langchain_core.tools import tool
    from langgraph.checkpoint.memory import InMemorySaver

    from connectors.models.scripted import ScriptedChatModel

    @tool("Bench_Echo")
    async def echo(text: str) -> str:
        """Returns its argument."""
        await asyncio.sleep(TOOL_SECONDS)
        return text

    model = ScriptedChatModel(delay=MODEL_SECONDS, tool="Bench_Echo")
    agent: Any = create_agent(model, [echo], checkpointer=InMemorySaver())
    left, latencies = turns, list[float]()

    async def client() -> None:
        nonlocal left
        thread, asked = uuid.uuid4().hex, 0
        while left > 0:
            left -= 1
            asked += 1
            if asked % 6 == 0:
                thread = uuid.uuid4().hex
            started = time.perf_counter()
            config = {"configurable": {"thread_id": thread}}
            await agent.ainvoke({"messages": [("user", "hi")]}, config, durability="exit")
            latencies.append(time.perf_counter() - started)

    await agent.ainvoke({"messages": [("user", "hi")]}, {"configurable": {"thread_id": "warm"}})
    cpu, started = time.process_time(), time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    seconds, used = time.perf_counter() - started, time.process_time() - cpu
    return figures("LangGraph in process", clients, seconds, latencies, {"process": used * 1000})
