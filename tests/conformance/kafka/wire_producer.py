"""A producer that does only what a test tells it to: ids, epochs, sequences and the steps of a transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest_v0,
    AddPartitionsToTxnRequest_v0,
    EndTxnRequest_v0,
    InitProducerIdRequest_v0,
    TxnOffsetCommitRequest_v0,
)
from kafka_wire import Wire, batch, error_name
from wire_group import TRANSACTION, ask_when_ready, find_coordinator, first_partition

_CONCURRENT_TRANSACTIONS = frozenset({51})
"""The last transaction is still being ended; clients ask again."""


@dataclass
class WireProducer:
    """A producer id with its epoch, as InitProducerId gave it."""

    wire: Wire
    transactional_id: str | None
    id: int
    epoch: int

    @classmethod
    async def init(cls, wire: Wire, transactional_id: str | None = None, *, timeout_ms: int = 60_000) -> WireProducer:
        """InitProducerId: fences every older producer of a transactional id and aborts what it left open."""
        if transactional_id:
            await find_coordinator(wire, transactional_id, TRANSACTION)
        request = InitProducerIdRequest_v0(transactional_id, timeout_ms)
        answer = await ask_when_ready(wire, request, _CONCURRENT_TRANSACTIONS)
        assert answer.error_code == 0, error_name(answer.error_code)
        return cls(wire, transactional_id, answer.producer_id, answer.producer_epoch)

    def batch(self, *values: bytes, sequence: int, epoch: int | None = None) -> bytes:
        """A batch of this producer, transactional if it has a transactional id."""
        owner = (self.id, self.epoch if epoch is None else epoch)
        return batch(*values, producer=owner, sequence=sequence, transactional=self.transactional_id is not None)

    async def produce(
        self, topic: str, *values: bytes, sequence: int, partition: int = 0, epoch: int | None = None
    ) -> tuple[str, int]:
        """Produces one batch; the error's name and the base offset."""
        data = self.batch(*values, sequence=sequence, epoch=epoch)
        return await self.wire.produce(topic, data, partition=partition, transactional_id=self.transactional_id)

    async def add_partition(self, topic: str, partition: int = 0) -> str:
        """AddPartitionsToTxn; the error's name. Asks again while the last transaction is being ended."""
        request = AddPartitionsToTxnRequest_v0(self.transactional_id, self.id, self.epoch, [(topic, [partition])])
        return await self._ask_for_partition(request)

    async def add_group(self, group: str) -> str:
        """AddOffsetsToTxn; the error's name."""
        await find_coordinator(self.wire, group)
        request = AddOffsetsToTxnRequest_v0(self.transactional_id, self.id, self.epoch, group)
        return error_name((await ask_when_ready(self.wire, request, _CONCURRENT_TRANSACTIONS)).error_code)

    async def commit_offset(self, group: str, topic: str, offset: int) -> str:
        """TxnOffsetCommit for partition 0; the error's name."""
        rows = [(topic, [(0, offset, "")])]
        request = TxnOffsetCommitRequest_v0(self.transactional_id, group, self.id, self.epoch, rows)
        return await self._ask_for_partition(request)

    async def _ask_for_partition(self, request: Any) -> str:
        answer = await ask_when_ready(
            self.wire, request, _CONCURRENT_TRANSACTIONS, lambda answer: first_partition(answer.errors)
        )
        return error_name(first_partition(answer.errors))

    async def end(self, *, commit: bool) -> str:
        """EndTxn; the error's name."""
        request = EndTxnRequest_v0(self.transactional_id, self.id, self.epoch, commit)
        return error_name((await ask_when_ready(self.wire, request, _CONCURRENT_TRANSACTIONS)).error_code)
