"""What a worker's Kafka clients say while Apache Kafka is coming back."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from deploy.cluster import KafkaServer
from schemas import PartitionSet
from streams import topic_admin
from streams.kafka_clients import KafkaClients, close_producer
from streams.runtime_options import RuntimeOptions

PARTITIONS = {PartitionSet.CONVERSATION: 1, PartitionSet.TENANT: 1}


async def test_an_owner_is_told_what_is_committed_or_an_error_and_never_nothing(tmp_path: Path) -> None:
    with KafkaServer(tmp_path) as server:
        await topic_admin.apply(server.bootstrap, partitions=PARTITIONS)
        here, elsewhere = TopicPartition("chat.messages", 0), TopicPartition("tool.results", 0)
        clients = KafkaClients(server.bootstrap, RuntimeOptions())
        await clients.start()
        producer = await clients.transactional_producer("turns-0")
        await producer.begin_transaction()
        await producer.send_offsets_to_transaction({here: OffsetAndMetadata(7, "done")}, "turns")
        await producer.commit_transaction()
        await close_producer(producer)

        restarting = asyncio.create_task(asyncio.to_thread(server.restart))
        told = []
        async with asyncio.timeout(120):
            while not restarting.done() or len(told) < 50:
                try:
                    # As a slot does: the transactional id first, which waits for markers that are still to be written.
                    owner = await clients.transactional_producer("turns-0")
                    try:
                        told.append(await clients.committed("turns", [here, elsewhere]))
                    finally:
                        await close_producer(owner)
                except (KafkaError, OSError):
                    await asyncio.sleep(0.005)
        await restarting
        await clients.stop()
        for offsets in told:
            assert offsets[here] == OffsetAndMetadata(7, "done")
            assert offsets[elsewhere].offset == -1
