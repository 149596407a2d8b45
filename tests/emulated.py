"""The emulators' process, with the switches and the counts that tests use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from connectors.emulators import EmulatorProcess


def bearer(key: str) -> dict[str, str]:
    """What the emulators want of everybody."""
    return {"authorization": f"Bearer {key}"}


class Emulated:
    """A running emulator process and an HTTP client for its control routes."""

    def __init__(self, process: EmulatorProcess) -> None:
        self.process = process

    @property
    def base_url(self) -> str:
        return self.process.base_url

    @property
    def api_key(self) -> str:
        return self.process.api_key

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async with httpx.AsyncClient(
            base_url=self.base_url, headers=bearer(self.api_key), trust_env=False, verify=False, timeout=120
        ) as client:
            return await client.request(method, path, **options)

    async def fault(self, kind: str, **fields: Any) -> None:
        """Switches a fault on (`connectors.emulators.faults.Fault`)."""
        (await self.request("POST", "/_ctl/fault", json={"kind": kind, **fields})).raise_for_status()

    async def reset(self) -> None:
        """Switches all faults off, and waits until what the engine has in hand has ended."""
        (await self.request("POST", "/_ctl/reset")).raise_for_status()

    async def effects(self, text: str) -> list[dict[str, Any]]:
        """The accepted side effects whose subject or name contains `text`."""
        answer = (await self.request("GET", "/_ctl/effects")).json()
        return [e for e in answer["effects"] if text in str(e.get("subject", e.get("name", "")))]

    async def executions(self, tool: str, user_id: str) -> int:
        """How often the worker ran this tool for this user."""
        answer = (await self.request("GET", "/_ctl/effects")).json()
        return sum(e["tool"] == tool and e["user_id"] == user_id for e in answer["executions"])


@asynccontextmanager
async def emulators(data: Path, *, auto_connect: bool = True) -> AsyncIterator[Emulated]:
    """Runs the emulators over the folder `data`."""
    async with EmulatorProcess(data, auto_connect=auto_connect) as process:
        yield Emulated(process)
