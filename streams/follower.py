"""Following topics for as long as the process lives: everything from now on, in no group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError

from schemas import Topic
from streams.kafka_clients import close_consumer
from streams.kafka_servers import Kafka, answering, new_consumer
from streams.reconnecting import Reconnecting
from streams.unpacking import shared_room
from streams.unreadable import Stalls

_STALL = 10.0
_POLL_RECORDS = 500
"""Records between two turns of everybody else: a small compressed batch may have a million of them, and a poll that has more
waiting returns without giving way."""


class Follower(Reconnecting):
    """Hands out records as they come, also those that are not committed yet. `start` returns immediately; `ready` is set while
    it has its positions."""

    def __init__(
        self,
        bootstrap: Kafka,
        topics: Sequence[Topic],
        *,
        hand_out: Callable[[ConsumerRecord], None],
        on_gap: Callable[[], None],
    ) -> None:
        """`on_gap` is called wherever it begins: records may have passed unseen. What `hand_out` raises makes it begin again."""
        super().__init__(f"following {', '.join(topics)}")
        self._bootstrap, self._topics = bootstrap, topics
        self._hand_out, self._on_gap = hand_out, on_gap
        self.ready = asyncio.Event()

    async def _work(self) -> None:
        consumer = new_consumer(
            *(topic.value for topic in self._topics),
            bootstrap_servers=self._bootstrap,
            isolation_level="read_uncommitted",
            auto_offset_reset="latest",
            enable_auto_commit=False,
            fetch_max_wait_ms=500,
            metadata_max_age_ms=10_000,
        )
        try:
            async with answering(self._bootstrap):
                await consumer.start()
            # A position is only known once it was asked for; "latest" means the end at that moment.
            await asyncio.gather(*(consumer.position(tp) for tp in consumer.assignment()))
            self.ready.set()
            self._on_gap()
            await self._read(consumer)
        finally:
            # What was missed, the unreadable record included, is behind the position where reading begins again.
            self.ready.clear()
            await close_consumer(consumer)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        stalls = Stalls(_STALL)
        while True:
            with shared_room():
                fetched = await consumer.getmany(timeout_ms=1000, max_records=_POLL_RECORDS)
            for records in fetched.values():
                for record in records:
                    self._hand_out(record)
            await asyncio.sleep(0)
            if silent := await stalls.among(consumer.assignment(), consumer):
                raise KafkaError(f"{silent[0]} has more and gives nothing")
