"""What lies in the topics beside the agents' events costs itself: the streams of everybody else go on."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka import TopicPartition
from odd_batches import CODECS, batch_of, with_body, write

from core.following.feed import RESYNC, Feed, TextPiece
from core.following.graph_reader import GraphPieces
from schemas import (
    Delta,
    Envelope,
    GraphDelta,
    GraphPiece,
    Message,
    MessageAdded,
    PartitionSet,
    RunCancelled,
    RunStarted,
    ThreadEvent,
    ThreadKey,
    Topic,
)
from schemas.common.serving import TaskWatch
from streams import topic_admin
from streams.embedded import EmbeddedBroker

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ThreadKey("home", "t1")


def event(seq: int) -> bytes:
    body = RunStarted(seq=seq, run_id="r", user_id="u", at=NOW, input_id="m", agent_id="default")
    headers = Envelope(f"e{seq}", RunStarted.TYPE, "test", "home", NOW).headers()
    return batch_of((str(KEY).encode(), body.to_bytes(), headers))


async def test_odd_records_do_not_end_the_feed(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path / "kafka") as broker:
        await topic_admin.apply(broker.bootstrap, partitions={PartitionSet.CONVERSATION: 1, PartitionSet.TENANT: 1})
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


async def test_what_cannot_be_understood_of_one_thread_is_counted_and_nobody_else_notices(tmp_path: Path) -> None:
    deep = '{"a":' * 230 + "1" + "}" * 230
    whole = {"run_id": "r", "message_id": "m", "turn": 1, "attempt": 1, "index": 0, "text": "x"}
    hostile = [
        *(json.dumps({name: value for name, value in whole.items() if name != left}) for left in whole),
        *(json.dumps({**whole, name: []}) for name in whole),
        json.dumps({**whole, "text": "\ud800"}),
        json.dumps({**whole, "attempt": -1}),
    ]
    pieces = f'{{"run_id":"r","leg":"l","pieces":[{{"index":0,"mode":"messages","data":[{deep}]}}]}}'
    added = RunStarted(seq=1, run_id="r", user_id="u", at=NOW, input_id="m", agent_id="default").to_bytes().decode()
    records = [
        *((Topic.CHAT_DELTAS, Delta.TYPE, body) for body in hostile),
        (Topic.CHAT_DELTAS, GraphDelta.TYPE, pieces),
        (Topic.CHAT_DELTAS, GraphDelta.TYPE, '{"run_id":"r","leg":"l","pieces":[7]}'),
        (Topic.CHAT_RESPONSES, RunStarted.TYPE, added.replace('"seq":1', '"seq":"one"')),
        (Topic.CHAT_RESPONSES, RunStarted.TYPE, added[:-1]),
    ]
    passed_over: list[str] = []
    async with EmbeddedBroker(tmp_path / "kafka") as broker:
        await topic_admin.apply(broker.bootstrap, partitions={PartitionSet.CONVERSATION: 1, PartitionSet.TENANT: 1})
        watch = TaskWatch(on_item=passed_over.append)
        with watch.watching():
            feed = Feed(broker.bootstrap, items=1_000)
            await feed.start()
            try:
                async with asyncio.timeout(120):
                    await feed.ready.wait()
                    with feed.subscribed(ThreadKey("evil", "t")) as theirs, feed.subscribed(KEY) as others:
                        for topic, kind, body in records:
                            headers = Envelope("e", kind, "test", "evil", NOW).headers()
                            batch = batch_of((b"evil:t", body.encode(), headers))
                            assert (await write(broker.bootstrap, TopicPartition(topic.value, 0), batch))[
                                0
                            ] == "NoError"
                        read: list[object] = []
                        while len(read) < len(records):
                            read += await theirs.take(1)
                        assert read == [RESYNC] * len(records), "their readers read the store"
                        assert (await write(broker.bootstrap, TopicPartition(Topic.CHAT_RESPONSES.value, 0), event(1)))[
                            0
                        ]
                        came: list[object] = []
                        while not came:
                            came = list(await others.take(1))
                        assert [type(item) for item in came] == [RunStarted], "the feed did not begin again"
            finally:
                await feed.stop()
            assert passed_over == ["the feed of events"] * len(records)
            assert await watch.trouble() is None


async def test_a_small_batch_of_many_records_lets_everybody_else_have_their_turn(tmp_path: Path) -> None:
    """One who reads all the time is never too far behind, however many records a batch holds."""
    count = 20_000
    key, headers = str(KEY).encode(), Envelope("e", RunStarted.TYPE, "test", "home", NOW).headers()
    body = RunStarted(seq=1, run_id="r", user_id="u", at=NOW, input_id="m", agent_id="default").to_bytes()
    many = batch_of(*[(key, body, headers)] * count, compression="zstd", room=16 << 20)
    assert len(many) < 1 << 20
    async with EmbeddedBroker(tmp_path / "kafka") as broker:
        await topic_admin.apply(broker.bootstrap, partitions={PartitionSet.CONVERSATION: 1, PartitionSet.TENANT: 1})
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


async def test_pieces_that_come_after_their_message_or_the_end_of_their_run_are_not_told(tmp_path: Path) -> None:
    """The two topics are read apart, so that either can be behind the other."""
    about: dict[str, Any] = {"user_id": "u", "at": NOW}
    message = Message(message_id="m1", role="assistant", text="whole", run_id="r1", at=NOW)
    added = MessageAdded(seq=1, run_id="r1", message=message, **about)
    ended = RunCancelled(seq=2, run_id="r2", reason="cancelled", message="Cancelled.", **about)
    chunk = [{"type": "AIMessageChunk", "id": "m4", "content": "text"}, {}]

    def piece(run_id: str, message_id: str) -> Delta:
        return Delta(run_id=run_id, message_id=message_id, turn=1, attempt=1, index=0, text="text")

    def of_graph(run_id: str) -> GraphDelta:
        pieces = (GraphPiece(index=0, mode="messages", data=chunk, chunks=1),)
        return GraphDelta(run_id=run_id, leg=f"leg-{run_id}", graph="g", pieces=pieces)

    async with EmbeddedBroker(tmp_path / "kafka") as broker:
        await topic_admin.apply(broker.bootstrap, partitions={PartitionSet.CONVERSATION: 1, PartitionSet.TENANT: 1})
        feed = Feed(broker.bootstrap, items=1_000)
        await feed.start()

        async def put(topic: Topic, *bodies: ThreadEvent | Delta | GraphDelta) -> None:
            for body in bodies:
                headers = Envelope(f"e{id(body)}", body.TYPE, "test", "home", NOW).headers()
                batch = batch_of((str(KEY).encode(), body.to_bytes(), headers))
                assert (await write(broker.bootstrap, TopicPartition(topic.value, 0), batch))[0] == "NoError"

        try:
            async with asyncio.timeout(120):
                await feed.ready.wait()
                with feed.subscribed(KEY) as live:
                    await put(Topic.CHAT_RESPONSES, added, ended)
                    came: list[object] = []
                    while sum(isinstance(item, ThreadEvent) for item in came) < 2:
                        came += await live.take(1)
                    late = (piece("r1", "m1"), piece("r2", "m2"), of_graph("r2"))
                    await put(Topic.CHAT_DELTAS, *late, piece("r1", "m3"), of_graph("r3"))
                    told: list[object] = []
                    while not any(isinstance(item, TextPiece) and item.run_id == "r3" for item in told):
                        told += await live.take(1)
                pieces = [item for item in told if isinstance(item, TextPiece | GraphPieces)]
                # That a run is a graph's is told before what its models write.
                assert [(type(item), item.run_id) for item in pieces] == [
                    (TextPiece, "r1"),
                    (GraphPieces, "r3"),
                    (TextPiece, "r3"),
                ]
                with feed.subscribed(KEY) as later:
                    kept = [item for item in await later.take(1) if isinstance(item, TextPiece | GraphPieces)]
                assert {item.run_id for item in kept} == {"r1", "r3"}
        finally:
            await feed.stop()
