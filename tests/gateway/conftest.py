"""The same tests against the embedded system and against real Kafka and Cassandra."""

from __future__ import annotations

import asyncio
import fcntl
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from door import Door, Gateway, on_servers
from running_system import RunningSystem

from connectors.emulators import EmulatorProcess
from deploy.cluster import CassandraServer, KafkaServer

_HERE = Path(__file__).parent
_FILES = {
    "front_graphs": ("helper", "both", "picks", "nested", "slow", "broken", "client_side", "plain"),
    "working_graphs": ("task",),
    "shape_graphs": (
        *("chat", "thinking", "blocks", "usage_on_text", "calls_only", "whole", "count", "parallel", "custom", "deep"),
        *("asks_inside", "tool_agent", "tool_node", "team", "quick_fail", "deep_agent"),
    ),
}
GRAPHS = {"CAUCE_GRAPHS": ",".join(f"{g}={_HERE / file}.py:{g}" for file, names in _FILES.items() for g in names)}
"""Hosted in both systems."""


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """`cauce up` and the gateway in it."""
    folder = tmp_path_factory.mktemp("embedded")
    running = RunningSystem(folder, CAUCE_GATEWAY_PORT="0", **GRAPHS)
    try:
        running.start()
        from cauce.running import find_gateway
        from cauce.settings import load_settings

        note = find_gateway(load_settings(environment=running.environment))
        assert note
        yield Door(note.url, running.told, running.environment, folder)
    finally:
        running.end()


@pytest.fixture(scope="session")
def strict(embedded: Door) -> Iterator[Gateway]:
    """One more gateway of the embedded system, with low limits. It believes this machine who is calling."""
    limits = {"USER": 30, "TENANT": 50, "RUNS": 5, "STRANGERS": 10}
    environment = {f"CAUCE_RATE_{name}": f"{most}/hour" for name, most in limits.items()}
    environment |= {**embedded.environment, **environment, "CAUCE_GATEWAY_TRUSTED_PROXIES": "127.0.0.0/8"}
    with Door(embedded.url, embedded.told, environment, embedded.folder).another() as gateway:
        yield gateway


@pytest.fixture(scope="session")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """Tools for workers on real servers."""
    process = EmulatorProcess(tmp_path_factory.mktemp("emulators"))
    with asyncio.Runner() as runner:
        runner.run(process.start())
        yield process
        runner.run(process.stop())


@pytest.fixture(scope="session")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, cassandra: CassandraServer, emulators: EmulatorProcess
) -> Iterator[Door]:
    """A gateway and a worker on real servers."""
    folder = tmp_path_factory.mktemp("gateway-cluster")
    with KafkaServer(folder / "kafka") as kafka:
        store = f"{cassandra.contact_point}:{cassandra.port}"
        with on_servers(folder, emulators, CAUCE_KAFKA=kafka.bootstrap, CAUCE_CASSANDRA=store, **GRAPHS) as door:
            yield door


@pytest.fixture(scope="session", params=["embedded", "cluster"])
def door(request: pytest.FixtureRequest) -> Door:
    """Either system."""
    found: Door = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def home_key(door: Door) -> str:
    """A key of the tenant `home`, whose agent follows rules."""
    return door.key("home", "ana")


@pytest.fixture
async def ana(door: Door, home_key: str) -> AsyncIterator[httpx.AsyncClient]:
    """A person of the tenant `home`."""
    async with door.caller(home_key) as client:
        yield client


@pytest.fixture(scope="session")
def slow_tenant(door: Door) -> str:
    """A tenant whose agent takes its time, and then writes in 40 pieces."""
    return door.tenant("--model", "scripted:delay=1,tokens=40")


@pytest.fixture(scope="session")
def javascript() -> Path:
    """The folder of the JavaScript clients, as npm publishes them."""
    folder = Path(__file__).parent / "js"
    npm = shutil.which("npm")
    assert npm, "the tests of the JavaScript clients need Node 20 and npm"
    wanted, there = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    with wanted.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process of the tests may need them now, too
        if not there.exists() or there.stat().st_mtime < wanted.stat().st_mtime:
            install = [npm, "ci", "--no-audit", "--no-fund"]
            subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=600)
            there.touch()
    return folder
