"""What nobody should send: each ends in a dead letter or an event, and in the audit trail, and the lane goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError
from running_system import RunningSystem

from connectors.chat_client import ChatClient
from schemas import (
    MAX_BODY_BYTES,
    SYSTEM_TENANT,
    ApprovalDecision,
    DeadLetter,
    Envelope,
    InputRefused,
    RunCompleted,
    ThreadEvent,
    ToolResult,
    Topic,
    UserMessage,
    new_id,
)
from streams.dead_letters import list_dead_letters
from streams.kafka_servers import new_producer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
THREAD = "bad"
KEY = f"home:{THREAD}".encode()
GOOD = UserMessage(user_id="owner", text="hello").to_bytes()

Headers = Sequence[tuple[str, bytes | None]]


def headers(record_id: str = "", kind: str = UserMessage.TYPE, tenant: str = "home") -> Headers:
    return Envelope(record_id or new_id("m"), kind, "test", tenant, NOW).headers()


def without(name: str) -> Headers:
    return [pair for pair in headers() if pair[0] != name]


def test_a_question_that_cannot_be_taken_is_answered_with_the_reason(system: RunningSystem) -> None:
    asked = system.cauce("ask", "hello", "--tenant", "nobody", "--timeout", "60")
    assert asked.returncode == 1
    assert "there is no tenant 'nobody'" in asked.stderr
    assert "cauce tenant add nobody" in asked.stderr


class Sender:
    """A producer of anything at all, always to the partition of one thread."""

    def __init__(self, system: RunningSystem, producer: AIOKafkaProducer, partition: int) -> None:
        self.system, self._producer, self._partition = system, producer, partition

    async def send(
        self, value: bytes | None, key: bytes | None = KEY, head: Headers | None = None, topic: str = "chat.messages"
    ) -> str:
        """Where it lies: topic/partition/offset."""
        found = headers() if head is None else head
        there = await self._producer.send_and_wait(
            topic, value, key=key, headers=list(found), partition=self._partition
        )
        return f"{there.topic}/{there.partition}/{there.offset}"

    async def dead_letter(self, position: str) -> DeadLetter:
        """The dead letter of the record at this position."""
        async with asyncio.timeout(120):
            while True:
                for row in await list_dead_letters(self.system.kafka):
                    if f"{row.letter.topic}/{row.letter.partition}/{row.letter.offset}" == position:
                        return row.letter
                await asyncio.sleep(0.05)

    async def audited(self, subject: str, *, tenant: str = "home") -> dict[str, Any]:
        """The audit event about a subject."""
        async with asyncio.timeout(120):
            while True:
                told = await asyncio.to_thread(self.system.told, "audit", "export", "--tenant", tenant)
                for row in map(json.loads, told.splitlines()):
                    if subject in (row.get("subject"), row.get("run_id"), row["action"]):
                        found: dict[str, Any] = row
                        return found

    async def goes_on(self) -> None:
        """The next record of the same partition and thread is answered."""
        answer = await asyncio.to_thread(self.system.json, "ask", "hello", "--thread", THREAD)
        assert answer["state"] == "completed"


@pytest.fixture
async def sender(system: RunningSystem) -> AsyncIterator[Sender]:
    producer = new_producer(bootstrap_servers=system.kafka, max_request_size=6_000_000)
    await producer.start()
    first = await producer.send_and_wait("chat.messages", GOOD, key=KEY, headers=list(headers()))
    yield Sender(system, producer, first.partition)
    await producer.stop()


async def events_of(system: RunningSystem, thread: str, wanted: int, *, send: Any) -> list[ThreadEvent]:
    """The first events of a thread after `send(client)`, without the pieces of answers."""
    async with asyncio.timeout(120), ChatClient(system.kafka, "home", "owner", committed=True) as client:
        listener = await client.listen(deltas=False)
        try:
            await send(client)
            found: list[ThreadEvent] = []
            async for _, event in listener.events(thread):
                assert isinstance(event, ThreadEvent)
                found.append(event)
                if len(found) == wanted:
                    break
            return found
        finally:
            await listener.close()


@pytest.mark.parametrize(
    ("value", "key", "head", "reason"),
    [
        pytest.param(b"not json", KEY, headers(), "not a UserMessage: the body: Invalid JSON", id="not json"),
        pytest.param(b"\xff\xfe\x00", KEY, headers(), "not a UserMessage", id="not text"),
        pytest.param(b'{"text": "hi"}', KEY, headers(), "user_id: Field required", id="field missing"),
        pytest.param(b'{"user_id": 7, "text": "hi"}', KEY, headers(), "user_id: ", id="field of a wrong type"),
        pytest.param(b"[]", KEY, headers(), "not a UserMessage", id="not an object"),
        pytest.param(None, KEY, headers(), "has no value", id="no value"),
        pytest.param(GOOD, None, headers(), "has no key", id="no key"),
        pytest.param(GOOD, b"home", headers(), "not of the form tenant_id:thread_id", id="key without thread"),
        pytest.param(GOOD, b"\xff:t", headers(), "key is not UTF-8", id="key not text"),
        pytest.param(GOOD, b"other:bad", headers(), "the key belongs to tenant 'other'", id="key of another tenant"),
        pytest.param(GOOD, KEY, headers(kind="cauce.nonsense"), "is not a type of the topic", id="unknown type"),
        pytest.param(
            GOOD, KEY, headers(kind=ToolResult.TYPE), "is not a type of the topic", id="type of another topic"
        ),
        pytest.param(GOOD, KEY, without("ce_id"), "lacks the CloudEvents header ce_id", id="no id"),
        pytest.param(GOOD, KEY, without("ce_tenantid"), "lacks the CloudEvents header ce_tenantid", id="no tenant"),
        pytest.param(GOOD, KEY, (), "lacks the CloudEvents header", id="no headers"),
        pytest.param(b" " * MAX_BODY_BYTES + GOOD, KEY, headers(), "more than the 900,000 allowed", id="large body"),
        pytest.param(
            GOOD, b"nobody:t", headers(tenant="nobody"), "there is no tenant 'nobody'; create it", id="unknown tenant"
        ),
        pytest.param(
            UserMessage(user_id="stranger", text="hi").to_bytes(),
            KEY,
            headers(),
            "does not belong to the user 'stranger'",
            id="another user's thread",
        ),
        pytest.param(
            UserMessage(user_id="owner", text="hi", agent_id="spy").to_bytes(),
            KEY,
            headers(),
            "has no agent 'spy'",
            id="unknown agent",
        ),
        pytest.param(
            ApprovalDecision(user_id="owner", call_id="c1", decision="approve").to_bytes(),
            b"home:never-begun",
            headers(kind=ApprovalDecision.TYPE),
            "the thread 'never-begun' does not exist",
            id="decision in a thread that is not there",
        ),
    ],
)
async def test_what_cannot_be_processed_is_dead_lettered_with_its_reason_and_the_lane_goes_on(
    sender: Sender, value: bytes | None, key: bytes | None, head: Headers, reason: str
) -> None:
    position = await sender.send(value, key, head)
    letter = await sender.dead_letter(position)
    assert reason in letter.reason
    assert letter.value_bytes == len(value or b"")
    tenant = next((v.decode() for name, v in head if name == "ce_tenantid" and v), SYSTEM_TENANT)
    event = await sender.audited(position, tenant=tenant)
    assert (event["action"], event["outcome"]) == ("record.dead_lettered", "failed")
    assert reason in event["reason"]
    await sender.goes_on()


async def test_a_result_for_a_call_that_nobody_made_is_dead_lettered(sender: Sender) -> None:
    result = ToolResult(
        call_id="c-nobody", run_id="r1", name="Gmail_SendEmail", status="ok", content="sent", finished_at=NOW
    )
    position = await sender.send(result.to_bytes(), head=headers(kind=ToolResult.TYPE), topic=Topic.TOOL_RESULTS.value)
    assert "nothing requested the tool call 'c-nobody'" in (await sender.dead_letter(position)).reason
    assert (await sender.audited(position))["action"] == "record.dead_lettered"
    await sender.goes_on()


async def test_a_body_of_five_megabytes_is_refused_to_who_sends_it(sender: Sender, system: RunningSystem) -> None:
    with pytest.raises(MessageSizeTooLargeError):
        await sender.send(b" " * 5_000_000 + GOOD)
    words = await asyncio.to_thread(
        system.told, "ask", "x" * 120_000 + "é" * 1000, "--thread", THREAD, "--timeout", "20"
    )
    assert words, "what fits is taken"
    await sender.goes_on()


async def test_a_message_sent_twice_is_one_run_with_one_answer(sender: Sender, system: RunningSystem) -> None:
    message = new_id("m")

    async def twice(client: ChatClient) -> None:
        for _ in range(3):
            await client.send("twice", "hello", message_id=message)
        await client.send("twice", "what can you do?")

    events = await events_of(system, "twice", 8, send=twice)
    completed = [event.run_id for event in events if isinstance(event, RunCompleted)]
    assert (completed.count(message), len(completed)) == (1, 2)
    assert [event.seq for event in events] == list(range(1, 9)), "nothing was made for the repeats"


async def test_a_decision_on_a_call_that_does_not_wait_is_refused_with_an_event(
    sender: Sender, system: RunningSystem
) -> None:
    async def decide(client: ChatClient) -> None:
        await client.send("refused", "hello")
        await client.decide("refused", "c-none", "approve")

    *_, completed, refused = await events_of(system, "refused", 5, send=decide)
    assert isinstance(completed, RunCompleted)
    assert isinstance(refused, InputRefused)
    assert refused.reason
    assert (await sender.audited("input.refused"))["outcome"] == "refused"
    assert (await asyncio.to_thread(system.json, "ask", "hello", "--thread", "refused"))["state"] == "completed"


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        pytest.param("Nope_Tool", "Nope_Tool", id="unknown tool"),
        pytest.param("Gmail_SendEmail", "text", id="nonsense arguments"),
    ],
)
async def test_what_a_model_asks_for_in_error_is_told_to_it_and_the_run_ends(
    sender: Sender, system: RunningSystem, tool: str, words: str
) -> None:
    tenant = f"confused-{tool.lower().replace('_', '-')}"
    system.told("tenant", "add", tenant)
    system.told("tenant", "set", tenant, "--model", f"scripted:tool={tool}", "--approvals", "never")
    answer = await asyncio.to_thread(system.json, "ask", "go", "--tenant", tenant, "--thread", "t")
    assert (answer["state"], answer["text"].strip()) == ("completed", "done")
    (call,) = answer["tool_calls"]
    assert call["status"] in ("error", "refused")
    shown = json.dumps(await asyncio.to_thread(system.json, "threads", "show", "t", "--tenant", tenant))
    assert words in shown
    assert (await sender.audited("run.completed", tenant=tenant))["run_id"] == answer["run"]


async def test_of_several_dead_letters_those_that_can_be_are_replayed_and_the_others_are_named(
    system: RunningSystem, sender: Sender
) -> None:
    place = await sender.send(b"not json")
    await sender.dead_letter(place)
    (number,) = [
        row.number
        for row in await list_dead_letters(system.kafka)
        if f"{row.letter.topic}/{row.letter.partition}/{row.letter.offset}" == place
    ]
    told = await asyncio.to_thread(system.cauce, "dlq", "replay", "0-99999", number, "nonsense", number)
    assert told.returncode == 1
    assert "replayed 1" in told.stdout
    assert "not replayed: 0-99999: there is no dead letter 0-99999" in told.stderr
    assert "not replayed: nonsense: 'nonsense' is not a dead letter's number" in told.stderr
    again = await asyncio.to_thread(system.cauce, "dlq", "replay", number)
    assert (again.returncode, again.stdout.strip()) == (0, "replayed 1")
    await sender.goes_on()
