"""What comes in during a model call: cancels, of whom they count, and rollbacks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from turns_kit import Behind, System, kinds, messages, record, say, system

from schemas import CancelRun, ChangeThread, ThreadTtl, UserMessage
from streams import Reject

__all__ = ["system"]


async def test_a_cancel_that_comes_in_stops_the_model_call_and_is_quiet_afterwards(system: System) -> None:
    await system.tenant("scripted:delay=30")
    processor = system.processor()
    running = asyncio.create_task(processor.process(say("think long")))  # type: ignore[arg-type]
    cancel = record(CancelRun(user_id="u"))
    while not running.done():
        processor.arrived(cancel.raw)
        await asyncio.sleep(0.01)
    assert kinds(await running)[-1] == "run.cancelled"
    assert kinds(await processor.process(cancel)) == []


async def test_a_cancel_that_came_before_the_model_call_began_stops_it_too(system: System) -> None:
    await system.tenant("scripted:delay=30")
    processor, message = system.processor(), say("think long")
    stranger, later = record(CancelRun(user_id="somebody-else")), say("and then?")
    cancel = record(CancelRun(user_id="u", run_id=message.envelope.id))
    processor.attach(Behind(stranger, later, cancel))
    async with asyncio.timeout(120):
        assert kinds(await processor.process(message))[-1] == "run.cancelled"
    processor.attach(Behind())
    assert kinds(await processor.process(cancel)) == []


async def test_a_strangers_cancel_does_not_stop_anything(system: System) -> None:
    await system.tenant("scripted:delay=0.3")
    processor = system.processor()
    running = asyncio.create_task(processor.process(say("hi")))  # type: ignore[arg-type]
    stranger = record(CancelRun(user_id="somebody-else"))
    while not running.done():
        processor.arrived(stranger.raw)
        await asyncio.sleep(0.01)
    assert kinds(await running)[-1] == "run.completed"
    with pytest.raises(Reject, match="does not belong"):
        await processor.process(stranger)


async def test_a_rollback_during_the_model_call_leaves_nothing_of_the_run(system: System) -> None:
    await system.tenant("scripted:")
    processor = system.processor()
    await processor.process(say("before"))
    await system.tenant("scripted:delay=30")
    running = asyncio.create_task(processor.process(say("never mind this")))  # type: ignore[arg-type]
    instead = say("rather this", multitask_strategy="rollback")
    while not running.done():
        processor.arrived(instead.raw)
        await asyncio.sleep(0.01)
    assert kinds(await running)[-1] == "run.cancelled"
    await system.tenant("scripted:")
    await processor.process(instead)
    said = await messages(system)
    assert [m for m in said if m.startswith("user")] == ["user: before", "user: rather this"]


async def test_of_a_run_that_begins_later_and_its_cancel_the_first_to_come_counts(system: System) -> None:
    await system.tenant("scripted:")
    processor = system.processor()
    await processor.process(say("before"))
    for first in ("cancel", "run"):
        run_id = f"r-{first}"
        start = record(UserMessage(user_id="u", text="later", run_id=run_id), id=run_id)
        body = CancelRun(user_id="u", run_id=run_id, delayed=True)
        instead, besides = record(body, id=run_id), record(body)
        order = [instead, start] if first == "cancel" else [start, instead]
        order[1] = replace(order[1], raw=replace(order[1].raw, offset=1))  # another record of the same input
        told = [kinds(await processor.process(one)) for one in order]
        assert told[0][-1] == ("run.cancelled" if first == "cancel" else "run.completed")
        assert told[1] == []
        assert kinds(await processor.process(besides)) == []
        (over,) = await system.stores.journal.runs("acme", "t1", run_id=run_id)
        assert over.outcome == ("cancelled" if first == "cancel" else "completed")
    assert [m for m in await messages(system) if m.startswith("user")] == ["user: before", "user: later"]


async def test_cancel_of_a_run_that_begins_later_ends_it_where_it_has_begun_or_waits(system: System) -> None:
    await system.tenant("scripted:delay=30")
    processor = system.processor()
    going, waiting = say("now", run_id="r1"), say("later", run_id="r2")
    running = asyncio.create_task(processor.process(going))  # type: ignore[arg-type]
    first = record(CancelRun(user_id="u", run_id="r1", delayed=True))
    while not running.done():
        processor.arrived(first.raw)
        await asyncio.sleep(0.01)
    assert kinds(await running)[-1] == "run.cancelled"
    processor.attach(Behind(record(CancelRun(user_id="u", run_id="r2", delayed=True))))
    async with asyncio.timeout(120):
        assert kinds(await processor.process(waiting))[-1] == "run.cancelled"


async def test_thread_whose_time_is_up_ends_no_run_that_goes_on_in_it(system: System) -> None:
    await system.tenant("scripted:delay=0.3")
    processor, up = system.processor(), datetime(2026, 1, 1, tzinfo=UTC)
    await processor.process(record(ChangeThread(user_id="u", action="create", ttl=ThreadTtl(minutes=1, expires_at=up))))
    deletion = record(ChangeThread(user_id="u", action="delete", expired=up))
    running = asyncio.create_task(processor.process(say("hi")))  # type: ignore[arg-type]
    while not running.done():
        processor.arrived(deletion.raw)
        await asyncio.sleep(0.01)
    assert kinds(await running)[-1] == "run.completed"
    assert "thread.changed" in kinds(await processor.process(deletion))
