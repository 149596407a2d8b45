"""What happens outside is answered once and its answer sent, whatever dies: an event source and a sender on a whole system."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from connector_folders import added_folder
from extending_page import example_files
from running_system import RunningSystem
from small_server import Doorbell, Pager
from source_kit import come, events_of

from cauce.running import find_services
from cauce.settings import Settings, load_settings
from connectors.connector import connectors
from connectors.sender import Notification, Sender
from schemas import Message, derived_id
from state import Stores, open_stores

INSTALLED = """
import os, signal
from pathlib import Path
import connectors
connectors.__path__.append({folder!r})
import connectors.event_source
keep = connectors.event_source.Inbox.keep

async def keep_or_die(self, position, of=None):
    if (Path({folder!r}) / "die").exists():
        (Path({folder!r}) / "die").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    await keep(self, position, of)

connectors.event_source.Inbox.keep = keep_or_die
"""
"""Puts the examples of docs/extending.md into every process of the system. Where there is a file `die`, the process that has
begun an event's run is killed before it keeps the position behind that."""


@asynccontextmanager
async def system_with_a_doorbell(folder: Path, url: str) -> AsyncIterator[RunningSystem]:
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(INSTALLED.format(folder=str(folder / "installed")))
    for name, text in example_files("connectors/").items():
        (folder / "installed" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "installed" / name).write_text(text)
    (folder / "installed" / "die").touch()
    system = RunningSystem(folder, CAUCE_DOORBELL_URL=url, PYTHONPATH=str(folder / "site"))
    try:
        yield await asyncio.to_thread(system.start)
    finally:
        system.end()


@asynccontextmanager
async def pagers_sender(folder: Path, url: str) -> AsyncIterator[Sender]:
    with added_folder(folder / "pager", example_files("connectors/")):
        connector = next(one for one in connectors() if one.name == "pager")
        settings: Any = connector.settings
        assert connector.sender
        sender = connector.sender(settings(url=url))
    assert sender
    yield sender
    await sender.close()


async def running_sources(settings: Settings, count: int) -> bool:
    """Whether so many processes run event sources."""
    return sum(note.title == "Event sources" for note in find_services(settings)) == count


async def came_of(stores: Stores, ring: str) -> tuple[list[str], list[Message]]:
    """How the runs in a ring's thread began and ended, and what the agent has said."""
    thread = derived_id("ev", "doorbell", "home", "owner", ring)
    kinds = [event.type.removeprefix("cauce.run.") for event in await stores.journal.events("home", thread)]
    rows = await stores.journal.messages("home", thread) if kinds else []
    said = [row.message for row in rows if row.message.role == "assistant"]
    return [kind for kind in kinds if kind in ("started", "queued", "completed", "failed", "cancelled")], said


async def test_an_event_whose_source_is_killed_before_it_keeps_its_position_is_one_run_that_is_answered_and_sent_once(
    tmp_path: Path,
) -> None:
    bell, pager = Doorbell(), Pager()
    async with bell.listening() as at_the_door, pager.listening() as address:
        bell.ring("home", "owner", "a parcel")
        async with system_with_a_doorbell(tmp_path, at_the_door) as system:
            settings = load_settings(environment={}, data=system.data)
            stores = open_stores(settings.state_url)
            await stores.open()

            async def answered(ring: str) -> bool:
                return (await came_of(stores, ring))[0] == ["started", "completed"]

            await come(lambda: answered("ring-1"))
            findings = await asyncio.to_thread(system.json, "doctor")
            assert ("doorbell: events", "ok") in [(one["subject"], one["verdict"]) for one in findings]
            assert ("Event sources", "ok") in [(one["subject"], one["verdict"]) for one in findings]
            bell.ring("home", "owner", "a visitor")
            await come(lambda: answered("ring-2"))
            assert not (tmp_path / "installed" / "die").exists(), "it was killed"
            assert "the sources ended with code -9" in system.output.read_text()
            command = (sys.executable, "-m", "cauce", "service", "sources", "--data", str(system.data))
            beside = await asyncio.create_subprocess_exec(*command, env=system.environment, cwd=tmp_path)
            await come(lambda: running_sources(settings, 2))
            for n in range(3, 13):
                bell.ring("home", "owner", f"number {n}")
                await come(lambda n=n: answered(f"ring-{n}"))  # type: ignore[misc]
            assert beside.returncode is None
            beside.terminate()
            assert await beside.wait() == 0
            rings = [f"ring-{n}" for n in range(1, 13)]
            assert all([await answered(ring) for ring in rings])
            assert len({record.envelope.id for record in await events_of(system.kafka)}) == len(rings)
            assert await stores.positions.get("", "", "doorbell") in ("11", "12"), "the last of two that keep it stays"
            _, (answer,) = await came_of(stores, "ring-1")
            await stores.close()
        note = Notification(notification_id=answer.message_id, text=answer.text, tenant_id="home", user_id="owner")
        async with pagers_sender(tmp_path, address) as sender:
            await pager.lose_answer()
            assert [(await sender.send(note)).kind for _ in range(2)] == ["unknown", "sent"]
        assert len(await pager.find(to="home/owner")) == 1
