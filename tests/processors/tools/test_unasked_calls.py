"""A record on `tool.requests` alone causes no side effect: the stored thread has to ask for exactly this call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from emulated import Emulated
from tool_calls import Workers, ask, end_run, put, request, send_mail

from schemas import AgentSettings, AuditEvent, Record, ToolCall, ToolRequest, Topic
from state import Stores


def passed_over(outputs: Any) -> str | None:
    """Why, from the only thing that is told of it."""
    assert [output.topic for output in outputs] == [Topic.AUDIT_EVENTS]
    event = AuditEvent.model_validate_json(outputs[0].value)
    assert (event.action, event.outcome) == ("tool.refused", "refused")
    return event.reason


async def test_a_request_that_was_written_straight_to_the_topic_calls_nothing(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str
) -> None:
    assert "no run of the thread" in (passed_over(await workers.unasked().process(send_mail(unique))) or "")
    assert await emulated.effects(unique) == []
    assert await stores.ledger.get("acme", "c1") is None
    await ask(stores.journal, send_mail(unique))
    await workers.unasked().process(send_mail(unique))
    assert len(await emulated.effects(unique)) == 1


async def test_a_claim_that_arrives_when_the_run_is_over_finds_its_call_settled(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str
) -> None:
    """A worker gave the claim up, and the store had it in hand: the call would look as if it had been sent, for good."""
    real = send_mail(unique)
    late = _with(real, real.body.model_copy(update={"call_id": f"{real.body.run_id}.1.0"}))
    await ask(stores.journal, late)
    await end_run(stores.journal, late)
    outputs = await workers.unasked().process(late)
    assert Topic.TOOL_RESULTS in [output.topic for output in outputs]
    entry = await stores.ledger.get("acme", late.body.call_id)
    assert entry is not None
    assert (entry.state, entry.result and entry.result.status) == ("done", "refused")
    assert await stores.ledger.claim("acme", entry.model_copy(update={"state": "sent", "result": None})) == entry
    assert await emulated.effects(unique) == []


OTHER = ToolCall(call_id="c1", name="Gmail_SendEmail", arguments={"recipient": "ana@correo.example"})


@pytest.mark.parametrize("stored", [{"state": "approval"}, {"state": "done"}, {"call": OTHER}])
async def test_a_call_that_waits_for_its_approval_or_is_another_is_not_made(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str, stored: dict[str, Any]
) -> None:
    await ask(stores.journal, send_mail(unique), **stored)
    passed_over(await workers.unasked().process(send_mail(unique)))
    assert await emulated.effects(unique) == []


@pytest.mark.parametrize("forged", [{"user_id": "u2"}, {"run_id": "r2"}, {"approved_by": "u1", "call_id": "c2"}])
async def test_a_request_for_another_user_run_or_call_is_not_made(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str, forged: dict[str, Any]
) -> None:
    real = send_mail(unique)
    await ask(stores.journal, real)
    body = real.body.model_copy(update=forged)
    assert isinstance(body, ToolRequest)
    passed_over(await workers.unasked().process(_with(real, body)))
    assert await emulated.effects(unique) == []


async def test_the_agent_of_the_run_has_to_have_the_tool_whatever_others_have(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str
) -> None:
    await put(stores, agents=(AgentSettings(tools=("Asana_*",)), AgentSettings(agent_id="mail", tools=("Gmail_*",))))
    outputs = await workers.processor().process(send_mail(unique))
    assert "not allowed here" in outputs[0].value.decode()
    reads = await workers.processor().process(request("Gmail_WhoAmI", {}, call_id="c2"))
    assert "not allowed here" in reads[0].value.decode()
    assert await emulated.effects(unique) == []


async def test_a_tool_that_only_reads_and_that_all_agents_have_costs_no_look_at_the_thread(
    workers: Workers, stores: Stores, emulated: Emulated
) -> None:
    outputs = await workers.unasked().process(request("Gmail_WhoAmI", {}))
    assert [output.topic for output in outputs] == [Topic.TOOL_RESULTS, Topic.AUDIT_EVENTS]


def _with(record: Record, body: ToolRequest) -> Record:
    return replace(record, body=body)
