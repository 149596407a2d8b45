"""A slot that comes back while the last transaction of its producer is still running."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaProducer, TopicPartition
from prometheus_client import CollectorRegistry
from runtime_kit import QUICK, until
from test_kafka_clients import an_output, sent

from schemas import Topic
from schemas.common.metrics import RuntimeMetrics
from streams.contract import Group
from streams.embedded import EmbeddedBroker
from streams.kafka_clients import KafkaClients
from streams.slot import Finished, Slot

MESSAGES = TopicPartition(Topic.CHAT_MESSAGES.value, 0)


class _LateAnswer(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka has no types
    """Its first commit is carried out at once, and answered when it is let go."""

    committed, answered = asyncio.Event(), asyncio.Event()

    async def commit_transaction(self) -> None:
        await super().commit_transaction()
        self.committed.set()
        await self.answered.wait()


async def test_what_is_finished_while_a_transaction_runs_is_published_whatever_the_slot_learns_meanwhile(
    embedded: EmbeddedBroker,
) -> None:
    _LateAnswer.committed, _LateAnswer.answered = asyncio.Event(), asyncio.Event()
    clients = KafkaClients(embedded.bootstrap, QUICK, producer=_LateAnswer)
    await clients.start()
    slot = Slot(
        Group(name="turns", reads=(Topic.CHAT_MESSAGES,)),
        0,
        clients=clients,
        options=QUICK,
        metrics=RuntimeMetrics(CollectorRegistry()),
        on_progress=lambda: None,
    )
    try:
        await slot.open({})
        slot.admit()
        for offset in (0, 1):
            slot.trackers[MESSAGES].deliver(offset)
        slot.finish(Finished(MESSAGES, 0, (an_output("first"),)))
        async with asyncio.timeout(120):
            await _LateAnswer.committed.wait()
        slot.finish(Finished(MESSAGES, 1, (an_output("second"),)))
        await slot.open({})  # it sees that the first one is committed
        _LateAnswer.answered.set()
        await until(lambda: not slot.unpublished)
        assert sorted(await sent(embedded)) == ["first", "second"]
        assert (await clients.committed("turns", [MESSAGES]))[MESSAGES].offset == 2
    finally:
        _LateAnswer.answered.set()
        await slot.close()
        await clients.stop()
