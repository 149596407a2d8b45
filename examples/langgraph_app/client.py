"""A client of the application, on LangGraph's own SDK: only its address and its key say which server it talks to."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from langgraph_sdk import get_client

URL = os.environ.get("LANGGRAPH_URL", "http://127.0.0.1:2024")


def says(text: str) -> dict[str, Any]:
    """An input of the graph."""
    return {"messages": [{"role": "user", "content": text}]}


async def main() -> None:
    """A small expense, a large one, and one with another limit."""
    client = get_client(url=URL, api_key=os.environ.get("LANGGRAPH_KEY"))
    thread = (await client.threads.create())["thread_id"]

    async for part in client.runs.stream(
        thread, "expenses", input=says("Lunch, 14.50"), stream_mode=["updates", "custom"]
    ):
        if part.event in ("updates", "custom"):
            print(part.event, part.data if part.event == "custom" else list(part.data))

    asked: Any = await client.runs.wait(thread, "expenses", input=says("Flight, 480"))
    print("asked:", asked["__interrupt__"][0]["value"]["question"])
    state = await client.threads.get_state(thread)
    print("stands at:", state["next"])
    resume = {"resume": {"approve": True, "by": "ana"}}
    done: Any = await client.runs.wait(thread, "expenses", command=resume)
    print(done["messages"][-1]["content"], "Approved by", done["approved_by"])

    before = next(s for s in await client.threads.get_history(thread) if s["next"] == ["check"])
    fork: Any = await client.runs.wait(
        thread, "expenses", input=None, checkpoint_id=before["checkpoint"]["checkpoint_id"], context={"limit": 1000}
    )
    print("with a limit of 1000:", fork["messages"][-1]["content"])


if __name__ == "__main__":
    asyncio.run(main())
