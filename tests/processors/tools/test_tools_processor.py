"""The processor with SQLite, arcadepy and the emulated engine; nothing in between is replaced."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from emulated import Emulated, emulators

from connectors.arcade import ArcadeClient, Catalogue, arcade_user_id
from processors.settings_cache import TenantCache
from processors.tools import ToolsProcessor
from processors.tools.processor import ATTEMPTS
from schemas import (
    AgentSettings,
    AuditEvent,
    Envelope,
    Output,
    RawRecord,
    Record,
    Tenant,
    ToolRequest,
    ToolResult,
    Topic,
    Unavailable,
    decode,
)
from state import Stores, ToolLedger, open_stores
from streams import Reject, Retry

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def emulated_services(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Emulated]:
    async with emulators(tmp_path_factory.mktemp("emulators")) as running:
        yield running


@pytest.fixture
async def emulated(emulated_services: Emulated) -> Emulated:
    await emulated_services.reset()
    return emulated_services


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    opened = open_stores(f"sqlite://{tmp_path}")
    await opened.open()
    await opened.migrate()
    await opened.directory.put_tenant(Tenant(tenant_id="acme", created_at=NOON), expected_version=0)
    yield opened
    await opened.close()


class Workers:
    """Makes processors as workers do, each new one with nothing in memory."""

    def __init__(self, stores: Stores, client: ArcadeClient) -> None:
        self._stores, self._client = stores, client
        self._catalogue = Catalogue(client.list_tools)

    def processor(self, ledger: ToolLedger | None = None) -> ToolsProcessor:
        tenants = TenantCache(self._stores.directory)
        return ToolsProcessor(ledger or self._stores.ledger, tenants, self._catalogue, self._client)


@pytest.fixture
async def workers(stores: Stores, emulated: Emulated) -> AsyncIterator[Workers]:
    client = ArcadeClient(emulated.base_url, emulated.api_key, timeout=10)
    yield Workers(stores, client)
    await client.close()


@pytest.fixture
def unique() -> str:
    return f"s{secrets.token_hex(6)}"


def request(
    name: str, arguments: dict[str, Any], *, call_id: str = "c1", tenant_id: str = "acme", user_id: str = "u1"
) -> Record:
    """The record of a request as it comes from Kafka."""
    body = ToolRequest(call_id=call_id, run_id="r1", user_id=user_id, name=name, arguments=arguments)
    envelope = Envelope(call_id, ToolRequest.TYPE, "cauce/turns", tenant_id, NOON, TRACE)
    key = f"{tenant_id}:t1".encode()
    return decode(RawRecord(Topic.TOOL_REQUESTS.value, 0, 7, 0, key, body.to_bytes(), envelope.headers()))


def send_mail(subject: str) -> Record:
    return request("Gmail_SendEmail", {"subject": subject, "body": "Hello", "recipient": "ana@correo.example"})


def result_of(outputs: Sequence[Output]) -> ToolResult:
    """The result among outputs, each of which must be fit to be read by others."""
    assert [output.topic for output in outputs] == [Topic.TOOL_RESULTS, Topic.AUDIT_EVENTS]
    result, audit = (
        decode(RawRecord(o.topic.value, 0, n, 0, o.key.encode(), o.value, o.headers)) for n, o in enumerate(outputs)
    )
    assert (result.key, audit.key) == ("acme:t1", "acme")
    assert result.envelope.traceparent == audit.envelope.traceparent == TRACE
    assert isinstance(result.body, ToolResult)
    return result.body


def audit_of(outputs: Sequence[Output]) -> AuditEvent:
    return AuditEvent.model_validate_json(outputs[1].value)


async def put(stores: Stores, **fields: Any) -> None:
    tenant = Tenant(tenant_id="acme", created_at=NOON, version=2, **fields)
    assert await stores.directory.put_tenant(tenant, expected_version=1)


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


class WorkerDied(BaseException):
    """The end of a worker's process, as far as its code can tell."""


class DyingLedger:
    """A ledger whose worker dies at the first call of one of its methods, before or after that took effect."""

    def __init__(self, ledger: ToolLedger, method: str, *, after: bool) -> None:
        self._ledger, self._method, self._after = ledger, method, after

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._ledger, name)

        async def dying(*args: Any, **kwargs: Any) -> None:
            if self._after:
                await real(*args, **kwargs)
            raise WorkerDied

        return dying if name == self._method else real


async def die(workers: Workers, ledger: ToolLedger, record: Record, method: str, *, after: bool) -> None:
    dying: Any = DyingLedger(ledger, method, after=after)
    with pytest.raises(WorkerDied):
        await workers.processor(dying).process(record)


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


async def until_sent(ledger: ToolLedger) -> None:
    while True:
        entry = await ledger.get("acme", "c1")
        if entry is not None and entry.state == "sent":
            return
        await asyncio.sleep(0.005)


async def test_a_worker_cancelled_while_the_service_works_leaves_at_most_one_effect(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str
) -> None:
    record = request("Gmail_SendEmail", send_mail(unique).body.arguments, user_id=unique)
    await emulated.fault("slow", match="/messages/send", seconds=0.5)
    working = asyncio.create_task(workers.processor().process(record))
    async with asyncio.timeout(10):
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
    assert "found afterwards" in result_of(outputs).content
    assert len(await emulated.effects(unique)) == 1


async def test_a_lost_answer_that_cannot_be_looked_up_is_unknown_and_stays_so(
    workers: Workers, emulated: Emulated, unique: str
) -> None:
    record = request("Gmail_WriteDraftEmail", send_mail(unique).body.arguments)
    await emulated.fault("cut_after", match="Gmail.WriteDraftEmail")
    outputs = await workers.processor().process(record)
    result = result_of(outputs)
    assert result.status == "unknown"
    assert result.content.startswith("It is not known whether Gmail_WriteDraftEmail was carried out")
    assert audit_of(outputs).outcome == "unknown"
    assert await workers.processor().process(record) == outputs
    assert len(await emulated.effects(unique)) == 1


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


@asynccontextmanager
async def workers_of(stores: Stores, base_url: str, api_key: str) -> AsyncIterator[Workers]:
    client = ArcadeClient(base_url, api_key, timeout=5)
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


async def test_giving_up_on_a_call_that_may_have_been_made_is_unknown(
    workers: Workers, stores: Stores, emulated: Emulated, unique: str
) -> None:
    await die(workers, stores.ledger, send_mail(unique), "finish", after=False)
    outputs = await workers.processor().give_up(send_mail(unique), "killed its worker three times")
    assert result_of(outputs).status == "unknown"
    assert await workers.processor().process(send_mail(unique)) == outputs
    assert len(await emulated.effects(unique)) == 1
