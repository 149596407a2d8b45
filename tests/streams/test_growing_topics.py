"""More partitions while messages come and go: nothing is lost, and no thread loses its order."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.partitioner import murmur2
from runtime_kit import QUICK, Answering, Chat, make_worker, until

from deploy.cluster import KafkaServer
from schemas import PartitionSet, Record, SettingsError
from streams import growth, topic_admin

PARTITIONS = {PartitionSet.CONVERSATION: 2, PartitionSet.TENANT: 1}
THREADS = [f"t{n}" for n in range(40)]


def partition(key: str, count: int) -> int:
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % count


async def test_topics_grow_under_load_and_every_thread_keeps_its_order(tmp_path: Path) -> None:
    async def slowly(record: Record) -> None:
        await asyncio.sleep(random.random() * 0.2)

    with KafkaServer(tmp_path) as server:
        await topic_admin.apply(server.bootstrap, partitions=PARTITIONS)
        options = replace(QUICK, metadata_max_age_ms=1000, growth_pause=4.0)
        processor = Answering(then=slowly)
        workers = [make_worker(server.bootstrap, processor, options=options) for _ in range(2)]
        await asyncio.gather(*(worker.start() for worker in workers))
        try:
            async with Chat(server.bootstrap) as chat:
                sent: dict[str, list[str]] = defaultdict(list)
                enough = asyncio.Event()

                async def say(thread: str) -> None:
                    sent[f"{chat.tenant}:{thread}"].append(await chat.say(thread))

                async def talk() -> None:
                    while not enough.is_set():
                        await say(random.choice(THREADS))
                        await asyncio.sleep(0.005)

                await until(lambda: all(w.runtime("turns").open_slots for w in workers))
                # Three seconds of work for the old slots, so that a new one that began at once would be ahead of them.
                for _ in range(30):
                    await asyncio.gather(*(say(thread) for thread in THREADS))
                talking = asyncio.create_task(talk())
                assert await growth.grow(server.bootstrap, 4) is not None
                slots = {s for w in workers for s in w.runtime("turns").open_slots}
                assert slots <= {0, 1}, "new slots begin only after the old ones"
                async with asyncio.timeout(120):
                    while {s for w in workers for s in w.runtime("turns").open_slots} != {0, 1, 2, 3}:
                        await asyncio.sleep(0.1)
                seen = sum(processor.seen.values())
                await until(lambda: sum(processor.seen.values()) > seen + 200)
                enough.set()
                await talking
                # A record whose slot went to the other worker is processed again there; the journal knows it then.
                await until(lambda: len(processor.seen) == sum(map(len, sent.values())), 120)
                await until(lambda: not processor.running.total())
            moved = [key for key in sent if partition(key, 4) != partition(key, 2)]
            assert len(moved) > 5
            assert {key: list(dict.fromkeys(order)) for key, order in processor.order.items()} == dict(sent)
        finally:
            await asyncio.gather(*(worker.stop() for worker in workers))
        assert await growth.grow(server.bootstrap, 4) is None
        with pytest.raises(SettingsError, match="a short while ago"):
            await growth.grow(server.bootstrap, 8)
        with pytest.raises(SettingsError, match="multiple"):
            await growth.grow(server.bootstrap, 6)
        with pytest.raises(SettingsError, match="multiple"):
            await growth.grow(server.bootstrap, 2)
