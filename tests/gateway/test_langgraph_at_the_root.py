"""The LangGraph API on a port of its own, for clients that take no path in their address."""

from __future__ import annotations

import httpx
from door import Door
from langgraph_sdk import get_client

from deploy.cluster.process import free_port


async def test_api_has_a_port_of_its_own_behind_the_same_door(embedded: Door) -> None:
    port = free_port()
    with_port = {**embedded.environment, "CAUCE_GATEWAY_LANGGRAPH_PORT": str(port)}
    key, url = embedded.key("home", "kai"), f"http://127.0.0.1:{port}"
    with Door(embedded.url, embedded.told, with_port, embedded.folder).another():
        said = {"messages": [{"role": "user", "content": "hello"}]}
        async with get_client(url=url, api_key=key) as client:
            thread = await client.threads.create()
            values = await client.runs.wait(thread["thread_id"], "agent", input=said)
        assert [m["type"] for m in values["messages"]] == ["human", "ai"]
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=120) as nobody:
            assert (await nobody.get("/ok")).status_code == 200
            assert (await nobody.post("/threads/search", json={})).status_code == 401
