"""Threads whose time is up (`ttl`) over the published Python client, on either system. Its unit is a minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from door import until_true
from gates import Gate, until
from langgraph_client import client, new_thread, says
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError, UnprocessableEntityError

__all__ = ["client", "until"]

SOON: Any = 1 / 60
LATER = 60


async def gone(client: LangGraphClient, thread: str) -> bool:
    try:
        await client.threads.get(thread)
    except NotFoundError:
        return True
    return False


async def ttl(client: LangGraphClient, thread: str) -> Any:
    found: Any = await client.threads.get(thread, include=["ttl"])
    return found["ttl"]


def ends_in(said: Any, minutes: float) -> bool:
    left = datetime.fromisoformat(said["expires_at"]) - datetime.now(UTC)
    return timedelta(minutes=minutes - 1) < left <= timedelta(minutes=minutes)


@pytest.mark.parametrize("assistant", ["agent", "plain"])
async def test_thread_goes_when_its_time_is_up_with_all_that_is_in_it(client: LangGraphClient, assistant: str) -> None:
    thread = (await client.threads.create(ttl=LATER, metadata={"short": assistant}))["thread_id"]
    stays = await client.threads.create(ttl={"ttl": LATER, "strategy": "delete"}, metadata={"short": assistant})
    other = await new_thread(client)
    await client.runs.wait(thread, assistant, input=says("hello"))
    await client.threads.update(thread, metadata={}, ttl={"ttl": SOON})
    await until_true(lambda: gone(client, thread))
    found = await client.threads.search(metadata={"short": assistant}, limit=100)
    assert [t["thread_id"] for t in found] == [stays["thread_id"]]
    assert await ttl(client, other) is None
    with pytest.raises(NotFoundError):
        await client.runs.list(thread)


async def test_time_of_a_thread_is_shown_to_those_who_ask_and_begins_anew_when_it_is_changed(
    client: LangGraphClient,
) -> None:
    created: Any = await client.threads.create(ttl=LATER)
    thread = created["thread_id"]
    said = await ttl(client, thread)
    assert (said["strategy"], said["ttl_minutes"]) == ("delete", LATER)
    assert ends_in(said, LATER)
    assert "ttl" not in await client.threads.get(thread)
    await client.threads.update(thread, metadata={"a": 1})
    assert await ttl(client, thread) == said
    await client.threads.update(thread, metadata={}, ttl=2 * LATER)
    assert ends_in(await ttl(client, thread), 2 * LATER)
    await client.threads.update(thread, metadata={}, ttl={"ttl": SOON})
    await until_true(lambda: gone(client, thread))


async def test_longer_time_counts_although_the_shorter_one_was_said_first(client: LangGraphClient) -> None:
    thread = (await client.threads.create(ttl={"ttl": 3 / 60}))["thread_id"]
    control = await client.threads.create(ttl={"ttl": 4 / 60})
    await client.threads.update(thread, metadata={}, ttl=LATER)
    await until_true(lambda: gone(client, control["thread_id"]))
    assert ends_in(await ttl(client, thread), LATER)


async def test_thread_in_which_something_runs_goes_when_that_is_over(client: LangGraphClient, until: Gate) -> None:
    thread = (await client.threads.create(ttl=10 * SOON))["thread_id"]  # time enough to begin a run
    run = await client.runs.create(thread, "task", input={"until": until.file})
    control = (await client.threads.create(ttl=10 * SOON))["thread_id"]
    await until_true(lambda: gone(client, control))
    assert (await client.runs.get(thread, run["run_id"]))["status"] in ("pending", "running")
    until.open()
    await until_true(lambda: gone(client, thread))


async def test_times_that_cannot_be_are_refused_in_words(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    wrong: Any
    for wrong in (0, -1, "soon", True, {"ttl": None}, {"strategy": "delete"}, {"ttl": 1, "strategy": "burn"}, 10**12):
        for method, path in (("post", "/threads"), ("patch", f"/threads/{thread}")):
            with pytest.raises(UnprocessableEntityError):
                await getattr(client.http, method)(path, json={"ttl": wrong})
    assert await ttl(client, thread) is None
