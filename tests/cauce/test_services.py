"""Services: declared in one file, found by walking the folder, started, watched and stopped like all others."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import httpx
import pytest
from ticking_service import SERVICE
from waiting import until

import cauce.services
from cauce.program import Program, levels
from cauce.running import ServiceNote, announced, find_services
from cauce.service import Process, Service, Stopped, run_service
from cauce.services import all_programs, all_services
from cauce.settings import Settings, load_settings
from cauce.supervisor import Supervisor
from schemas import SettingsError


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    thresholds = gc.get_threshold()
    yield load_settings(environment={}, data=tmp_path / "var", arcade_api_key="no emulators")
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def program(name: str, *after: str) -> Program:
    return Program(name=name, arguments=lambda settings: (), file=name, after=after)


def test_every_module_of_the_folder_declares_a_service_or_a_program() -> None:
    modules = [import_module(f"cauce.services.{one.name}") for one in iter_modules(cauce.services.__path__)]
    declared = [(hasattr(module, "SERVICE"), hasattr(module, "PROGRAM")) for module in modules]
    assert set(declared) <= {(True, False), (False, True)}
    names = [one.name for one in all_programs()]
    assert len(names) == len(set(names)) == len(modules)
    assert len({one.file for one in all_programs()}) == len(modules)
    assert {name for one in all_programs() for name in one.after} <= set(names)
    assert set(all_services()) == {"worker", "gateway", "sources"}


def test_what_others_need_comes_first_and_ends_last() -> None:
    found = levels([program("c", "b", "a"), program("b", "a", "not wanted"), program("a"), program("d")])
    assert [{one.name for one in level} for level in found] == [{"a", "d"}, {"b"}, {"c"}]
    of_up = [{one.name for one in level} for level in levels(all_programs())]
    assert of_up == [{"broker"}, {"emulators", "sources"}, {"worker", "gateway"}]


async def test_a_service_of_one_file_is_started_watched_and_stopped_by_the_supervisor(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    broker = next(one for one in all_programs() if one.name == "broker")
    arguments = ("ticking_service", "--data", str(settings.data))
    ticking = replace(SERVICE.program(), arguments=lambda settings: arguments)
    told: list[str] = []
    supervisor = Supervisor(settings, told.append, [ticking, broker])
    ready = asyncio.Event()
    running = asyncio.create_task(supervisor.run(lambda _: ready.set()))
    await asyncio.wait_for(ready.wait(), 120)
    [note] = find_services(settings)
    assert supervisor.running
    assert (supervisor.running.state, supervisor.running.ready) == ("ready", ("broker", "ticking"))
    assert (note.title, note.pid) == ("Ticking", supervisor.running.children["ticking"])
    async with httpx.AsyncClient(base_url=note.health, trust_env=False, timeout=120) as client:
        assert (await client.get("/readyz")).status_code == 200
        assert "process_cpu_seconds_total" in (await client.get("/metrics")).text
    os.kill(note.pid, signal.SIGKILL)
    await asyncio.to_thread(until, lambda: any(again.pid != note.pid for again in find_services(settings)))
    assert [line.split(";")[0] for line in told] == ["the ticking ended with code -9"]
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 120)
    assert (settings.data / "stopped").read_text() == "in order"
    assert find_services(settings) == []


async def test_a_service_that_is_told_to_stop_while_it_starts_ends_in_order(settings: Settings) -> None:
    done: list[str] = []

    async def run(process: Process) -> None:
        async with process.opened():
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
            try:
                await process.unless_stopped(asyncio.Event().wait())
            except Stopped:
                done.append("stopped")
                raise
            finally:
                done.append("closed")

    await run_service(Service(name="slow", run=run), settings.model_copy(update={"kafka": "127.0.0.1:1"}))
    assert done == ["stopped", "closed"]


async def test_a_service_is_ready_when_it_says_so(settings: Settings) -> None:
    seen: list[tuple[int, int]] = []

    async def run(process: Process) -> None:
        async with process.opened(), httpx.AsyncClient(trust_env=False, timeout=120) as client:
            before = (await client.get(f"{process.health_address}/readyz")).status_code
            process.ready(ServiceNote(health=process.health_address))
            seen.append((before, (await client.get(f"{process.health_address}/readyz")).status_code))

    await run_service(Service(name="slow", run=run), settings.model_copy(update={"kafka": "127.0.0.1:1"}))
    assert seen == [(503, 200)]


async def test_a_service_without_a_kafka_says_what_to_do(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="cauce up"):
        await run_service(SERVICE, settings)


def test_a_folder_that_cannot_be_written_ends_no_service(settings: Settings) -> None:
    settings.data.mkdir()
    (settings.data / "run").write_text("a file where the folder would be")
    with announced(settings, "ticking", ServiceNote(health="http://127.0.0.1:1")):
        assert find_services(settings) == []
