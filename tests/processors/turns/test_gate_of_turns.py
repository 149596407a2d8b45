"""A paused tenant's records are held and continue; a closed tenant's, and a blocked user's, end where their user sees it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from turns_kit import System, kinds, record, requests, result_of, say, system

from processors.settings_cache import UserCache
from processors.turns.gate import Gate
from processors.turns.processor import TurnsProcessor
from schemas import (
    ApprovalDecision,
    CancelRun,
    ChangeThread,
    ContinueThread,
    HeldInput,
    Output,
    ThreadHead,
    Topic,
    User,
    UserMessage,
)
from schemas.base import Body

__all__ = ["system"]


def gated(system: System) -> TurnsProcessor:
    """A worker's processor with the gate, which caches nothing."""
    made = system.processor()
    made._gate = Gate(UserCache(system.stores.directory, ttl=0), system.stores.timers)
    return made


async def change(system: System, **fields: Any) -> None:
    tenant = await system.stores.directory.tenant("acme")
    assert tenant
    changed = tenant.model_copy(update={**fields, "version": tenant.version + 1})
    assert await system.stores.directory.put_tenant(changed, expected_version=tenant.version)


async def closed(system: System) -> str:
    await change(system, paused=True, closed=True)
    return "The tenant is closed."


async def blocked(system: System) -> str:
    await system.stores.directory.put_user(
        User(tenant_id="acme", user_id="u", created_at=datetime.now(UTC), blocked=True)
    )
    return "The user is blocked."


async def held(system: System) -> list[HeldInput]:
    found = await system.stores.timers.due(datetime.now(UTC) + timedelta(minutes=1))
    return [HeldInput.model_validate_json(timer.body) for timer in found if timer.kind == HeldInput.TYPE]


async def head(system: System) -> ThreadHead:
    found = (await system.stores.journal.hydrate("acme", "t1", window=0)).head
    assert found
    return found


def said(outputs: Sequence[Output], kind: str) -> list[Any]:
    return [
        json.loads(output.value)
        for output in outputs
        if output.topic is Topic.CHAT_RESPONSES and dict(output.headers)["ce_type"] == f"cauce.{kind}".encode()
    ]


async def asked(system: System) -> str:
    """A run that waits for an approval, and a message behind it that waits too; the call's id."""
    await system.tenant("scripted:tool=Bench_Echo")
    outputs = await gated(system).process(say("do it"))
    (approval,) = said(outputs, "approval.requested")
    return str(approval["call_id"])


async def test_a_message_to_a_paused_tenant_is_held_and_answered_when_it_is_resumed(system: System) -> None:
    await system.tenant("scripted:")
    await change(system, paused=True)
    message = say("hi")
    assert await gated(system).process(message) == ()
    assert await gated(system).process(message) == ()  # redelivered
    assert {(one.record_id, one.kind, one.thread_id) for one in await held(system)} == {
        (message.envelope.id, UserMessage.TYPE, "t1")
    }
    await change(system, paused=False)
    assert kinds(await gated(system).process(message))[-1] == "run.completed"


async def test_what_was_published_by_nobody_is_published_in_a_paused_tenant_too(system: System) -> None:
    await system.tenant("scripted:")
    message = say("hi")
    outputs = await gated(system).process(message)
    await change(system, paused=True)
    assert await gated(system).process(message) == outputs
    assert await held(system) == []


async def test_a_tools_result_is_kept_in_a_paused_tenant_and_its_run_goes_on_afterwards(system: System) -> None:
    call_id = await asked(system)
    decision = record(ApprovalDecision(user_id="u", call_id=call_id, decision="approve"))
    (request,) = requests(await gated(system).process(decision))
    await change(system, paused=True)
    assert "run.completed" not in kinds(await gated(system).process(result_of(request)))
    (note,) = await held(system)
    assert note.kind == ContinueThread.TYPE
    await change(system, paused=False)
    go_on = record(ContinueThread.model_validate_json(note.value), id=note.record_id)
    assert kinds(await gated(system).process(go_on))[-1] == "run.completed"
    assert "run.completed" not in kinds(await gated(system).process(record(ContinueThread(run_id=request["run_id"]))))


@pytest.mark.parametrize("body", [CancelRun(user_id="u"), ChangeThread(user_id="u", action="delete")])
async def test_what_ends_something_is_not_held(system: System, body: Body) -> None:
    await asked(system)
    await change(system, paused=True)
    assert "run.cancelled" in kinds(await gated(system).process(record(body)))
    assert (await head(system)).run is None


@pytest.mark.parametrize("end", [closed, blocked])
async def test_whatever_comes_next_ends_all_of_a_thread_and_voids_its_approvals(system: System, end: Any) -> None:
    call_id = await asked(system)
    why = await end(system)
    decision = record(ApprovalDecision(user_id="u", call_id=call_id, decision="approve"))
    outputs = await gated(system).process(decision)
    assert requests(outputs) == []
    assert [one["message"] for one in said(outputs, "run.cancelled")] == [why]
    assert [one["decision"] for one in said(outputs, "approval.resolved")] == ["cancelled"]
    assert (await head(system)).run is None


@pytest.mark.parametrize("end", [closed, blocked])
async def test_new_and_queued_messages_end_where_their_user_sees_it(system: System, end: Any) -> None:
    call_id = await asked(system)
    approve = record(ApprovalDecision(user_id="u", call_id=call_id, decision="approve"))
    (request,) = requests(await gated(system).process(approve))
    queued = say("and this")
    await gated(system).process(queued)
    assert len((await head(system)).queued) == 1
    why = await end(system)
    new = say("hello?")
    outputs = await gated(system).process(new)
    ends = {one["run_id"]: one["message"] for one in said(outputs, "run.cancelled")}
    assert ends == {request["run_id"]: why, queued.envelope.id: why, new.envelope.id: why}
    assert await gated(system).process(result_of(request)) is not None
    found = await head(system)
    assert (found.run, found.queued) == (None, ())


@pytest.mark.parametrize("end", [closed, blocked])
async def test_changes_are_refused_and_deletions_are_not(system: System, end: Any) -> None:
    await system.tenant("scripted:")
    await gated(system).process(say("hi"))
    await end(system)
    renamed = await gated(system).process(record(ChangeThread(user_id="u", action="update", title="x")))
    assert kinds(renamed) == ["input.refused"]
    assert kinds(await gated(system).process(record(ChangeThread(user_id="u", action="delete")))) == ["thread.changed"]
    assert (await head(system)).deleted
