"""A producer beside the load that writes what no client of ours writes: compressed messages, broken bytes, odd records.

Compressed messages are inputs like all others, and are in the load's book. Everything else must become a dead letter, once, and
must cost nobody anything; what is broken on the wire must be refused by the broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2
from chaos_load import Book
from odd_batches import CODECS, batch_of, damage, with_body, write

from bench.systems import PARTITIONS
from processors.groups import GROUPS
from schemas import TOPICS, Envelope, Topic, Unavailable, UserMessage, new_id
from streams.batches import HEADER
from streams.dead_letters import list_dead_letters
from streams.kafka_clients import close_producer
from streams.kafka_servers import Kafka, new_producer

EVERY_SECONDS = 0.5
READ = tuple(topic for group in ("turns", "tools") for topic in GROUPS[group].reads)


class Vandal:
    """`files` is the embedded broker's folder; None where the disk is out of reach."""

    def __init__(
        self,
        bootstrap: Kafka,
        tenants: tuple[str, ...],
        book: Book,
        chance: random.Random,
        *,
        files: Path | None = None,
    ) -> None:
        self._bootstrap, self._tenants, self._book, self._random, self._files = bootstrap, tenants, book, chance, files
        self.did: Counter[str] = Counter()
        self.taken: dict[tuple[str, int, int], str] = {}
        """What must become a dead letter: its place, and what it is."""
        self.wrong: list[str] = []
        self._numbers = 0
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Begins."""
        self._task = asyncio.create_task(self._go_on())

    async def stop(self, seconds: float) -> None:
        """Stops, and waits for the dead letters of what it wrote, at most so long."""
        assert self._task
        # Not by a cancel, which a producer that is being closed may swallow; each thing that it does is over soon.
        self._stopping = True
        await self._task
        deadline = time.monotonic() + seconds
        while (missing := await self._without_letter()) and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
        self.wrong += [f"no dead letter of {kind} at {place}" for place, kind in missing.items()]

    async def _without_letter(self) -> dict[tuple[str, int, int], str]:
        try:
            rows = await list_dead_letters(self._bootstrap, limit=1_000_000)
        except Unavailable:
            return self.taken
        letters = Counter((row.letter.topic, row.letter.partition, row.letter.offset) for row in rows)
        self.wrong = [w for w in self.wrong if not w.startswith("two dead")]
        self.wrong += [f"two dead letters of {place}" for place, count in letters.items() if count > 1]
        return {place: kind for place, kind in self.taken.items() if place not in letters}

    async def _go_on(self) -> None:
        kinds: list[Callable[[], object]] = [
            self._compressed,
            self._odd,
            self._broken,
            self._on_the_wire,
            self._aborted,
        ]
        if self._files:
            kinds.append(self._damaged)
        for kind in kinds:  # each once, however short the run is
            await self._once(kind)
        while not self._stopping:
            await self._once(self._random.choice(kinds))

    async def _once(self, kind: Callable[[], object]) -> None:
        await asyncio.sleep(self._random.uniform(0, 2 * EVERY_SECONDS))
        with contextlib.suppress(KafkaError, OSError, TimeoutError):  # the broker is away: another time
            async with asyncio.timeout(10):
                await kind()  # type: ignore[misc]
            self.did[kind.__name__.strip("_").replace("_", " ")] += 1

    def _place(self) -> TopicPartition:
        topic = self._random.choice(READ)
        return TopicPartition(topic.value, self._random.randrange(PARTITIONS[TOPICS[topic].partition_set]))

    async def _junk(
        self, batch: bytes, what: str, *, may_be_refused: bool = False
    ) -> tuple[TopicPartition, int] | None:
        tp = self._place()
        error, offset = await write(self._bootstrap, tp, batch)
        if error == "NoError":
            self.taken[tp.topic, tp.partition, offset] = what
            return tp, offset
        if not may_be_refused and "Record" in error:
            self.wrong.append(f"{what} was refused: {error}")
        return None

    async def _compressed(self) -> None:
        self._numbers += 1
        tenant, run = self._random.choice(self._tenants), new_id("m")
        key = f"{tenant}:odd-{self._numbers}".encode()
        count = PARTITIONS[TOPICS[Topic.CHAT_MESSAGES].partition_set]
        tp = TopicPartition(Topic.CHAT_MESSAGES.value, (murmur2(key) & 0x7FFFFFFF) % count)
        headers = Envelope(run, UserMessage.TYPE, "tests/chaos", tenant, datetime.now(UTC)).headers()
        record = (key, UserMessage(user_id="u", text=run).to_bytes(), list(headers))
        batch = batch_of(record, compression=self._random.choice(list(CODECS)))
        if (await write(self._bootstrap, tp, batch))[0] == "NoError":
            self._book.accepted.setdefault(run, time.monotonic())
            self._book.places[run] = f"compressed, in partition {tp.partition}"

    async def _odd(self) -> None:
        headers = list(Envelope(new_id("m"), UserMessage.TYPE, "tests/chaos", "nobody", datetime.now(UTC)).headers())
        named = batch_of((b"home:odd", b"{}", [("odd-name", b"\xff"), ("empty", None)]))
        await self._junk(
            self._random.choice(
                (
                    batch_of((None, None, ())),
                    batch_of((b"\xff:\xff", b"\xff", [("ce_id", b"\xff")])),
                    batch_of((b"nobody:t", b"[" * 2000, headers)),
                    with_body(named, named[HEADER.size :].replace(b"odd-name", b"odd-n\xe4me")),
                )
            ),
            "an odd record",
        )

    async def _broken(self) -> None:
        whole = batch_of((b"k", b"x", ()))
        lie = whole[HEADER.size :].replace(b"\x00\x00\x00\x02k", b"\x00\x00\x7e\x02k")
        bodies = [(b"broken", code) for code in CODECS.values()] + [(b"\xff\xff\xff", 0), (lie, 0), (b"x", 7)]
        # Apache Kafka reads what it takes; the embedded broker looks at the check sum.
        await self._junk(with_body(whole, *self._random.choice(bodies)), "a broken record", may_be_refused=True)

    async def _on_the_wire(self) -> None:
        batch = bytearray(batch_of((b"k", b"x" * 50, ())))
        batch[-self._random.randrange(1, 40)] ^= 0xFF
        error, offset = await write(self._bootstrap, self._place(), bytes(batch))
        if error == "NoError":
            self.wrong.append(f"the broker took a batch with a wrong check sum, at {offset}")

    async def _aborted(self) -> None:
        producer = new_producer(bootstrap_servers=self._bootstrap, transactional_id=new_id("odd"))
        try:
            await producer.start()
            await producer.begin_transaction()
            tp = self._place()
            for _ in range(self._random.randrange(1, 5)):
                await producer.send_and_wait(tp.topic, b"aborted", partition=tp.partition)
            await producer.abort_transaction()
        finally:
            await close_producer(producer, 2)

    async def _damaged(self) -> None:
        assert self._files
        if place := await self._junk(batch_of((b"k", b"odd " * 20, ())), "a damaged record"):
            with contextlib.suppress(AssertionError):  # a restart in between may have cut it off as torn
                damage(self._files, *place)
