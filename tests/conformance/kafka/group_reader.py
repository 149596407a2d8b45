"""A consumer group's member that reads and commits in the background; run as a script, one that can be killed.

python group_reader.py HOST:PORT TOPIC GROUP     prints the number of its partitions when it has some
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError

SESSION_SECONDS = 6.0
"""The shortest that Apache Kafka allows by default (`group.min.session.timeout.ms`)."""
MEMBERSHIP: dict[str, Any] = {
    "session_timeout_ms": 6000,
    "heartbeat_interval_ms": 500,
    "max_poll_interval_ms": 20_000,
    "partition_assignment_strategy": [RangePartitionAssignor],
}


class GroupReader(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Reads until its context ends. `seen` are partition and offset in the order of reading, repeats too."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str) -> None:
        self.consumer = consumer
        self.seen: list[tuple[int, int]] = []
        self.changes: list[tuple[str, set[int]]] = []
        """What was revoked or assigned, in order."""
        consumer.subscribe([topic], listener=self)
        self._task = asyncio.create_task(self._read())

    @property
    def partitions(self) -> set[int]:
        """The numbers of the partitions that it owns now."""
        return {tp.partition for tp in self.consumer.assignment()}

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Called by aiokafka."""
        self.changes.append(("revoked", {tp.partition for tp in revoked}))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Called by aiokafka."""
        self.changes.append(("assigned", {tp.partition for tp in assigned}))

    async def stop(self, *, leave: bool = True) -> None:
        """Stops reading; leaves the group unless told otherwise."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if leave:
            await self.consumer.stop()

    async def _read(self) -> None:
        async for record in self.consumer:
            self.seen.append((record.partition, record.offset))
            with contextlib.suppress(CommitFailedError, IllegalStateError):  # a rebalance: its new owner reads it again
                await self.consumer.commit({TopicPartition(record.topic, record.partition): record.offset + 1})


async def main(bootstrap: str, topic: str, group: str) -> None:
    """Reads until it is killed."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        **MEMBERSHIP,
    )
    await consumer.start()
    reader = GroupReader(consumer, topic)
    while not reader.partitions:
        await asyncio.sleep(0.05)
    print(len(reader.partitions), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
