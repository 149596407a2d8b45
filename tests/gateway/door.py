"""A gateway as its operator runs it, and people with keys who call it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from waiting import until
from worker_processes import OnServers

from connectors.emulators import EmulatorProcess


@dataclass
class Frame:
    """One server-sent event."""

    event: str
    data: str
    id: str | None = None


class Gateway:
    """One `cauce gateway` process on a free port."""

    def __init__(self, environment: Mapping[str, str], log: Path, *options: str) -> None:
        self._log = log.open("ab+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cauce", "gateway", "--port", "0", *options],
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert "serves " in line, f"the gateway did not start, see {log}"
        self.url = line.split()[-1]

    def kill(self) -> None:
        """Ends it as a crash does."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()
        self._log.close()


@dataclass
class Door:
    """A system with a gateway. `told` runs a command of `cauce` on it and gives what it prints."""

    url: str
    told: Callable[..., str]
    environment: Mapping[str, str]
    folder: Path
    made: int = 0

    def key(self, tenant: str, user: str = "owner", *options: str) -> str:
        """A new API key."""
        return self.told("tenant", "key", "create", tenant, "--user", user, *options).strip()

    def tenant(self, *settings: str) -> str:
        """A new tenant with these settings of its agent."""
        self.made += 1
        name = f"t{self.made}"
        self.told("tenant", "add", name)
        if settings:
            self.told("tenant", "set", name, *settings)
        return name

    def run(self, *command: str) -> str:
        """Runs a program beside the system, as its user does, and gives what it prints."""
        done = subprocess.run(
            command, env=dict(self.environment), cwd=self.folder, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def another(self) -> Iterator[Gateway]:
        """One more gateway on the same system."""
        gateway = Gateway(self.environment, self.folder / "gateway.log")
        try:
            yield gateway
        finally:
            if gateway.process.poll() is None:
                gateway.kill()

    def caller(self, key: str, url: str | None = None) -> httpx.AsyncClient:
        """A client with this key."""
        return httpx.AsyncClient(
            base_url=url or self.url,
            headers={"x-api-key": key},
            timeout=120,
            trust_env=False,
            verify=False,
            follow_redirects=False,
        )


@contextmanager
def on_servers(folder: Path, emulators: EmulatorProcess, **settings: str) -> Iterator[Door]:
    """A gateway and a worker on servers that run, with a keyspace of their own where there is a Cassandra."""
    tools = {"CAUCE_ARCADE_URL": emulators.base_url, "ARCADE_API_KEY": emulators.api_key}
    on = OnServers(folder, CAUCE_MODEL="rules", CAUCE_KEYSPACE="gateway", **tools, **settings)
    for command in ("topics apply", "state migrate", "tenant add home"):
        on.told(*command.split())
    with on.workers("turns tools audit"):
        gateway = Gateway(on.environment, folder / "gateway.log")
        try:
            yield Door(gateway.url, on.told, on.environment, folder)
        finally:
            gateway.kill()


async def _lines(response: httpx.Response) -> AsyncIterator[str]:
    """Lines of a stream, which only a line feed ends."""
    rest = b""
    async for chunk in response.aiter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode()


async def frames(response: httpx.Response) -> AsyncIterator[Frame]:
    """The events of a stream."""
    event, data, position = "message", [], None
    async for line in _lines(response):
        if not line:
            if data:
                yield Frame(event, "\n".join(data), position)
            event, data, position = "message", [], None
        elif line.startswith("event: "):
            event = line[7:]
        elif line.startswith("data: "):
            data.append(line[6:])
        elif line.startswith("id: "):
            position = line[4:]


@asynccontextmanager
async def streamed(
    client: httpx.AsyncClient, method: str, path: str, **options: Any
) -> AsyncIterator[AsyncIterator[Frame]]:
    """Opens a stream; it must be one."""
    async with client.stream(method, path, **options) as response:
        if response.status_code != 200:
            await response.aread()
            raise AssertionError(f"{response.status_code}: {response.text}")
        assert response.headers["content-type"].startswith("text/event-stream")
        yield frames(response)


async def until_true(condition: Callable[[], Any], seconds: float = 120, shown: Callable[[], object] = str) -> Any:
    """Waits until an asynchronous condition holds, and returns what it gave; a failure says what `shown` returns."""
    try:
        async with asyncio.timeout(seconds):
            while not (found := await condition()):
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise AssertionError(f"did not come within {seconds:g} s {shown()}") from error
    return found


__all__ = ["Door", "Frame", "Gateway", "frames", "streamed", "until", "until_true"]
