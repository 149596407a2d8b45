"""A flood is refused at the door, with words and a time; others, and who wants to end it, come through."""

from __future__ import annotations

import asyncio

from door import Door, until_true


async def test_flood_behind_a_busy_thread_is_refused_until_its_inputs_are_read(door: Door) -> None:
    tenant = door.tenant("--model", "scripted:delay=600")
    async with door.caller(door.key(tenant, "mallory")) as mallory, door.caller(door.key("home", "bob")) as bob:
        thread = (await mallory.post("/v1/threads", json={})).json()["thread_id"]
        path = f"/v1/threads/{thread}"
        runs, messages = f"{path}/runs", f"{path}/messages"
        first = (await mallory.post(messages, json={"text": "the first"})).json()["run_id"]

        async def status() -> str:
            return str((await mallory.get(f"{runs}/{first}")).json()["status"])

        async def is_running() -> bool:
            return await status() == "running"

        await until_true(is_running, 120)
        flood = await asyncio.gather(*(mallory.post(messages, json={"text": f"{n}"}) for n in range(105)))
        refused = [answer for answer in flood if answer.status_code == 429]
        assert {answer.status_code for answer in flood} == {202, 429}
        assert len(refused) in (5, 6), "the first may not have been told of yet"
        for answer in refused:
            assert answer.json()["code"] == "too_many_unread"
            assert "inputs of this thread wait for a worker" in answer.json()["detail"]
            assert int(answer.headers["retry-after"]) > 0
        listed = (await mallory.get(runs, params={"limit": 200})).json()["runs"]
        assert len(listed) == 106 - len(refused), "nothing was promised of what was refused"

        other = (await bob.post("/v1/threads", json={})).json()["thread_id"]
        answered = await bob.post(f"/v1/threads/{other}/runs/wait", json={"text": "hello"})
        assert answered.json()["status"] == "completed", answer.text

        assert (await mallory.post(f"{runs}/{first}/cancel")).status_code == 202, "a cancel comes through"

        async def is_taken() -> bool:
            return (await mallory.post(messages, json={"text": "again"})).status_code == 202

        await until_true(is_taken, 120)
        assert (await mallory.delete(path)).status_code in (204, 503), "so does a deletion"
