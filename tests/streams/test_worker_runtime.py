"""Workers on a broker: once, in order, whatever fails around them."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from prometheus_client import CollectorRegistry, Counter
from runtime_kit import NOW, QUICK, Answering, Chat, make_worker, running, until

from schemas import Envelope, Record, Topic, UserMessage
from streams.dead_letters import find_dead_letter, list_dead_letters, replay
from streams.embedded import EmbeddedBroker
from streams.health import Health, HealthServer


async def test_every_message_is_answered_once_and_in_order_within_its_thread(kafka: str) -> None:
    async def at_random(record: Record) -> None:
        await asyncio.sleep(random.random() * 0.01)

    processor = Answering(then=at_random)
    async with running(kafka, processor), Chat(kafka) as chat:
        sent: dict[str, list[str]] = {}
        for n in range(200):
            thread = f"t{n % 20}"
            sent.setdefault(f"{chat.tenant}:{thread}", []).append(await chat.say(thread))
        await chat.answered([m for messages in sent.values() for m in messages])
        assert dict(chat.order) == sent


async def test_hundreds_of_threads_are_worked_on_at_once(kafka: str) -> None:
    processor = Answering(seconds=0.5)
    async with running(kafka, processor), Chat(kafka) as chat:
        await chat.answered(await asyncio.gather(*(chat.say(f"t{n}") for n in range(300))))
        assert processor.most_at_once > 100


async def test_records_that_cannot_be_processed_do_not_stop_their_lane(kafka: str) -> None:
    async def poison(record: Record) -> None:
        if record.body.text == "poison":
            raise ValueError("poison")

    processor = Answering(then=poison)
    async with running(kafka, processor), Chat(kafka) as chat:
        key = f"{chat.tenant}:t1".encode()
        good = Envelope("x1", UserMessage.TYPE, "test", chat.tenant, NOW).headers()
        await chat.say("t1", "poison")
        await chat.raw(b"not json", key, good)
        await chat.raw(b"{}", key, (("binary", b"\xff\xfe"), ("empty", None)))
        await chat.raw(None, key, good)
        await chat.raw(b"{}", None, partition=1)
        await chat.raw(UserMessage(user_id="u", text="x").to_bytes(), b"other:t1", good)
        await chat.answered([await chat.say("t1")])
        await until(lambda: len(chat.dead) >= 6)
        await until(lambda: sum(e["action"] == "record.dead_lettered" for e in chat.audited) >= 6)
        reasons = " | ".join(letter["reason"] for letter in chat.dead)
        for words in (
            "ValueError: poison",
            "not a UserMessage",
            "lacks the CloudEvents header",
            "no value",
            "belongs to",
        ):
            assert words in reasons
        row = (await list_dead_letters(kafka, limit=50))[-1]
        assert (await find_dead_letter(kafka, row.number)).letter == row.letter


async def test_a_dead_letter_can_be_replayed_once_its_reason_is_gone(embedded: EmbeddedBroker) -> None:
    broken = True

    async def then(record: Record) -> None:
        if broken:
            raise ValueError("a bug of ours")

    async with running(embedded.bootstrap, Answering(then=then)), Chat(embedded.bootstrap) as chat:
        message = await chat.say("t1")
        await until(lambda: bool(chat.dead))
        broken = False
        before = chat.answers[message]
        assert await replay(embedded.bootstrap, await list_dead_letters(embedded.bootstrap)) == 1
        await until(lambda: chat.answers[message] == before + 1)


async def test_a_full_budget_stops_intake_and_nothing_is_lost(kafka: str) -> None:
    processor = Answering(seconds=0.01)
    options = replace(QUICK, max_running=4, max_queued=10)
    async with running(kafka, processor, options=options) as worker, Chat(kafka) as chat:
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, worker.runtime("turns")._holdings.records)
                await asyncio.sleep(0.001)

        watching = asyncio.create_task(watch())
        await chat.answered([await chat.say(f"t{n}") for n in range(150)])
        watching.cancel()
        assert most <= 10
        assert processor.most_at_once <= 4


@pytest.mark.parametrize(("count", "size"), [(40, 100_000), (400, 100)], ids=["bytes", "records"])
async def test_flood_of_one_thread_holds_up_nobody_else_and_not_its_own_cancel(
    kafka: str, count: int, size: int
) -> None:
    """Twice the budget of the group, behind a record that takes its time."""
    go_on = asyncio.Event()

    async def then(record: Record) -> None:
        if record.body.text == "slow":
            await go_on.wait()

    processor = Answering(then=then)
    options = replace(QUICK, max_queued=200, max_queued_bytes=2_000_000)
    async with running(kafka, processor, options=options) as worker, Chat(kafka) as chat:
        slow = await chat.say("t1", "slow")
        await until(lambda: processor.seen[slow] == 1)
        flood = [await chat.say("t1", f"{n} ".ljust(size, "x")) for n in range(count)]
        cancel = await chat.say("t1", "cancel")
        await chat.answered([await chat.say(f"other{n}") for n in range(20)])
        await until(lambda: cancel in processor.arrived_ids)
        holdings = worker.runtime("turns")._holdings
        assert holdings.records <= 200 / 16 + 20
        assert holdings.bytes <= 2_000_000 / 16 + 20_000
        assert chat.answers.total() == 20
        go_on.set()
        await chat.answered([slow, *flood, cancel])
        assert chat.order[f"{chat.tenant}:t1"] == [slow, *flood, cancel]
        assert (holdings.records, holdings.bytes, holdings.stubs, holdings._spilled) == (0, 0, 0, {})


async def test_value_that_is_gone_when_its_turn_comes_is_a_dead_letter_that_says_so(
    embedded: EmbeddedBroker,
) -> None:
    go_on = asyncio.Event()

    async def then(record: Record) -> None:
        if record.body.text == "slow":
            await go_on.wait()

    processor = Answering(then=then)
    options = replace(QUICK, max_queued=16, small_bytes=0)
    async with running(embedded.bootstrap, processor, options=options) as worker, Chat(embedded.bootstrap) as chat:
        slow = await chat.say("t1", "slow")
        await until(lambda: processor.seen[slow] == 1)
        lost, kept = await chat.say("t1", "lost"), await chat.say("t1", "kept")
        await until(lambda: {lost, kept} <= processor.arrived_ids)
        spilled = worker.runtime("turns")._holdings._spilled
        assert len(spilled) == 2
        first = min(spilled, key=lambda place: place[1])
        delivery = spilled.pop(first)
        delivery.spilled = False
        go_on.set()
        await chat.answered([slow, kept])
        await until(lambda: bool(chat.dead))
        assert "no value" in chat.dead[0]["reason"]


async def test_a_graceful_stop_finishes_and_publishes_what_runs(kafka: str) -> None:
    processor = Answering(seconds=0.5)
    async with Chat(kafka) as chat:
        worker = make_worker(kafka, processor)
        await worker.start()
        messages = [await chat.say(f"t{n}") for n in range(20)]
        await until(lambda: processor.seen.total() == 20)
        await worker.stop()
        await chat.answered(messages)
        again = Answering()
        async with running(kafka, again):
            await chat.answered([await chat.say("t1")])
        assert not set(messages) & set(again.seen), "finished work was done again"


@pytest.mark.parametrize("first", ["the rebalance", "the stop"])
async def test_a_stop_beside_a_rebalance_does_not_wait_for_slots_that_nobody_opens_any_more(
    embedded: EmbeddedBroker, first: str
) -> None:
    """What waits for such a slot is its next owner's to do."""
    go_on = asyncio.Event()

    async def then(_: Record) -> None:
        await go_on.wait()

    processor = Answering(then=then)
    async with Chat(embedded.bootstrap) as chat:
        worker = make_worker(embedded.bootstrap, processor, options=replace(QUICK, grace=3600))
        await worker.start()
        message = await chat.say("t1")
        await until(lambda: processor.seen[message] == 1)
        runtime = worker.runtime("turns")
        if first == "the rebalance":
            await runtime.on_partitions_revoked(())
        stopping = asyncio.create_task(worker.stop())
        if first == "the stop":
            await until(lambda: runtime._stopping)
            partitions = list(runtime._consumer.assignment())
            await runtime.on_partitions_revoked(partitions)
            await runtime.on_partitions_assigned(partitions)
            await until(lambda: not runtime._openings)
        go_on.set()
        async with asyncio.timeout(120):
            await stopping
        assert sum(map(len, processor.order.values())) == 1, "what runs has the grace"
        again = Answering()
        async with running(embedded.bootstrap, again):
            await chat.answered([message])
        assert again.seen[message] == 1


async def test_a_second_worker_takes_slots_and_work_in_the_slots_that_stay_goes_on(kafka: str) -> None:
    first, second = Answering(seconds=3), Answering()
    async with Chat(kafka) as chat, running(kafka, first) as one:
        messages = [await chat.say(f"t{n}") for n in range(40)]
        await until(lambda: first.seen.total() == 40)
        async with running(kafka, second) as two:
            await until(lambda: len(one.runtime("turns")._slots) == len(two.runtime("turns")._slots) == 2)
            await chat.answered(messages)
            assert max(first.seen.values()) == 1, "work in a slot that stayed was begun again"
            assert 0 < second.seen.total() < 40, "the slots that moved were worked on by their new owner"


async def test_slots_that_a_rebalance_gives_back_are_read_from_where_they_were_left_before_anything_is_polled(
    kafka: str,
) -> None:
    """Nothing is committed yet, so Kafka has no place to tell; a poll that asked it would fail and be told of as trouble."""
    async with Chat(kafka) as chat, running(kafka, Answering()) as one:
        for _ in range(3):
            async with running(kafka, Answering()) as two:
                await until(lambda: len(one.runtime("turns")._slots) == len(two.runtime("turns")._slots) == 2)
                await until(lambda: one.runtime("turns").ready)
            await until(lambda: len(one.runtime("turns").open_slots) == 4)
        await chat.answered([await chat.say(f"t{n}") for n in range(8)])
        assert _counted(one.runtime("turns")._metrics.polls_failed) == 0


async def test_a_broker_that_restarts_loses_and_doubles_nothing(embedded: EmbeddedBroker) -> None:
    processor = Answering(seconds=0.05)
    async with Chat(embedded.bootstrap) as chat, running(embedded.bootstrap, processor):
        messages = [await chat.say(f"t{n}") for n in range(50)]
        await until(lambda: processor.seen.total() > 10)
        await embedded.kill()
        await embedded.start()
        messages += [await chat.say(f"t{n}") for n in range(20)]
        await chat.answered(messages)


async def test_a_fenced_worker_takes_up_its_slot_again_and_doubles_nothing(kafka: str) -> None:
    """Somebody else starts a producer of the slot's id, as a new owner would, and does not stay."""
    processor = Answering()
    async with Chat(kafka) as chat, running(kafka, processor) as worker:
        await chat.answered([await chat.say(f"t{n}") for n in range(8)])
        for number in range(4):
            usurper = await worker._clients.transactional_producer(f"turns-{number}")
            await usurper.stop()
        await chat.answered([await chat.say(f"t{n}") for n in range(8)])


async def test_a_record_that_the_broker_refuses_keeps_its_input_open_until_it_is_taken(kafka: str) -> None:
    """aiokafka commits a transaction's offsets also when one of its records was refused."""
    processor = Answering()

    async def allow(most: int) -> None:
        limit = {"max.message.bytes": str(most)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, Topic.CHAT_RESPONSES.value, limit)])

    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        async with Chat(kafka) as chat, running(kafka, processor) as worker:
            await chat.answered([await chat.say("t1")])
            await allow(100)
            try:
                messages = [await chat.say(f"t{n}") for n in range(4)]
                await until(lambda: _counted(worker.runtime("turns")._metrics.transaction_failures) > 0)
            finally:
                await allow(1_048_588)
            await chat.answered(messages)
    finally:
        await admin.close()


async def test_no_record_holds_its_partition_whatever_it_is_and_whatever_kafka_takes_of_its_dead_letter(
    kafka: str,
) -> None:
    async def allow(most: int) -> None:
        limit = {"max.message.bytes": str(most)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, Topic.DEAD_LETTERS.value, limit)])

    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        async with Chat(kafka) as chat, running(kafka, Answering()):
            key = f"{chat.tenant}:t1".encode()
            good = Envelope("x1", UserMessage.TYPE, "test", chat.tenant, NOW).headers()
            early = tuple((n, b"0001-01-01T00:00:00+14:00" if n == "ce_time" else v) for n, v in good)
            await chat.raw(b"{}", key, (*good, ("large", b"h" * 900_000)))
            await chat.raw(b"v" * 1_000_000, key, good)
            await chat.raw(b"{}", b"k" * 900_000, good, partition=0)
            await chat.raw(b"[" * 500_000, key, early)
            await chat.answered([await chat.say("t1")])
            await until(lambda: len(chat.dead) >= 4)
            assert sum(bool(letter.get("cut")) for letter in chat.dead) == 3
            for most, kept in ((3_000, 1), (100, 0)):
                await allow(most)
                before = len(chat.dead)
                try:
                    await chat.raw(b"v" * 200_000, key, good)
                    await chat.answered([await chat.say("t1")])
                finally:
                    await allow(1_048_588)
                assert len(chat.dead) == before + kept
    finally:
        await admin.close()


def _counted(counter: Counter) -> float:
    return sum(
        sample.value for metric in counter.collect() for sample in metric.samples if sample.name.endswith("_total")
    )


async def unwell() -> str | None:
    return "the store is away"


async def test_a_worker_says_how_it_is(embedded: EmbeddedBroker) -> None:
    async with (
        running(embedded.bootstrap, Answering()) as worker,
        httpx.AsyncClient(timeout=120) as http,
        Chat(embedded.bootstrap) as chat,
    ):
        await chat.answered([await chat.say("t1")])
        for path in ("/healthz", "/readyz"):
            answer = await http.get(worker.health_address + path)
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        metrics = (await http.get(worker.health_address + "/metrics")).text
        assert 'cauce_records_committed_total{group="turns"} 1.0' in metrics
        assert "faststream_received_processed_messages" in metrics
        worker._health.ready["store"] = unwell
        answer = await http.get(worker.health_address + "/readyz")
        assert (answer.status_code, answer.json()["store"]) == (503, "the store is away")
        assert (await http.get(worker.health_address + "/nothing")).status_code == 404


async def test_page_of_health_for_other_machines_names_no_addresses() -> None:
    for host, told in (("127.0.0.1", "10.0.0.7:9042"), ("0.0.0.0", "failing"), ("10.0.0.8", "failing")):
        health = Health(ready={"store": away})
        server = HealthServer(health, CollectorRegistry(), host=host)
        transport = httpx.ASGITransport(server._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here", timeout=120) as http:
            answer = await http.get("/readyz")
        assert answer.status_code == 503
        assert told in answer.json()["store"]
        assert ("10.0.0.7" in answer.text) == (host == "127.0.0.1")


async def away() -> str | None:
    return "10.0.0.7:9042 does not answer"


async def test_record_whose_task_is_cancelled_by_nobodys_order_is_begun_again_and_then_given_up(
    embedded: EmbeddedBroker,
) -> None:
    begun = asyncio.Event()

    async def then(record: Record) -> None:
        if record.body.text == "cancelled":
            begun.set()
            await asyncio.Event().wait()

    processor = Answering(then=then)
    async with running(embedded.bootstrap, processor) as worker, Chat(embedded.bootstrap) as chat:
        message = await chat.say("t1", "cancelled")
        for _ in range(QUICK.crashes):
            await begun.wait()
            begun.clear()
            for task, delivery in worker.runtime("turns")._tasks.items():
                if delivery.raw.key == f"{chat.tenant}:t1".encode():
                    task.cancel()
        await chat.answered([message, await chat.say("t1"), await chat.say("t2")])
        assert processor.given_up == [message]
        assert processor.seen[message] == QUICK.crashes
