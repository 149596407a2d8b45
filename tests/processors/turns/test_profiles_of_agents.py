"""What an agent is run with where a toolset cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from listed_tools import ListedTools, tool

from connectors.models import ModelChoice, chat_model
from connectors.toolsets import Toolsets
from processors.turns.profile import Profile, Profiles
from schemas import AgentSettings, Tenant, Unavailable, User

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
AGENT = AgentSettings()
TENANT = Tenant(tenant_id="acme", created_at=NOON, agents=(AGENT,))


class Nobody:
    """A directory without users."""

    async def get(self, tenant_id: str, user_id: str) -> User | None:
        return None


async def profile_of(*away: str) -> Profile:
    """Of an agent that may use the tools of arcade and notes, where those that are named here cannot be read."""
    both = [
        ListedTools(tool("Gmail_SendEmail"), id="arcade"),
        ListedTools(tool("notes_Add"), id="notes", prefix="notes_"),
    ]
    for one in both:
        one.fails = Unavailable("it does not answer") if one.id in away else None
    profiles = Profiles(Toolsets(both), Nobody(), lambda tenant, agent: chat_model(ModelChoice("rules")))
    return await profiles.profile(TENANT, AGENT, "ana")


@pytest.mark.parametrize(
    ("away", "offered", "told"),
    [
        ((), ["Gmail_SendEmail", "notes_Add"], ""),
        (("arcade",), ["notes_Add"], "Some of your tools cannot be reached at the moment"),
        (("arcade", "notes"), [], "Your tools cannot be reached at the moment"),
    ],
    ids=["all are there", "one is away", "all are away"],
)
async def test_an_agent_goes_on_with_the_tools_that_can_be_read_and_knows_when_some_cannot(
    away: Sequence[str], offered: Sequence[str], told: str
) -> None:
    profile = await profile_of(*away)
    assert [schema["function"]["name"] for schema in profile.tools] == offered
    words = profile.instructions(NOON)
    assert told in words
    assert ("cannot be reached" in words) == bool(away)
    assert profile.policy("notes_Add").verdict == ("approval" if "notes_Add" in offered else "refuse")
