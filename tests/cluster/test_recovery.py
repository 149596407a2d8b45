"""A store that is restored from a backup while the topics are ahead of it becomes what it was, and nothing is done twice."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from talking import effects, talk
from waiting import until
from worker_processes import OnServers, WorkerProcess

from connectors.emulators import EmulatorProcess
from deploy.cluster import KafkaServer
from schemas import RunCompleted
from state import open_stores

GROUPS = "turns tools audit"
THREADS = ("mail", "task", "open", "later")


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[OnServers]:
    """A Kafka of its own and a store in files, which a backup can copy."""
    emulators = EmulatorProcess(tmp_path / "emulators")
    with KafkaServer(tmp_path / "kafka") as kafka, asyncio.Runner() as runner:
        runner.run(emulators.start())
        try:
            on = OnServers(
                tmp_path,
                CAUCE_KAFKA=kafka.bootstrap,
                CAUCE_MODEL="rules",
                CAUCE_ARCADE_URL=emulators.base_url,
                ARCADE_API_KEY=emulators.api_key,
            )
            on.told("topics", "apply")
            on.told("state", "migrate")
            on.told("tenant", "add", "home")
            on.told("tenant", "add", "eager")
            on.told("tenant", "set", "eager", "--approvals", "never")
            yield on
        finally:
            runner.run(emulators.stop())


@contextmanager
def worker(on: OnServers) -> Iterator[WorkerProcess]:
    """One worker of all groups, stopped in order at the end."""
    with on.workers(GROUPS) as (started,):
        yield started
        started.terminate()
        assert started.wait() == 0


async def state_of(on: OnServers) -> dict[str, Any]:
    """Heads, messages and events of all threads, without what only the journal itself needs."""
    stores = open_stores(f"sqlite://{on.folder / 'data' / 'state'}")
    await stores.open()
    try:
        found = {}
        for thread in THREADS:
            hydrated = await stores.journal.hydrate("home", thread, window=1000)
            head = hydrated.head.model_dump(exclude={"updated_at", "unpublished"}) if hydrated.head else None
            events = await stores.journal.events("home", thread)
            found[thread] = (head, hydrated.messages, events)
        return found
    finally:
        await stores.close()


def audited(on: OnServers) -> list[str]:
    return on.told("audit", "export").splitlines()


async def test_a_restored_store_catches_up_with_its_topics(installation: OnServers) -> None:
    on = installation
    files, backup = on.folder / "data" / "state", on.folder / "backup"
    with worker(on):
        on.told("ask", "what mail do I have?", "--thread", "mail")
        assert on.cauce("ask", "create a task to call Old", "--thread", "open").returncode == 4
    shutil.copytree(files, backup)
    backed_up = datetime.now(UTC)

    with worker(on):
        on.told("ask", "hello", "--thread", "mail")
        on.told("ask", "create a task to call Ana", "--thread", "task", "--yes")
        assert on.cauce("ask", "create a task to call New", "--thread", "later").returncode == 4
        async with talk(on, "eager") as talking:
            await talking.ended_once(await talking.say(*(f"create a task to call N{n}" for n in range(8))))
            assert set(talking.kinds) == {RunCompleted.TYPE}
        until(lambda: sum("tool.executed" in line for line in audited(on)) == 2)
        assert "stop all workers" in on.cauce("state", "recover", "--since", f"{backed_up:%Y-%m-%dT%H:%M:%S}").stderr
    before, trail, done = await state_of(on), audited(on), await effects(on, "all ")
    assert set(done.values()) == {1}

    shutil.rmtree(files)
    shutil.copytree(backup, files)
    assert await state_of(on) != before
    for _ in range(2):
        told = on.told("state", "recover", "--since", f"{backed_up:%Y-%m-%dT%H:%M:%S}")
        assert "not recovered" not in told
        assert await state_of(on) == before

    with worker(on):
        until(lambda: set(audited(on)) >= set(trail))
        assert "Ana" in on.told("threads", "show", "task")
        # What waited for a decision waits for it still, and is done once.
        for thread in ("open", "later"):
            assert on.json("ask", "yes, never mind", "--thread", thread)["state"] == "completed"
        async with talk(on, "eager") as talking:
            await talking.ended_once(await talking.say("create a task to call Zoe"))
    assert await effects(on, "all ") == done + (await effects(on, "all Zoe"))
