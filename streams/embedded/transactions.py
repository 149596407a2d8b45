"""Transactions and producer ids.

A transactional id has one producer; a new one fences the old by a higher epoch. The end of a transaction is journaled
before its markers are written, so that a broker that dies in between writes the rest of them when it starts again. A
transaction that was open when the broker died is aborted then, and its producer fenced: it begins a new one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from streams.batches import control_batch
from streams.embedded.broker_log import TransactionMeta, transaction_entry
from streams.embedded.storage import Storage
from streams.embedded.wire import Error

MAX_METADATA = 4096
"""Apache Kafka's `offset.metadata.max.bytes`."""
PRODUCER_ID_BLOCK = 1000
"""Ids journaled ahead, so that not each new producer costs a write."""


@dataclass
class Transaction:
    """What an open transaction has touched so far."""

    partitions: set[tuple[str, int]] = field(default_factory=set)
    offsets: dict[tuple[str, str, int], tuple[int, str]] = field(default_factory=dict)
    """By group, topic and partition: offset and metadata, invisible until the commit."""
    deadline: asyncio.TimerHandle | None = None


class Transactions:
    """All transactional ids, and the producer ids that were given."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._open: dict[str, Transaction] = {}
        self._timeouts: dict[str, float] = {}
        self._epochs: dict[int, int] = {}
        self._ids: dict[int, str] = {}
        self._next_id = self._journaled_ids = storage.journal.state.next_producer_id
        self._recover()

    def _recover(self) -> None:
        for transactional_id, meta in list(self._metas.items()):
            self._ids[meta.producer_id], self._epochs[meta.producer_id] = transactional_id, meta.epoch
            if meta.ending:
                self._carry_out(transactional_id, meta)
            touched = {
                (name, number)
                for name, logs in self._storage.logs.items()
                for number, log in enumerate(logs)
                if meta.producer_id in log.open
            }
            if touched:
                self._open[transactional_id] = Transaction(touched)
                self._end(transactional_id, commit=False, fence=True)

    @property
    def _metas(self) -> dict[str, TransactionMeta]:
        return self._storage.journal.state.transactions

    def init_producer(self, transactional_id: str | None, timeout_ms: int) -> tuple[Error, int, int]:
        """InitProducerId: error, producer id and epoch."""
        if not transactional_id:
            return Error.NONE, self._new_id(), 0
        meta = self._metas.get(transactional_id)
        if meta is None:
            meta = TransactionMeta(self._new_id(), 0)
            self._remember(transactional_id, meta)
        elif transactional_id in self._open:
            self._end(transactional_id, commit=False, fence=True)
        else:
            self._remember(transactional_id, TransactionMeta(meta.producer_id, meta.epoch + 1))
        meta = self._metas[transactional_id]
        self._timeouts[transactional_id] = timeout_ms / 1000
        return Error.NONE, meta.producer_id, meta.epoch

    def is_fenced(self, producer_id: int, epoch: int) -> bool:
        """Whether a newer producer has replaced this one."""
        return epoch < self._epochs.get(producer_id, epoch)

    def may_write(self, producer_id: int, topic: str, partition: int) -> bool:
        """Whether the producer has added this partition to an open transaction."""
        transaction = self._open.get(self._ids.get(producer_id, ""))
        return transaction is not None and (topic, partition) in transaction.partitions

    def check(self, request: Any) -> Error:
        """Whether the sender of a transactional request is the id's producer."""
        meta = self._metas.get(request.transactional_id)
        if meta is None or meta.producer_id != request.producer_id:
            return Error.INVALID_PRODUCER_ID
        return Error.NONE if request.producer_epoch == meta.epoch else Error.PRODUCER_FENCED

    def add_partitions(self, request: Any) -> dict[str, Any]:
        """AddPartitionsToTxn: begins the transaction when none is open."""
        error = self.check(request)
        answers = []
        for topic, numbers in request.topics:
            row = []
            for number in numbers:
                known = self._storage.log(topic, number) is not None
                row.append((number, error or (Error.NONE if known else Error.UNKNOWN_TOPIC)))
                if error is Error.NONE and known:
                    self._begin(request.transactional_id).partitions.add((topic, number))
            answers.append((topic, row))
        return {"throttle_time_ms": 0, "errors": answers}

    def add_offsets(self, request: Any) -> dict[str, Any]:
        """AddOffsetsToTxn."""
        error = self.check(request)
        if error is Error.NONE:
            self._begin(request.transactional_id)
        return {"throttle_time_ms": 0, "error_code": error}

    def commit_offsets(self, request: Any) -> dict[str, Any]:
        """TxnOffsetCommit: offsets that count once the transaction commits."""
        error = self.check(request)
        answers = []
        for topic, rows in request.topics:
            row = []
            for number, offset, metadata in rows:
                too_long = len(metadata or "") > MAX_METADATA
                wrong = error or (Error.OFFSET_METADATA_TOO_LARGE if too_long else Error.NONE)
                row.append((number, wrong))
                if wrong is Error.NONE:
                    pending = self._begin(request.transactional_id).offsets
                    pending[request.group_id, topic, number] = (offset, metadata or "")
            answers.append((topic, row))
        return {"throttle_time_ms": 0, "errors": answers}

    def end(self, request: Any) -> dict[str, Any]:
        """EndTxn. Asked for again, after an answer was lost, the same end is no error; another one is."""
        error, commit = self.check(request), bool(request.transaction_result)
        if error is Error.NONE and request.transactional_id in self._open:
            self._end(request.transactional_id, commit=commit)
        elif error is Error.NONE and self._metas[request.transactional_id].last_commit is not commit:
            error = Error.INVALID_TXN_STATE
        return {"throttle_time_ms": 0, "error_code": error}

    def _begin(self, transactional_id: str) -> Transaction:
        transaction = self._open.get(transactional_id)
        if transaction is None:
            transaction = self._open[transactional_id] = Transaction()
            loop = asyncio.get_running_loop()
            seconds = self._timeouts.get(transactional_id, 60.0)
            transaction.deadline = loop.call_later(seconds, self._time_out, transactional_id, transaction)
        return transaction

    def _time_out(self, transactional_id: str, transaction: Transaction) -> None:
        if self._open.get(transactional_id) is transaction:
            self._end(transactional_id, commit=False, fence=True)

    def _end(self, transactional_id: str, *, commit: bool, fence: bool = False) -> None:
        transaction = self._open.pop(transactional_id, None)
        meta = self._metas[transactional_id]
        epoch = meta.epoch + 1 if fence else meta.epoch
        if transaction is None:
            return
        if transaction.deadline:
            transaction.deadline.cancel()
        ending = {
            "commit": commit,
            "epoch": meta.epoch,
            "partitions": sorted(transaction.partitions),
            "offsets": [[*key, *value] for key, value in transaction.offsets.items()] if commit else [],
        }
        decided = TransactionMeta(meta.producer_id, epoch, ending)
        self._remember(transactional_id, decided)
        self._carry_out(transactional_id, decided)

    def _carry_out(self, transactional_id: str, meta: TransactionMeta) -> None:
        """Writes the markers that are missing and makes the offsets count; safe to do twice."""
        ending = meta.ending
        assert ending
        marker = control_batch(meta.producer_id, ending["epoch"], commit=ending["commit"])
        for topic, number in ending["partitions"]:
            log = self._storage.log(topic, number)
            if log is not None and meta.producer_id in log.open:
                log.append(marker)
        by_group: dict[str, list[Any]] = {}
        for group, *rest in ending["offsets"]:
            by_group.setdefault(group, []).append(rest)
        entries: list[dict[str, Any]] = [{"k": "offsets", "g": group, "o": rows} for group, rows in by_group.items()]
        same_epoch = meta.epoch == ending["epoch"]
        over = TransactionMeta(meta.producer_id, meta.epoch, last_commit=ending["commit"] if same_epoch else None)
        self._storage.journal.write(*entries, transaction_entry(transactional_id, over))

    def _remember(self, transactional_id: str, meta: TransactionMeta) -> None:
        self._storage.journal.write(transaction_entry(transactional_id, meta))
        self._ids[meta.producer_id], self._epochs[meta.producer_id] = transactional_id, meta.epoch

    def _new_id(self) -> int:
        if self._next_id >= self._journaled_ids:
            self._journaled_ids = self._next_id + PRODUCER_ID_BLOCK
            self._storage.journal.write({"k": "pids", "n": self._journaled_ids})
        self._next_id += 1
        return self._next_id - 1
