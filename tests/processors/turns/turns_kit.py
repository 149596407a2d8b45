"""What tests of the turns processor share: a processor on a real store, the records for it, and what it published."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from listed_tools import ListedTools, tool
from shared_keyspace import SharedKeyspace

from connectors.models import ModelChoice, chat_model
from connectors.toolsets import Toolsets
from processors.settings_cache import TenantCache, UserCache
from processors.turns.agent_leg import Agent, AgentLeg
from processors.turns.processor import TurnsProcessor
from processors.turns.profile import Profiles
from schemas import (
    AgentSettings,
    Delta,
    Envelope,
    ModelSettings,
    Output,
    RawRecord,
    Record,
    RunLimits,
    Tenant,
    ToolFinished,
    ToolResult,
    Topic,
    UserMessage,
    decode,
    new_id,
)
from schemas.base import Body
from state import Stores, open_stores
from streams import Publication

TOOLS = Toolsets(
    [
        ListedTools(
            tool("Bench_Echo", qualified_name="Bench.Echo"),
            tool("Bench_Look", qualified_name="Bench.Look", read_only=True),
        )
    ]
)


class System:
    """A processor with its stores, and what it emitted."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.deltas: list[Delta] = []
        self.early: list[ToolFinished] = []
        self.models: dict[str, Any] = {}

    def processor(self) -> TurnsProcessor:
        profiles = Profiles(TOOLS, UserCache(self.stores.directory, ttl=0), self.model)
        leg = AgentLeg(Agent(), profiles, self.emit)
        tenants = TenantCache(self.stores.directory, ttl=0)
        return TurnsProcessor(self.stores.journal, self.stores.ledger, tenants, {"agent": leg})

    def model(self, tenant: Tenant, agent: AgentSettings) -> Any:
        return self.models.setdefault(agent.model.name, chat_model(ModelChoice(agent.model.name)))

    def emit(self, output: Output) -> None:
        if ("ce_type", Delta.TYPE.encode()) in output.headers:
            self.deltas.append(Delta.model_validate_json(output.value))
        else:
            assert output.topic is Topic.CHAT_DELTAS
            self.early.append(ToolFinished.model_validate_json(output.value))

    async def tenant(self, model: str, *, limits: RunLimits = RunLimits(), **settings: Any) -> None:  # noqa: B008
        agent = AgentSettings(model=ModelSettings(name=model, **settings), limits=limits)
        old = await self.stores.directory.tenant("acme")
        version = old.version if old else 0
        made = Tenant(tenant_id="acme", created_at=datetime.now(UTC), agents=(agent,), version=version + 1)
        assert await self.stores.directory.put_tenant(made, expected_version=version)


@asynccontextmanager
async def opened_stores(request: pytest.FixtureRequest, folder: Path, kind: str) -> AsyncIterator[Stores]:
    """Stores of a test: a file in the folder, or a keyspace that nobody else uses meanwhile."""
    shared: SharedKeyspace | None = request.getfixturevalue("shared_keyspace") if kind == "cassandra" else None
    stores = open_stores(shared.url if shared else f"sqlite://{folder / 'state'}")
    await stores.open()
    try:
        await stores.migrate()
        yield stores
    finally:
        await stores.close()
        if shared:
            await asyncio.to_thread(shared.empty)


@pytest.fixture(params=["sqlite", "cassandra"])
async def system(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[System]:
    async with opened_stores(request, tmp_path, request.param) as stores:
        yield System(stores)


def record(body: Body, thread: str = "t1", *, id: str | None = None, topic: Topic = Topic.CHAT_MESSAGES) -> Record:
    kind: str = body.TYPE  # type: ignore[attr-defined]
    envelope = Envelope(id or new_id("m"), kind, "test", "acme", datetime.now(UTC))
    return decode(RawRecord(topic.value, 0, 0, 0, f"acme:{thread}".encode(), body.to_bytes(), envelope.headers()))


def say(text: str, thread: str = "t1", **fields: Any) -> Record:
    return record(UserMessage(user_id="u", text=text, **fields), thread)


def kinds(outputs: Sequence[Output]) -> list[str]:
    return [
        dict(o.headers)["ce_type"].decode().removeprefix("cauce.") for o in outputs if o.topic is Topic.CHAT_RESPONSES
    ]


def requests(outputs: Sequence[Output]) -> list[dict[str, Any]]:
    return [json.loads(o.value) for o in outputs if o.topic is Topic.TOOL_REQUESTS]


def result_of(request: dict[str, Any], **fields: Any) -> Record:
    values = {"status": "ok", "content": "42", "finished_at": datetime.now(UTC), **fields}
    body = ToolResult(call_id=request["call_id"], run_id=request["run_id"], name=request["name"], **values)
    return record(body, topic=Topic.TOOL_RESULTS)


async def messages(system: System, thread: str = "t1") -> list[str]:
    rows = await system.stores.journal.messages("acme", thread)
    return [f"{r.message.role}: {r.message.text.strip()}" for r in rows]


class Behind:
    """A runtime in which these records wait in the lane."""

    def __init__(self, *waiting: Record) -> None:
        self._waiting = [r.raw for r in waiting]

    def publication(self, position: str) -> Publication:
        return Publication.COMMITTED

    def waiting(self, raw: RawRecord) -> list[RawRecord]:
        return self._waiting
