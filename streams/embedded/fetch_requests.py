"""Produce, Fetch and ListOffsets."""

from __future__ import annotations

import asyncio
from typing import Any

from streams.batches import is_intact, read_header
from streams.embedded.partition_log import PartitionLog
from streams.embedded.storage import Storage
from streams.embedded.transactions import Transactions
from streams.embedded.wire import Error


class Records:
    """Reads and writes the partitions' logs."""

    def __init__(self, storage: Storage, transactions: Transactions) -> None:
        self._storage, self._transactions = storage, transactions

    def produce(self, request: Any) -> dict[str, Any] | None:
        """Produce: answers nothing when the client wants no acknowledgement."""
        topics = []
        for topic, partitions in request.topics:
            rows = []
            for number, data in partitions:
                log = self._storage.log(topic, number)
                error, offset = self._append(log, topic, number, bytes(data or b""))
                rows.append((number, error, offset, -1, log.start if log else -1))
            topics.append((topic, rows))
        if request.required_acks == 0:
            return None
        return {"topics": topics, "throttle_time_ms": 0}

    def _append(self, log: PartitionLog | None, topic: str, number: int, data: bytes) -> tuple[Error, int]:
        if log is None:
            return Error.UNKNOWN_TOPIC, -1
        if len(data) > self._storage.largest_batch(topic):
            return Error.MESSAGE_TOO_LARGE, -1
        batch = read_header(data)
        if batch and batch.records != batch.last_delta + 1 and is_intact(data):
            return (
                Error.INVALID_RECORD,
                -1,
            )  # each of its offsets has a record, or readers would wait for what is not there
        if batch is None or batch.is_control or not is_intact(data):
            return Error.CORRUPT_MESSAGE, -1
        if batch.producer_id >= 0:
            if self._transactions.is_fenced(batch.producer_id, batch.epoch):
                return Error.PRODUCER_FENCED, -1
            error, offset = log.check_producer(batch)
            if error is not Error.NONE or offset >= 0:
                return error, offset
            if batch.is_transactional and not self._transactions.may_write(batch.producer_id, topic, number):
                return Error.INVALID_TXN_STATE, -1
        try:
            return Error.NONE, log.append(data)
        except OSError:
            return Error.STORAGE_ERROR, -1

    async def fetch(self, request: Any, version: int) -> dict[str, Any]:
        """Fetch: waits until there is enough, something is wrong, or the client's patience ends."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + request.max_wait_time / 1000
        while True:
            topics, size, wrong, logs = self._read(request, version)
            left = deadline - loop.time()
            if wrong or size >= max(request.min_bytes, 1) or left <= 0:
                return {"throttle_time_ms": 0, "error_code": 0, "session_id": 0, "topics": topics}
            changed: asyncio.Future[None] = loop.create_future()
            for log in logs:
                log.watch(changed)
            try:
                await asyncio.wait([changed], timeout=left)
            finally:
                for log in logs:
                    log.unwatch(changed)

    def _read(self, request: Any, version: int) -> tuple[list[Any], int, bool, list[PartitionLog]]:
        committed = bool(request.isolation_level)
        topics, total, wrong, logs = [], 0, False, list[PartitionLog]()
        for topic, partitions in request.topics:
            rows = []
            for row in partitions:
                number, offset, max_bytes = row[0], row[2] if version >= 9 else row[1], row[-1]
                log = self._storage.log(topic, number)
                data, error, aborted = b"", Error.NONE, None
                if log is None:
                    error = Error.UNKNOWN_TOPIC
                elif not log.start <= offset <= log.end:
                    error = Error.OFFSET_OUT_OF_RANGE
                else:
                    logs.append(log)
                    limit = log.last_stable if committed else log.end
                    room = min(max_bytes, request.max_bytes - total)
                    if room > 0 or not total:
                        data = log.read(offset, limit, room)
                    if total and len(data) > room:  # only the first batch of all is given whole, however large it is
                        data = b""
                    total += len(data)
                    aborted = log.aborted_from(offset) if committed else None
                wrong = wrong or error is not Error.NONE
                positions = (log.end, log.last_stable) if log else (-1, -1)
                start = (log.start if log else -1,) if version >= 5 else ()
                replica = (-1,) if version >= 11 else ()
                rows.append((number, error, *positions, *start, aborted, *replica, data))
            topics.append((topic, rows))
        return topics, total, wrong, logs

    def list_offsets(self, request: Any) -> dict[str, Any]:
        """ListOffsets: the end (-1), the beginning (-2), or the first record at or after a time."""
        topics = []
        for topic, partitions in request.topics:
            rows = []
            for number, timestamp in partitions:
                log = self._storage.log(topic, number)
                if log is None:
                    rows.append((number, Error.UNKNOWN_TOPIC, -1, -1))
                elif timestamp == -1:
                    committed = bool(getattr(request, "isolation_level", 0))
                    rows.append((number, Error.NONE, -1, log.last_stable if committed else log.end))
                elif timestamp == -2:
                    rows.append((number, Error.NONE, -1, log.start))
                else:
                    rows.append((number, Error.NONE, *(log.find_time(timestamp) or (-1, -1))))
            topics.append((topic, rows))
        return {"throttle_time_ms": 0, "topics": topics}
