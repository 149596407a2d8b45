"""The processor with SQLite, arcadepy and the emulated engine; nothing in between is replaced."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from emulated import Emulated
from tool_calls import NOON, Workers, audit_of, put, request, result_of, send_mail

from connectors.arcade import ArcadeClient, arcade_user_id
from processors.tools.processor import ATTEMPTS
from schemas import AgentSettings, Tenant, Unavailable, User
from state import Stores
from streams import Reject, Retry


async def test_one_call_is_one_effect_and_one_result(workers: Workers, emulated: Emulated, unique: str) -> None:
    result = result_of(await workers.processor().process(send_mail(unique)))
    assert (result.status, result.call_id, result.run_id, result.name) == ("ok", "c1", "r1", "Gmail_SendEmail")
    assert json.loads(result.content)["subject"] == unique
    assert len(await emulated.effects(unique)) == 1


async def test_a_replay_gives_the_same_bytes_and_no_second_effect(
    workers: Workers, emulated: Emulated, unique: str
) -> None:
    first = await workers.processor().process(send_mail(unique))
    assert await workers.processor().process(send_mail(unique)) == first
    assert await workers.processor().give_up(send_mail(unique), "killed its worker") == first
    assert len(await emulated.effects(unique)) == 1


async def test_a_second_record_that_asks_for_the_same_call_publishes_nothing(
    workers: Workers, emulated: Emulated, unique: str
) -> None:
    first = send_mail(unique)
    assert await workers.processor().process(first)
    second = dataclasses.replace(first, raw=dataclasses.replace(first.raw, offset=8))
    assert list(await workers.processor().process(second)) == []
    assert list(await workers.processor().give_up(second, "killed its worker")) == []
    assert len(await emulated.effects(unique)) == 1


async def test_the_audit_event_says_who_did_what_without_its_content(workers: Workers, unique: str) -> None:
    event = audit_of(await workers.processor().process(send_mail(unique)))
    assert (event.action, event.actor, event.outcome) == ("tool.executed", "tool:Gmail_SendEmail", "ok")
    assert (event.user_id, event.thread_id, event.run_id, event.subject) == ("u1", "t1", "r1", "c1")
    assert event.details["attempts"] == 1
    assert unique not in event.model_dump_json()


async def test_the_call_is_made_for_the_user_of_this_tenant(workers: Workers, emulated: Emulated, unique: str) -> None:
    await workers.processor().process(request("Gmail_WhoAmI", {}, user_id=unique))
    assert await emulated.executions("Gmail.WhoAmI", arcade_user_id("acme", unique)) == 1


async def test_the_same_call_id_of_two_tenants_is_two_calls(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str
) -> None:
    await stores.directory.put_tenant(Tenant(tenant_id="lumen", created_at=NOON), expected_version=0)
    processor = workers.processor()
    arguments = {"subject": unique, "body": "Hello", "recipient": "ana@correo.example"}
    for tenant in ("acme", "lumen"):
        await processor.process(request("Gmail_SendEmail", arguments, tenant_id=tenant))
    assert len(await emulated.effects(unique)) == 2


async def test_too_many_requests_is_tried_again_when_the_service_says(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str
) -> None:
    await emulated.fault("status_before", match="Gmail.SendEmail", status=429, headers={"Retry-After": "7"})
    with pytest.raises(Retry) as raised:
        await workers.processor().process(send_mail(unique))
    assert raised.value.after == 7
    entry = await stores.ledger.get("acme", "c1")
    assert entry is not None
    assert entry.state == "intent"
    outputs = await workers.processor().process(send_mail(unique))
    assert result_of(outputs).status == "ok"
    assert audit_of(outputs).details["attempts"] == 2
    assert len(await emulated.effects(unique)) == 1
    assert await workers.processor().process(send_mail(unique)) == outputs


async def test_a_call_that_is_always_refused_is_tried_a_few_times_and_then_told(
    workers: Workers, emulated: Emulated, unique: str
) -> None:
    await emulated.fault("status_before", match="Gmail.SendEmail", status=429, times=100)
    delays = []
    for _ in range(ATTEMPTS - 1):
        with pytest.raises(Retry) as raised:
            await workers.processor().process(send_mail(unique))
        delays.append(raised.value.after)
    assert delays == [0.5, 1, 2, 4, 8]
    result = result_of(await workers.processor().process(send_mail(unique)))
    assert (result.status, result.content) == ("error", "Gmail_SendEmail failed 6 times: too many requests.")
    assert await emulated.effects(unique) == []


@asynccontextmanager
async def workers_of(stores: Stores, base_url: str, api_key: str) -> AsyncIterator[Workers]:
    client = ArcadeClient(base_url, api_key, timeout=120)
    yield Workers(stores, client)
    await client.close()


async def test_a_catalogue_that_cannot_be_read_is_an_outage(stores: Stores, emulated: Emulated) -> None:
    async with workers_of(stores, emulated.base_url, "wrong") as workers:
        with pytest.raises(Unavailable, match="ARCADE_API_KEY"):
            await workers.processor().process(request("Gmail_WhoAmI", {}))


async def test_a_key_that_went_bad_halts_calls_and_makes_none(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str
) -> None:
    await emulated.fault("status_before", match="Gmail.SendEmail", status=401, times=2 * ATTEMPTS)
    for _ in range(2 * ATTEMPTS):
        with pytest.raises(Retry) as raised:
            await workers.processor().process(send_mail(unique))
        assert raised.value.after == 30
    assert result_of(await workers.processor().process(send_mail(unique))).status == "ok"
    assert len(await emulated.effects(unique)) == 1


async def test_an_account_that_is_not_connected_is_told_to_the_model(
    workers: Workers, emulated: Emulated, unique: str
) -> None:
    await emulated.fault("status_before", match="Gmail.SendEmail", status=403)
    result = result_of(await workers.processor().process(send_mail(unique)))
    assert result.status == "refused"
    assert "google account is not connected" in result.content


async def test_a_tenant_that_does_not_exist_is_rejected(workers: Workers, emulated: Emulated, unique: str) -> None:
    arguments = send_mail(unique).body.arguments
    with pytest.raises(Reject, match="there is no tenant 'nobody'"):
        await workers.processor().process(request("Gmail_SendEmail", arguments, tenant_id="nobody"))
    assert await emulated.effects(unique) == []


async def test_a_paused_tenant_calls_no_tools(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str
) -> None:
    await put(stores, paused=True)
    outputs = await workers.processor().process(send_mail(unique))
    assert result_of(outputs).status == "refused"
    assert "paused" in result_of(outputs).content
    assert (audit_of(outputs).action, audit_of(outputs).outcome) == ("tool.refused", "refused")
    assert await emulated.effects(unique) == []


@pytest.mark.parametrize("who", ["tenant", "user"])
async def test_nobody_calls_tools_for_a_closed_tenant_or_a_blocked_user(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str, who: str
) -> None:
    if who == "tenant":
        await put(stores, paused=True, closed=True)
    else:
        await stores.directory.put_user(User(tenant_id="acme", user_id="u1", created_at=NOON, blocked=True))
    outputs = await workers.processor().process(send_mail(unique))
    assert result_of(outputs).status == "refused"
    assert ("closed" if who == "tenant" else "blocked") in result_of(outputs).content
    assert await emulated.effects(unique) == []


async def test_what_no_agent_of_the_tenant_may_use_is_refused_here_too(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str
) -> None:
    await put(stores, agents=(AgentSettings(tools=("Asana_*", "Gmail_List*")),))
    outputs = await workers.processor().process(send_mail(unique))
    assert result_of(outputs).status == "refused"
    assert result_of(outputs).content == "The tool Gmail_SendEmail is not allowed here."
    assert await emulated.effects(unique) == []
    assert await workers.processor().process(send_mail(unique)) == outputs


async def test_a_refusal_stands_when_the_rules_change_afterwards(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str
) -> None:
    await put(stores, paused=True)
    refused = await workers.processor().process(send_mail(unique))
    resumed = Tenant(tenant_id="acme", created_at=NOON, version=3)
    assert await stores.directory.put_tenant(resumed, expected_version=2)
    assert await workers.processor().process(send_mail(unique)) == refused
    assert await emulated.effects(unique) == []


async def test_what_was_done_is_still_answered_when_the_rules_change_afterwards(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str
) -> None:
    done = await workers.processor().process(send_mail(unique))
    await put(stores, paused=True)
    assert await workers.processor().process(send_mail(unique)) == done
    assert len(await emulated.effects(unique)) == 1


async def test_a_withdrawn_call_that_was_forbidden_meanwhile_is_refused(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str
) -> None:
    await emulated.fault("status_before", match="Gmail.SendEmail", status=429)
    with pytest.raises(Retry):
        await workers.processor().process(send_mail(unique))
    await put(stores, paused=True)
    outputs = await workers.processor().process(send_mail(unique))
    assert result_of(outputs).status == "refused"
    assert await workers.processor().process(send_mail(unique)) == outputs
    assert await emulated.effects(unique) == []


async def test_a_tool_that_nobody_knows_is_refused(workers: Workers) -> None:
    result = result_of(await workers.processor().process(request("Gmail_ReadMinds", {})))
    assert (result.status, result.content) == ("refused", "There is no tool named 'Gmail_ReadMinds'.")


async def test_nonsense_arguments_are_an_error_that_tells_the_model(workers: Workers, emulated: Emulated) -> None:
    result = result_of(await workers.processor().process(request("Gmail_SendEmail", {"to": "ana"})))
    assert result.status == "error"
    assert result.content.startswith("Gmail_SendEmail was not called: subject is missing; body is missing;")


async def test_giving_up_answers_a_call_that_was_never_made(workers: Workers, emulated: Emulated, unique: str) -> None:
    outputs = await workers.processor().give_up(send_mail(unique), "killed its worker three times")
    assert result_of(outputs).status == "error"
    assert await workers.processor().process(send_mail(unique)) == outputs
    assert await emulated.effects(unique) == []


async def test_giving_up_on_a_call_that_was_withdrawn_is_an_error(
    workers: Workers, emulated: Emulated, unique: str
) -> None:
    await emulated.fault("status_before", match="Gmail.SendEmail", status=429)
    with pytest.raises(Retry):
        await workers.processor().process(send_mail(unique))
    outputs = await workers.processor().give_up(send_mail(unique), "fails every time")
    assert result_of(outputs).status == "error"
    assert await workers.processor().process(send_mail(unique)) == outputs
    assert await emulated.effects(unique) == []
