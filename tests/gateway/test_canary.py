"""What a deletion does to what is kept: a canary is found nowhere but where docs/security.md says, and for how long."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from pathlib import Path

import httpx
from door import Door, until_true

from cauce.holdings import FILE_HOLDINGS

IN_TOPICS = "kafka"
ELSEWHERE = ("emulators",)
"""The emulated services are outside: what was done there is theirs."""


def where(folder: Path, canary: str) -> set[str]:
    """The holdings of the data folder with a file in which the canary is, in whatever part of it."""
    found, word = set(), canary.encode()
    for file in folder.rglob("*"):
        if file.is_file() and word in file.read_bytes():
            found.add(file.relative_to(folder).parts[0])
    return found


async def gone(folder: Path, canary: str) -> None:
    """Waits until the canary is in the topics alone, where Kafka's own time is up after days."""
    assert {one.name for one in FILE_HOLDINGS} >= {IN_TOPICS, *ELSEWHERE}
    left: set[str] = set()

    async def is_gone() -> bool:
        nonlocal left
        left = where(folder, canary) - {IN_TOPICS, *ELSEWHERE}
        return not left

    try:
        await until_true(is_gone)
    except TimeoutError:
        raise AssertionError(f"the canary is still in {sorted(left)}") from None


async def _thread(client: httpx.AsyncClient, canary: str) -> str:
    """A thread with the canary wherever a person can put it: texts, title, metadata, a tool's arguments and its result, an edited
    message, a run that begins later, and one that was rolled back."""
    made = (await client.post("/v1/threads", json={"title": canary, "metadata": {"note": canary}})).json()
    thread = str(made["thread_id"])
    path = f"/v1/threads/{thread}"
    text = f"create a task to {canary} tomorrow"
    paused = (await client.post(f"{path}/runs/wait", json={"text": text})).json()
    assert paused["status"] == "paused", paused
    call = paused["approvals"][0]["call_id"]
    assert (await client.post(f"{path}/approvals/{call}", json={"decision": "approve"})).status_code < 300
    joined = (await client.get(f"{path}/runs/{paused['run_id']}/join")).json()
    assert joined["status"] == "completed", joined
    later = {
        "assistant_id": "agent",
        "input": {"messages": [{"role": "user", "content": canary}]},
        "after_seconds": 3600,
    }
    assert (await client.post(f"/lg/threads/{thread}/runs", json=later)).status_code == 200
    return thread


async def test_nothing_is_left_of_a_deleted_thread(embedded: Door) -> None:
    canary, folder = f"canary{secrets.token_hex(8)}", Path(embedded.environment["CAUCE_DATA"])
    async with embedded.caller(embedded.key(embedded.tenant(), "ana")) as client:
        thread = await _thread(client, canary)
        assert "state" in where(folder, canary)
        assert (await client.delete(f"/v1/threads/{thread}")).status_code == 204
        await gone(folder, canary)


async def test_nothing_is_left_of_an_erased_user_and_who_is_back_keeps_what_they_make(embedded: Door) -> None:
    canary, folder = f"canary{secrets.token_hex(8)}", Path(embedded.environment["CAUCE_DATA"])
    tenant = embedded.tenant()
    async with embedded.caller(embedded.key(tenant, "ana", "--name", canary)) as client:
        for _ in range(2):
            await _thread(client, canary)
        item = {"namespace": [canary], "key": canary, "value": {"text": canary}}
        assert (await client.put("/lg/store/items", json=item)).status_code < 300
        assert (await client.patch("/v1/me", json={"name": canary})).status_code == 200
    assert "threads left" in embedded.told("user", "erase", tenant, "ana", "--yes")
    await gone(folder, canary)
    key = embedded.key(tenant, "ana")
    async with embedded.caller(key) as client:

        async def is_back() -> bool:
            return (await client.get("/v1/threads")).status_code == 200

        await until_true(is_back)
        assert (await client.get("/v1/threads")).json()["threads"] == []
        mine = str(uuid.uuid4())
        assert (await client.post("/v1/threads", json={"thread_id": mine, "title": "back"})).status_code < 300
        await asyncio.sleep(3)  # longer than the gateways' looks: an erasure that is not over would take it
        assert (await client.get(f"/v1/threads/{mine}")).json()["title"] == "back"


async def test_nothing_is_left_of_an_erased_tenant(embedded: Door) -> None:
    canary, folder = f"canary{secrets.token_hex(8)}", Path(embedded.environment["CAUCE_DATA"])
    tenant = embedded.tenant("--name", canary, "--instructions", f"say {canary}")
    for user in ("ana", "bert"):
        async with embedded.caller(embedded.key(tenant, user)) as client:
            await _thread(client, canary)
    embedded.told("tenant", "erase", tenant, "--yes")
    await gone(folder, canary)
    assert tenant not in embedded.told("tenant", "list").split()
