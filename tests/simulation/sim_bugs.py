"""Deliberate bugs: each takes one guard out of the product, and some seed must notice. A simulation that notices nothing
proves nothing.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import sim_bugs_of_intake
from sim_bug import BUGS, bug

import processors.audit.processor
import processors.tools.processor
import processors.turns.processor
import state.cassandra.journal
import streams.group_runtime
import streams.kafka_clients
import streams.slot
import threads.transitions
from processors.audit.processor import AuditProcessor
from processors.tools.decisions import Step
from processors.turns.hydration import Threads
from processors.turns.processor import TurnsProcessor
from schemas import OutcomeUnknown, decode_outputs
from state import AuditRow, Committed
from state.cassandra.journal import CassandraJournal
from state.cassandra.ledger import CassandraLedger
from streams.contract import Publication
from streams.group_runtime import GroupRuntime
from streams.intake import Intake
from streams.kafka_clients import KafkaClients
from streams.lanes import Lanes
from streams.offsets import OffsetTracker
from streams.runtime_options import RuntimeOptions
from streams.slot import Slot
from streams.unreadable import UnreadablePartitions

__all__ = ["BUGS", "sim_bugs_of_intake", "with_bug"]  # the module adds its own


@contextmanager
def with_bug(name: str | None) -> Iterator[None]:
    """The product with this bug; as it is for None."""
    with ExitStack() as stack:
        for change in BUGS[name]() if name else ():
            stack.enter_context(change)
        yield


@bug
def published_before_the_journal() -> list[Any]:
    """A turn counts as committed while its batch is still in flight."""
    real = CassandraJournal.commit

    async def commit(self: Any, tenant: str, thread: str, commit: Any) -> Any:
        asyncio.ensure_future(real(self, tenant, thread, commit)).add_done_callback(
            lambda t: t.cancelled() or t.exception()
        )
        return Committed(commit.expected_version + 1)

    return [patch.object(CassandraJournal, "commit", commit)]


@bug
def published_outside_the_transaction() -> list[Any]:
    """Events are sent by the idempotent producer, offsets afterwards."""
    return [patch.object(streams.group_runtime, "split_by_delivery", lambda outputs: (list(outputs), ()))]


@bug
def acknowledgements_not_looked_at() -> list[Any]:
    """A transaction commits its offsets although the broker rejected one of its records (this bug was ours)."""
    real = streams.slot.enqueue

    async def enqueue(producer: Any, output: Any) -> asyncio.Future[object]:
        await real(producer, output)
        taken: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        taken.set_result(None)
        return taken

    return [patch.object(streams.slot, "enqueue", enqueue)]


async def _all_of(acks: Any) -> Any:
    return await asyncio.gather(*acks, return_exceptions=True)


@bug
def acknowledgements_waited_for_without_end() -> list[Any]:
    """Outputs wait for acknowledgements without a limit (this bug was ours)."""
    return [patch.object(streams.kafka_clients, "acknowledged", _all_of)]


@bug
def transactions_waited_for_without_end() -> list[Any]:
    """A slot's transactions wait for acknowledgements without a limit (this bug was ours)."""
    endless = property(lambda _: 1e9)
    return [
        patch.object(streams.slot, "acknowledged", _all_of),
        patch.object(RuntimeOptions, "transaction_seconds", endless),
    ]


@bug
def completed_set_ignored() -> list[Any]:
    """A new owner reads only the committed offset."""
    return [patch.object(streams.slot, "decode_completed", lambda *_: frozenset())]


@bug
def watermark_passes_undelivered_records() -> list[Any]:
    """The watermark moves to the highest completed record when nothing is open (this bug was ours)."""

    def advance(self: Any) -> None:
        self._position = max(self._position, min(self._open, default=self._next))
        self._done = {o for o in self._done if o >= self._position}

    return [patch.object(OffsetTracker, "_advance", advance)]


@bug
def watermark_passes_open_records() -> list[Any]:
    """The offset of the newest finished record is committed."""

    def snapshot(self: Any) -> tuple[int, str]:
        return max(self._done, default=self._position - 1) + 1, ""

    return [patch.object(OffsetTracker, "snapshot", snapshot)]


@bug
def no_fence() -> list[Any]:
    """Each owner has its own transactional id."""
    real, numbers = KafkaClients.transactional_producer, itertools.count()

    async def producer(self: Any, transactional_id: str) -> Any:
        return await real(self, f"{transactional_id}-{next(numbers)}")

    return [patch.object(KafkaClients, "transactional_producer", producer)]


@bug
def loading_coordinator_means_nothing_committed() -> list[Any]:
    """A response without the partitions is taken for "nothing is committed" (this bug was ours)."""

    async def committed(self: Any, group: str, partitions: Any) -> Any:
        return await self._admin.list_consumer_group_offsets(group, partitions=list(partitions))

    return [patch.object(KafkaClients, "committed", committed)]


@bug
def second_record_publishes_too() -> list[Any]:
    """Every record of an input publishes its stored outputs (this bug was ours)."""
    return [patch.object(processors.turns.processor, "outputs_for", lambda record, stored: decode_outputs(stored)[0])]


@bug
def nothing_left_by_the_owner_before() -> list[Any]:
    """A new owner resumes a thread before publishing what was left unpublished (this bug was ours)."""

    async def nothing(*_: Any) -> list[Any]:
        return []

    return [patch.object(TurnsProcessor, "_unpublished_before", nothing)]


@bug
def thawed_worker_publishes_again() -> list[Any]:
    """A worker that regains its slot publishes what another owner published in the meantime (this bug was ours)."""

    def finish(self: Any, finished: Any) -> None:
        if not self.closed:
            self._ready.append(finished)
            self._pending.add((finished.partition, finished.offset))
            self._unpublished[finished.key] += 1
            self._wake.set()

    return [patch.object(Slot, "finish", finish)]


@bug
def threads_without_lanes() -> list[Any]:
    """Records of one thread are processed concurrently."""
    real, numbers = Lanes.put, itertools.count()

    def put(self: Any, key: Any, tenant: str, item: Any) -> None:
        real(self, (key, next(numbers)), tenant, item)

    return [patch.object(Lanes, "put", put)]


@bug
def lost_race_taken_for_a_win() -> list[Any]:
    """The journal's condition is ignored."""
    real = state.cassandra.journal._Turn.write

    async def write(self: Any) -> Any:
        await real(self)
        return Committed(self._commit.expected_version + 1)

    return [patch.object(state.cassandra.journal._Turn, "write", write)]


@bug
def lost_answer_taken_for_done() -> list[Any]:
    """A batch whose response was lost is assumed to be applied."""

    async def decided(write: Any, look: Any, **_: Any) -> Any:
        try:
            return await write()
        except OutcomeUnknown:
            return Committed(10_000)

    return [patch.object(state.cassandra.journal, "decided", decided)]


@bug
def stale_thread_kept() -> list[Any]:
    """A thread that another worker has changed is not read again."""
    return [patch.object(Threads, "forget", lambda *_: None)]


@bug
def unknown_outcome_tried_again() -> list[Any]:
    """A call that a previous owner may have sent is sent again."""
    real = processors.tools.processor.next_step

    def step(entry: Any, *, repeatable: bool) -> Step:
        found = real(entry, repeatable=repeatable)
        return Step.REPEAT if found is Step.CHECK else found

    return [patch.object(processors.tools.processor, "next_step", step)]


@bug
def claim_without_condition() -> list[Any]:
    """A worker that failed to claim a call makes it anyway."""

    async def claim(self: Any, tenant: str, entry: Any) -> None:
        await real(self, tenant, entry)

    real = CassandraLedger.claim
    return [patch.object(CassandraLedger, "claim", claim)]


@bug
def rollback_stays_where_its_run_went_back() -> list[Any]:
    """A rollback reverts what the run wrote, but not its fork of the conversation."""

    real = threads.transitions.remove

    def remove(draft: Any, message_ids: Any, after: Any) -> None:
        forks = draft.head.forks
        real(draft, message_ids, after)
        draft.head = draft.head.model_copy(update={"forks": forks})

    return [patch.object(threads.transitions, "remove", remove)]


@bug
def slot_resumed_unseen() -> list[Any]:
    """A worker that regains its slot does not check what was committed in the meantime."""

    async def resume(self: Any) -> None:
        pass

    return [patch.object(Slot, "resume", resume)]


@bug
def results_forgotten_with_their_worker() -> list[Any]:
    """Tool results are sent only with the offsets of the request, and requests count as done before."""
    real = GroupRuntime._run

    async def run(self: Any, delivery: Any) -> None:
        if self.group == "tools":
            delivery.slot.finish(streams.slot.Finished(delivery.tp, delivery.raw.offset, ()))
        await real(self, delivery)

    def publication(self: Any, *_: Any) -> Publication:
        return Publication.MISSING

    return [patch.object(GroupRuntime, "_run", run), patch.object(Slot, "publication", publication)]


@bug
def records_of_a_failed_poll_are_passed_over() -> list[Any]:
    """Reading resumes at the consumer's position even after a poll that raised (this bug was ours)."""
    real = Intake._look_closer

    async def look_closer(self: Any) -> None:
        for tp in self._unreadable.due(float("inf")):
            if slot := self._slot_of(tp):
                slot.trackers[tp].read_to(await self._consumer().position(tp))
        await real(self)

    return [patch.object(Intake, "_look_closer", look_closer), patch.object(Intake, "_rewind", lambda *_: None)]


@bug
def unreadable_records_are_passed_over() -> list[Any]:
    """Unreadable data is skipped without a dead letter."""

    def give_up(_: Any, slot: Any, tp: Any, unreadable: Any) -> None:
        slot.trackers[tp].read_to(unreadable.end)

    return [patch.object(Intake, "_give_up", give_up)]


@bug
def unreadable_records_end_their_batch_of_partitions() -> list[Any]:
    """A partition with an unreadable record continues to be polled with the others (this bug was ours)."""

    async def nothing(_: Any) -> None:
        return

    return [patch.object(UnreadablePartitions, "hold", lambda *_: None), patch.object(Intake, "_look_closer", nothing)]


@bug
def one_look_is_enough() -> list[Any]:
    """Data that cannot be read is given up after one attempt."""
    real = UnreadablePartitions.saw

    def saw(self: Any, *look: Any) -> Any:
        self._looks = 1
        return real(self, *look)

    return [patch.object(UnreadablePartitions, "saw", saw)]


@bug
def a_missing_library_is_the_records_fault() -> list[Any]:
    """Data that another installation could read is given up as well."""
    real = UnreadablePartitions.saw

    def saw(self: Any, tp: Any, stretch: Any, now: float) -> Any:
        if stretch.unreadable:
            stretch.unreadable = replace(stretch.unreadable, curable=False)
        return real(self, tp, stretch, now)

    return [patch.object(UnreadablePartitions, "saw", saw)]


@bug
def audit_events_count_as_done_before_they_are_stored() -> list[Any]:
    """An audit event counts as done while its row is still in flight."""
    real = AuditProcessor.process

    async def process(self: Any, record: Any) -> Any:
        storing = asyncio.ensure_future(real(self, record))
        storing.add_done_callback(lambda task: task.cancelled() or task.exception())
        return ()

    return [patch.object(AuditProcessor, "process", process)]


@bug
def audit_rows_have_another_place_each_time() -> list[Any]:
    """An audit row's key is not derived from its event's position in the topic, so a replay stores a second row."""
    place = itertools.count()

    def row(event_id: str, position: int, event: Any) -> AuditRow:
        return AuditRow(event_id, next(place), event)

    return [patch.object(processors.audit.processor, "AuditRow", row)]
