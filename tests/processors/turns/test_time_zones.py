"""A user's day is the day where the user is, whatever the zone of the machine that the worker runs on."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from listed_tools import ListedTools, tool
from turns_kit import System, opened_stores, requests, say

from connectors.models.rules import RulesChatModel
from connectors.toolsets import Toolsets
from processors.settings_cache import TenantCache, UserCache
from processors.turns.agent_leg import Agent, AgentLeg
from processors.turns.processor import TurnsProcessor
from processors.turns.profile import Profiles
from schemas import Tenant, User, check_zone, known_zone, time_in, zone_of

NIGHT = datetime(2026, 11, 28, 2, 0, tzinfo=UTC)
"""Friday evening in California, Saturday in Europe and on Kiritimati."""
PARAMETERS = {"type": "object", "properties": {"name": {"type": "string"}, "due_date": {"type": "string"}}}
TOOLS = Toolsets([ListedTools(tool("Asana_CreateTask", parameters=PARAMETERS, read_only=True))])


@pytest.fixture
async def system(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[System]:
    async with opened_stores(request, tmp_path, "sqlite") as stores:
        system = System(stores)
        await system.tenant("rules")
        yield system


@pytest.fixture(params=["Pacific/Kiritimati", "Etc/GMT+12", "UTC"])
def machine_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def processor(system: System, model: Any = None) -> TurnsProcessor:
    directory = system.stores.directory
    profiles = Profiles(TOOLS, UserCache(directory, ttl=0), (lambda *_: model) if model else system.model)
    leg = AgentLeg(Agent(), profiles, system.emit, now=lambda: NIGHT)
    return TurnsProcessor(
        system.stores.journal, system.stores.ledger, TenantCache(directory, ttl=0), {"agent": leg}, now=lambda: NIGHT
    )


async def in_zone(system: System, *, user: str | None = None, tenant: str | None = None) -> None:
    found = await system.stores.directory.tenant("acme")
    assert found
    changed = Tenant.model_validate({**found.model_dump(), "time_zone": tenant, "version": found.version + 1})
    assert await system.stores.directory.put_tenant(changed, expected_version=found.version)
    await system.stores.directory.put_user(User(tenant_id="acme", user_id="u", created_at=NIGHT, time_zone=user))


@pytest.mark.usefixtures("machine_zone")
@pytest.mark.parametrize(
    ("user", "tenant", "message", "tomorrow"),
    [
        ("America/Los_Angeles", None, None, "2026-11-28"),
        ("America/Los_Angeles", "Europe/Madrid", None, "2026-11-28"),
        (None, "America/Los_Angeles", None, "2026-11-28"),
        (None, None, None, "2026-11-29"),
        ("Europe/Madrid", None, "America/Los_Angeles", "2026-11-28"),
        ("America/Los_Angeles", None, "Nowhere/Land", "2026-11-28"),
        ("No/Such_Zone", None, None, "2026-11-29"),
        ("../../etc/passwd", None, None, "2026-11-29"),
    ],
)
async def test_tomorrow_is_the_users_tomorrow(
    system: System, user: str | None, tenant: str | None, message: str | None, tomorrow: str
) -> None:
    await in_zone(system, user=user, tenant=tenant)
    (asked,) = requests(await processor(system).process(say("create a task to call mum tomorrow", time_zone=message)))
    assert asked["arguments"]["due_date"] == tomorrow


@pytest.mark.usefixtures("machine_zone")
async def test_the_prompt_names_the_users_weekday_date_time_and_zone(system: System) -> None:
    seen: list[str] = []

    class Listening(RulesChatModel):
        def _read(self, messages: Any) -> Any:
            seen.extend(str(m.content) for m in messages if isinstance(m, SystemMessage))
            return super()._read(messages)

    await in_zone(system, user="America/Los_Angeles")
    await processor(system, Listening()).process(say("hello"))
    assert "Friday, 2026-11-27 18:00 (America/Los_Angeles, UTC-08:00)" in seen[0]


@pytest.mark.usefixtures("machine_zone")
def test_the_rules_take_the_day_of_the_prompt_and_else_that_of_utc() -> None:
    model = RulesChatModel().bind_tools(
        [{"type": "function", "function": {"name": "Asana_CreateTask", "description": "x", "parameters": PARAMETERS}}]
    )
    prompt = SystemMessage(
        "You are A, a personal agent. It is Friday, 2026-11-27 18:00 (America/Los_Angeles, UTC-08:00)."
    )
    answer = model.invoke([prompt, HumanMessage("create a task to call mum tomorrow")])
    assert answer.tool_calls[0]["args"]["due_date"] == "2026-11-28"


@pytest.mark.parametrize(
    "name", ["", "Nowhere", "..", "../UTC", "/etc/localtime", "Europe", "x" * 500, "Zürich", "Europe/Madrid\0"]
)
def test_what_is_no_zone_is_said_in_words(name: str) -> None:
    with pytest.raises(ValueError, match="is no time zone: write an IANA name such as Europe/Madrid"):
        check_zone(name)
    assert zone_of(name) is UTC


def test_a_moment_is_told_with_its_weekday_and_zone() -> None:
    madrid = known_zone("Europe/Madrid")
    assert madrid
    assert (
        time_in(madrid, datetime(2026, 7, 1, 22, 30, tzinfo=UTC))
        == "Thursday, 2026-07-02 00:30 (Europe/Madrid, UTC+02:00)"
    )
    assert time_in(UTC, NIGHT) == "Saturday, 2026-11-28 02:00 UTC"
