"""The Kafka clients of a worker: one admin client, one idempotent producer, one transactional producer per slot.

The one module that owns what we use of aiokafka's private parts: `BACKOFF_OVERRIDE` (a
producer that meets the markers of its last transaction sleeps 20 ms by default; 2 ms doubles the rate), and the sender of a
producer that cannot be stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiokafka.producer.sender
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerClosed,
)
from aiokafka.structs import OffsetAndMetadata

from schemas import BadRecord, Output
from schemas.common.recent import Backoff
from streams.kafka_servers import Kafka, new_admin, new_consumer, new_producer
from streams.raw_reading import Stretch, look
from streams.runtime_options import RuntimeOptions

aiokafka.producer.sender.BACKOFF_OVERRIDE = 0.002

log = logging.getLogger("cauce.streams")

REQUEST_TIMEOUT_MS = 6_000
"""A request without an answer is sent again on a new connection then: the connection may be half open. Kafka knows what
it has seen before by producer and sequence."""

PATIENCE_SECONDS = 5 * REQUEST_TIMEOUT_MS / 1000
"""For how long a producer may try to start, and to have a record acknowledged; then another one replaces it."""

CommittedOffsets = Mapping[TopicPartition, OffsetAndMetadata]


def quieten_aiokafka() -> None:
    """Keeps aiokafka's own log to what an operator can act on.

    Its sender warns of every retry: on the first produce of a transaction while Kafka finishes the last one,
    and hundreds of times a second while a broker is away.
    """
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    for name in ("aiokafka.producer.sender", "aiokafka.conn", "aiokafka", "aiokafka.consumer.group_coordinator"):
        logging.getLogger(name).addFilter(_OncePerSecond())


def ignore_broken_producers(loop: asyncio.AbstractEventLoop) -> None:
    """Keeps asyncio from reporting the errors that a broken producer leaves in futures of its own, which nobody can await."""
    previous = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), KafkaError) and "never retrieved" in context.get("message", ""):
            log.debug("a producer broke: %r", context["exception"])
        elif previous:
            previous(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)


class _OncePerSecond(logging.Filter):
    """Lets one record of a logger pass per second."""

    def __init__(self) -> None:
        super().__init__()
        self._last = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        if record.created - self._last < 1:
            return False
        self._last = record.created
        return True


class KafkaClients:
    """Makes and keeps the clients of one worker process. Start it before use, stop it at the end.

    `producer` and `admin` make aiokafka's clients, or what stands for them in a simulation, as `look` does for
    `raw_reading.look`.
    """

    def __init__(
        self,
        bootstrap: Kafka,
        options: RuntimeOptions,
        *,
        client_id: str = "cauce",
        producer: Callable[..., AIOKafkaProducer] = new_producer,
        admin: Callable[..., AIOKafkaAdminClient] = new_admin,
        look: Callable[[Kafka, Mapping[TopicPartition, int]], Awaitable[dict[TopicPartition, Stretch]]] = look,
    ) -> None:
        self.bootstrap, self.options, self._client_id = bootstrap, options, client_id
        self._producer, self._admin_client, self._look = producer, admin, look
        self._admin: AIOKafkaAdminClient | None = None
        self._sender: AIOKafkaProducer | None = None
        self._sender_lock = asyncio.Lock()
        self.transactions = asyncio.Semaphore(options.transactions_at_once)

    async def start(self) -> None:
        """Connects; raises `KafkaError` when no broker answers."""
        self._admin = self._admin_client(
            bootstrap_servers=self.bootstrap, client_id=self._client_id, request_timeout_ms=REQUEST_TIMEOUT_MS
        )
        await self._admin.start()
        await self._idempotent()

    async def stop(self) -> None:
        """Closes everything; outputs that were not acknowledged are not waited for."""
        if self._sender:
            await close_producer(self._sender)
        if self._admin:
            with contextlib.suppress(Exception):
                await self._admin.close()

    async def transactional_producer(self, transactional_id: str) -> AIOKafkaProducer:
        """A started producer that has fenced every older one of this id and settled what they left open."""
        producer = self._producer(
            bootstrap_servers=self.bootstrap,
            client_id=self._client_id,
            transactional_id=transactional_id,
            acks="all",
            linger_ms=0,
            retry_backoff_ms=10,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            metadata_max_age_ms=self.options.metadata_max_age_ms,
            transaction_timeout_ms=self.options.transaction_timeout_ms,
        )
        await start_producer(producer)
        return producer

    async def committed(self, group: str, partitions: Sequence[TopicPartition]) -> CommittedOffsets:
        """The group's committed offsets with their metadata; offset -1 where there is none.

        A transaction whose markers are still being written does not count yet. `transactional_producer` waits for the
        markers of its id, so an owner that has called it first sees all that was committed for its slot.

        Raises `KafkaError` when the group's coordinator is not ready. It answers without the partitions then, with an
        error that aiokafka's admin client does not look at; taken for "nothing is committed", a slot would begin at 0.
        """
        assert self._admin, "start the clients first"
        offsets: CommittedOffsets = await self._admin.list_consumer_group_offsets(group, partitions=list(partitions))
        if not all(tp in offsets for tp in partitions):
            raise CoordinatorLoadInProgressError(f"what {group} has committed is not known yet")
        return offsets

    async def look(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, Stretch]:
        """What lies at these offsets, read past the consumer. Raises `KafkaError`."""
        try:
            return await self._look(self.bootstrap, positions)
        except OSError as error:
            raise KafkaError(f"{type(error).__name__}: {error}") from error

    async def send(self, outputs: Iterable[Output]) -> None:
        """Publishes outputs whose readers drop repeats; returns when all are acknowledged.

        Tries again for as long as it takes, with a new producer where the old one broke. Raises `BadRecord` for an
        output that Kafka will never take.
        """
        left = list(outputs)
        backoff, producer = Backoff(self.options.backoff, self.options.max_backoff), None
        while left:
            try:
                producer = await self._idempotent()
                results = await acknowledged([await enqueue(producer, o) for o in left])
                errors = [r for r in results if isinstance(r, BaseException)]
                left = [o for o, r in zip(left, results, strict=True) if isinstance(r, BaseException)]
                if not errors:
                    return
                raise errors[0]
            except MessageSizeTooLargeError as error:
                raise BadRecord(f"an output is too large for Kafka: {error}") from error
            except KafkaError as error:
                seconds = backoff.next()
                log.warning("publishing failed (%s), trying again in %.1f s", error or type(error).__name__, seconds)
                await self._discard_sender(producer)
                await asyncio.sleep(seconds)

    async def _idempotent(self) -> AIOKafkaProducer:
        async with self._sender_lock:
            if self._sender is None:
                producer = self._producer(
                    bootstrap_servers=self.bootstrap,
                    client_id=self._client_id,
                    enable_idempotence=True,
                    linger_ms=2,
                    retry_backoff_ms=20,
                    request_timeout_ms=REQUEST_TIMEOUT_MS,
                    metadata_max_age_ms=self.options.metadata_max_age_ms,
                )
                await start_producer(producer)
                self._sender = producer
            return self._sender

    async def _discard_sender(self, broken: AIOKafkaProducer | None) -> None:
        """Discards a broken producer, unless another task has already replaced it with a working one."""
        async with self._sender_lock:
            if broken is None or self._sender is not broken:
                return
            self._sender = None
        await close_producer(broken)


async def enqueue(producer: AIOKafkaProducer, output: Output) -> asyncio.Future[object]:
    """Puts an output into the producer's buffer, waiting while that is full; the future is its acknowledgement.

    Raises `KafkaError`, also when the producer is closed meanwhile, and after `PATIENCE_SECONDS` at the latest.
    """
    if getattr(producer, "_closed", False):
        raise ProducerClosed
    if _knows_partitions(producer, output.topic.value):
        # aiokafka limits this wait itself, and a timer for each record costs more than the record.
        return await _send(producer, output)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await _send(producer, output)
    except TimeoutError as error:
        raise KafkaTimeoutError("the producer did not take the record in time") from error


def _knows_partitions(producer: AIOKafkaProducer, topic: str) -> bool:
    """Whether a record can be put into the buffer without asking the servers for metadata first."""
    client = getattr(producer, "client", None)
    return client is not None and client.cluster.partitions_for_topic(topic) is not None


async def _send(producer: AIOKafkaProducer, output: Output) -> asyncio.Future[object]:
    ack: asyncio.Future[object] = await producer.send(
        output.topic.value, output.value, key=output.key.encode() or None, headers=list(output.headers)
    )
    return ack


@asynccontextmanager
async def opened_consumer(bootstrap: Kafka, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """A started consumer that commits nothing by itself, closed at the end. Raises `KafkaError`."""
    consumer = new_consumer(bootstrap_servers=bootstrap, enable_auto_commit=False, **options)
    try:
        await consumer.start()
        yield consumer
    finally:
        await close_consumer(consumer)


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stops a consumer. aiokafka 0.14 raises CancelledError out of `stop` when a consumer without a group is stopped
    right after `assign`: its own task was cancelled before it began."""
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task and task.cancelling():
            raise


async def start_producer(producer: AIOKafkaProducer) -> None:
    """Starts it, or closes it and raises `KafkaError`, after `PATIENCE_SECONDS` at the latest."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await producer.start()
    except TimeoutError as error:
        await close_producer(producer)
        raise KafkaTimeoutError("the producer could not start in time") from error
    except BaseException:
        await close_producer(producer)
        raise


async def close_producer(producer: AIOKafkaProducer, seconds: float = 5) -> None:
    """Stops a producer whatever state it is in: a fenced or cut-off one cannot stop cleanly.

    What it could not send in `seconds` fails, and is not sent later. A stop of aiokafka's that is given up leaves its sender
    running: that would send when the broker is back, or be collected as garbage, and its acknowledgements would never end.
    """
    try:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(producer.stop(), seconds)
    finally:
        _abandon(producer)
        _leave_metadata(producer)


def _leave_metadata(producer: AIOKafkaProducer) -> None:
    """Fails whoever waits for the metadata of a topic: a closed client requests none any more, and aiokafka leaves them waiting
    without an end. Several senders share a producer, and one of them closes it when it breaks."""
    if (client := getattr(producer, "client", None)) is None:
        return
    client.force_metadata_update = _refused  # who waits asks again and again
    waiting = client._md_update_fut
    if waiting is not None and not waiting.done():
        waiting.set_exception(ProducerClosed())
        waiting.exception()


def _refused() -> None:
    raise ProducerClosed


def _abandon(producer: AIOKafkaProducer) -> None:
    sender = getattr(producer, "_sender", None)
    if sender is None or sender.sender_task is None or sender.sender_task.done():
        return
    for batch in _batches(producer):
        for ack, _ in batch._msg_futures:
            if not ack.done():
                ack.set_exception(ProducerClosed())
    ending = asyncio.create_task(_end(producer))
    _ending.add(ending)  # or it would be collected
    ending.add_done_callback(_ending.discard)


_ending: set[asyncio.Task[None]] = set()


async def _end(producer: AIOKafkaProducer) -> None:
    sender = producer._sender.sender_task
    while not sender.done():
        sender.cancel()  # once more where it then waits for requests that do not end
        await asyncio.wait([sender], timeout=1)
    left = _batches(producer)
    producer._message_accumulator._pending_batches.update(left)  # where each looks for itself when it ends
    for batch in left:
        batch.failure(ProducerClosed())
        batch._drain_waiter.exception()
    with contextlib.suppress(Exception):
        await asyncio.wait_for(producer.client.close(), 5)


def _batches(producer: AIOKafkaProducer) -> list[Any]:
    """What it has been given and not sent."""
    waiting = producer._message_accumulator
    return [*itertools.chain.from_iterable(waiting._batches.values()), *waiting._pending_batches]


async def acknowledged(acks: Sequence[asyncio.Future[object]]) -> list[object]:
    """The result of each acknowledgement, or its exception. One that does not arrive within `PATIENCE_SECONDS` has failed.

    aiokafka leaves acknowledgements without an end where its sender dies.
    """
    pending: Iterable[asyncio.Future[object]] = ()
    if acks:
        _, pending = await asyncio.wait(acks, timeout=PATIENCE_SECONDS)
    leave(pending)
    return [_came_to(ack) for ack in acks]


def leave(acks: Iterable[asyncio.Future[object]]) -> None:
    """Nobody waits for these any more. A producer that breaks may end them later, and asking for their errors keeps asyncio from
    reporting them."""
    for ack in acks:
        ack.add_done_callback(lambda a: a.cancelled() or a.exception())


def _came_to(ack: asyncio.Future[object]) -> object:
    if not ack.done() or ack.cancelled():
        return KafkaError("the producer gave no answer")
    return ack.exception() or ack.result()
