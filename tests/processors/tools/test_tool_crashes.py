"""Workers that die and answers that are lost, with SQLite, arcadepy and the emulated engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from emulated import Emulated
from tool_calls import Workers, audit_of, die, put, request, result_of, send_mail, until_sent

from connectors.arcade import arcade_user_id
from processors.tools.processor import ATTEMPTS, ToolsProcessor
from schemas import AgentSettings, Output, ToolResult, Topic
from state import Stores
from streams import Retry


@pytest.mark.parametrize(
    ("method", "after", "status", "effects"),
    [
        ("claim", False, "ok", 1),
        ("claim", True, "unknown", 0),
        ("finish", False, "ok", 1),
        ("finish", True, "ok", 1),
    ],
    ids=["before the claim", "claimed and not sent", "sent and not finished", "finished"],
)
@pytest.mark.parametrize("tool", ["Gmail_SendEmail", "Asana_CreateTask"])
async def test_a_call_whose_worker_died_is_not_made_twice_and_answered_the_same_from_then_on(
    workers: Workers,
    stores: Stores,
    emulated: Emulated,
    unique: str,
    tool: str,
    method: str,
    after: bool,
    status: str,
    effects: int,
) -> None:
    arguments = {"Asana_CreateTask": {"name": unique}}.get(tool, send_mail(unique).body.arguments)
    record = request(tool, arguments)
    await die(workers, stores.ledger, record, method, after=after)
    outputs = await workers.processor().process(record)
    assert result_of(outputs).status == status
    assert len(await emulated.effects(unique)) == effects
    assert await workers.processor().process(record) == outputs
    assert len(await emulated.effects(unique)) == effects


async def test_the_effect_is_still_found_when_the_worker_that_looked_for_it_died_too(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str
) -> None:
    record = send_mail(unique)
    await die(workers, stores.ledger, record, "finish", after=False)
    sent = await stores.ledger.get("acme", "c1")
    await die(workers, stores.ledger, record, "take_over", after=True)
    await die(workers, stores.ledger, record, "finish", after=False)
    left = await stores.ledger.get("acme", "c1")
    assert sent is not None
    assert left is not None
    assert left.updated_at == sent.updated_at
    assert result_of(await workers.processor().process(record)).status == "ok"
    assert len(await emulated.effects(unique)) == 1


async def test_a_reading_call_whose_worker_died_is_made_again(workers: Workers, stores: Stores, unique: str) -> None:
    record = request("Gmail_ListEmails", {}, user_id=unique)
    await die(workers, stores.ledger, record, "finish", after=False)
    outputs = await workers.processor().process(record)
    assert result_of(outputs).status == "ok"
    assert await workers.processor().process(record) == outputs


async def test_a_worker_cancelled_while_the_service_works_leaves_at_most_one_effect(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str
) -> None:
    record = request("Gmail_SendEmail", send_mail(unique).body.arguments, user_id=unique)
    await emulated.fault("slow", match="/messages/send", seconds=0.5)
    working = asyncio.create_task(workers.processor().process(record))
    async with asyncio.timeout(120):
        await until_sent(stores.ledger)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    outputs = await workers.processor().process(record)
    assert result_of(outputs).status in ("ok", "unknown")
    # Whatever the engine still had in hand comes to its end before the effects are counted.
    await emulated.reset()
    assert await workers.processor().process(record) == outputs
    assert len(await emulated.effects(unique)) <= 1
    assert await emulated.executions("Gmail.SendEmail", arcade_user_id("acme", unique)) <= 1


async def test_two_owners_at_once_make_one_effect_and_end_with_one_answer(
    workers: Workers, emulated: Emulated, unique: str
) -> None:
    record = send_mail(unique)

    async def to_the_end(processor: ToolsProcessor) -> Sequence[Output]:
        while True:
            try:
                return await processor.process(record)
            except Retry as again:
                await asyncio.sleep(again.after)

    owners = [workers.processor() for _ in range(5)]
    answers = await asyncio.gather(*map(to_the_end, owners))
    assert all(answer == answers[0] for answer in answers)
    assert len(await emulated.effects(unique)) == 1


@pytest.mark.parametrize("fault", ["status_after", "cut_after"])
async def test_a_lost_answer_is_found_by_a_read(workers: Workers, emulated: Emulated, unique: str, fault: str) -> None:
    await emulated.fault(fault, match="Gmail.SendEmail")
    outputs = await workers.processor().process(send_mail(unique))
    assert result_of(outputs).status == "ok"
    assert "found by a search" in result_of(outputs).content
    assert len(await emulated.effects(unique)) == 1


async def test_a_lost_answer_that_cannot_be_looked_up_is_unknown_and_stays_so(
    workers: Workers, emulated: Emulated, unique: str
) -> None:
    record = request("Gmail_WriteDraftEmail", send_mail(unique).body.arguments)
    await emulated.fault("cut_after", match="Gmail.WriteDraftEmail")
    outputs = await workers.processor().process(record)
    result = result_of(outputs)
    assert result.status == "unknown"
    assert result.content.startswith("It is not known whether Gmail_WriteDraftEmail was executed")
    assert audit_of(outputs).outcome == "unknown"
    assert await workers.processor().process(record) == outputs
    assert len(await emulated.effects(unique)) == 1


async def test_a_reading_call_with_a_lost_answer_is_made_again(workers: Workers, emulated: Emulated) -> None:
    await emulated.fault("cut_after", match="Gmail.ListEmails")
    with pytest.raises(Retry):
        await workers.processor().process(request("Gmail_ListEmails", {}))
    outputs = await workers.processor().process(request("Gmail_ListEmails", {}))
    assert result_of(outputs).status == "ok"


async def test_a_change_that_may_have_happened_is_not_called_undone_after_the_last_attempt(
    workers: Workers, emulated: Emulated
) -> None:
    record = request("Asana_MarkTaskAsCompleted", {"task_id": "900"})
    await emulated.fault("status_after", match="Asana.MarkTaskAsCompleted", times=100)
    for _ in range(ATTEMPTS - 1):
        with pytest.raises(Retry):
            await workers.processor().process(record)
    assert result_of(await workers.processor().process(record)).status == "unknown"


@pytest.mark.parametrize(
    "refusing", [{"paused": True}, {"agents": (AgentSettings(tools=("Asana_*",)),)}], ids=["paused", "not allowed"]
)
@pytest.mark.parametrize(
    ("tool", "status"), [("Gmail_SendEmail", "unknown"), ("Gmail_ListEmails", "refused")], ids=["writing", "reading"]
)
async def test_a_call_that_may_have_been_sent_before_it_was_forbidden_is_settled(
    workers: Workers,
    stores: Stores,
    emulated: Emulated,
    unique: str,
    refusing: dict[str, Any],
    tool: str,
    status: str,
) -> None:
    record = request(tool, send_mail(unique).body.arguments if tool == "Gmail_SendEmail" else {})
    await die(workers, stores.ledger, record, "finish", after=False)
    await put(stores, **refusing)
    outputs = await workers.processor().process(record)
    assert result_of(outputs).status == status
    assert await workers.processor().process(record) == outputs
    assert len(await emulated.effects(unique)) == (tool == "Gmail_SendEmail")


@pytest.mark.parametrize("erased", [True, False])
async def test_a_call_is_not_made_again_by_a_dead_letter_that_is_replayed_after_its_entry_was_erased(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str, erased: bool
) -> None:
    long_ago = send_mail(unique).envelope.time - timedelta(days=9)
    record = request("Gmail_SendEmail", send_mail(unique).body.arguments, sent=long_ago)
    await die(workers, stores.ledger, send_mail(unique), "finish", after=False)
    settled = await workers.processor().give_up(send_mail(unique), "killed its worker three times")
    if erased:
        await stores.ledger.forget("acme", "c1")
    outputs = await workers.processor().process(record)
    assert len(await emulated.effects(unique)) == 1
    if erased:
        (output,) = outputs
        assert (output.topic, ToolResult.model_validate_json(output.value).status) == (Topic.TOOL_RESULTS, "unknown")
        (again,) = await workers.processor().process(record)
        assert dict(again.headers)["ce_id"] == dict(output.headers)["ce_id"]
        assert await stores.ledger.get("acme", "c1") is None
    else:
        assert outputs == settled


async def test_giving_up_on_a_request_that_is_older_than_the_ledger_says_that_it_is_not_known(
    workers: Workers, stores: Stores
) -> None:
    long_ago = send_mail("").envelope.time - timedelta(days=9)
    record = request("Gmail_SendEmail", {}, sent=long_ago)
    (output,) = await workers.processor().give_up(record, "processing failed repeatedly")
    assert ToolResult.model_validate_json(output.value).status == "unknown"


async def test_a_call_that_only_reads_is_made_however_old_its_request_is(workers: Workers) -> None:
    long_ago = send_mail("").envelope.time - timedelta(days=9)
    assert result_of(await workers.processor().process(request("Gmail_ListEmails", {}, sent=long_ago))).status == "ok"


async def test_giving_up_on_a_call_that_may_have_been_made_is_unknown(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str
) -> None:
    await die(workers, stores.ledger, send_mail(unique), "finish", after=False)
    outputs = await workers.processor().give_up(send_mail(unique), "killed its worker three times")
    assert result_of(outputs).status == "unknown"
    assert await workers.processor().process(send_mail(unique)) == outputs
    assert len(await emulated.effects(unique)) == 1
