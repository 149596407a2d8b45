"""What lies in the topics beside the agents' events costs itself: the streams of everybody else go on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from aiokafka import TopicPartition
from odd_batches import CODECS, batch_of, with_body, write

from connectors.gateway.feed import Feed
from schemas import Delta, Envelope, GraphDelta, PartitionSet, RunStarted, ThreadKey, Topic
from streams import topics
from streams.embedded import EmbeddedBroker

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ThreadKey("home", "t1")


def event(seq: int) -> bytes:
    body = RunStarted(seq=seq, run_id="r", user_id="u", at=NOW, input_id="m", agent_id="default")
    headers = Envelope(f"e{seq}", RunStarted.TYPE, "test", "home", NOW).headers()
    return batch_of((str(KEY).encode(), body.to_bytes(), headers))


async def test_odd_records_do_not_end_the_feed(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path / "kafka") as broker:
        await topics.apply(broker.bootstrap, partitions={PartitionSet.CONVERSATION: 1, PartitionSet.TENANT: 1})
        feed = Feed(broker.bootstrap, items=10_000)
        await feed.start()
        key, seq = str(KEY).encode(), 0

        async def put(topic: Topic, batch: bytes) -> None:
            assert (await write(broker.bootstrap, TopicPartition(topic.value, 0), batch))[0] == "NoError"

        try:
            with feed.subscribed(KEY) as live:

                async def an_event_comes() -> None:
                    nonlocal seq
                    async with asyncio.timeout(120):
                        await feed.ready.wait()
                        while True:  # what comes while the feed begins again is read from the store
                            seq += 1
                            await put(Topic.CHAT_RESPONSES, event(seq))
                            if any(isinstance(item, RunStarted) for item in await live.take(1)):
                                return

                await an_event_comes()
                for topic in (Topic.CHAT_RESPONSES, Topic.CHAT_DELTAS):
                    for kind in (
                        b"\xff",
                        Delta.TYPE.encode(),
                        GraphDelta.TYPE.encode(),
                        RunStarted.TYPE.encode(),
                        None,
                    ):
                        for value in (None, b"", b"null", b"{}", b"\xff", b"[" * 5000):
                            await put(topic, batch_of((key, value, [("ce_type", kind)])))
                await an_event_comes()
                whole = batch_of((key, b"x", ()))
                for name, code in CODECS.items():
                    await put(Topic.CHAT_DELTAS, with_body(whole, f"no {name}".encode(), code))
                await an_event_comes()
        finally:
            await feed.stop()


async def test_a_small_batch_of_many_records_lets_everybody_else_have_their_turn(tmp_path: Path) -> None:
    """One who reads all the time is never too far behind, however many records a batch holds."""
    count = 20_000
    key, headers = str(KEY).encode(), Envelope("e", RunStarted.TYPE, "test", "home", NOW).headers()
    body = RunStarted(seq=1, run_id="r", user_id="u", at=NOW, input_id="m", agent_id="default").to_bytes()
    many = batch_of(*[(key, body, headers)] * count, compression="zstd", room=16 << 20)
    assert len(many) < 1 << 20
    async with EmbeddedBroker(tmp_path / "kafka") as broker:
        await topics.apply(broker.bootstrap, partitions={PartitionSet.CONVERSATION: 1, PartitionSet.TENANT: 1})
        feed = Feed(broker.bootstrap, items=1_000)
        await feed.start()
        try:
            with feed.subscribed(KEY) as live:
                await feed.ready.wait()
                place = TopicPartition(Topic.CHAT_RESPONSES.value, 0)
                assert (await write(broker.bootstrap, place, many))[0] == "NoError"
                came = 0
                async with asyncio.timeout(120):
                    while came < count:
                        assert not live.overflowed
                        came += sum(isinstance(item, RunStarted) for item in await live.take(1))
        finally:
            await feed.stop()
