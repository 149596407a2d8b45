"""The turns processor on a real store with real models: what is journaled, replayed and published."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

from turns_kit import System, kinds, messages, record, requests, result_of, say, system

from schemas import ApprovalDecision, ContinueThread, RawRecord, Topic, User, decode

__all__ = ["system"]


async def test_a_replay_gives_the_same_bytes_and_does_not_ask_the_model_again(system: System) -> None:
    await system.tenant("scripted:")
    message = say("hi")
    first = await system.processor().process(message)
    asked = system.models["scripted:"]._made
    assert list(await system.processor().process(message)) == list(first)
    assert system.models["scripted:"]._made == asked == 1
    assert await messages(system) == ["user: hi", "assistant: done"]


async def test_the_same_message_twice_in_one_worker_is_one_run(system: System) -> None:
    await system.tenant("scripted:")
    processor, message = system.processor(), say("hi")
    first = await processor.process(message)
    await processor.process(say("more"))
    assert list(await processor.process(message)) == list(first)
    assert len(await messages(system)) == 4


async def test_a_second_record_of_the_same_input_publishes_nothing(system: System) -> None:
    await system.tenant("scripted:")
    processor, message = system.processor(), say("hi")
    assert await processor.process(message)
    second = dataclasses.replace(message, raw=dataclasses.replace(message.raw, offset=1))
    assert list(await processor.process(second)) == []
    assert list(await system.processor().process(second)) == []
    assert await system.processor().process(message), "the first one is answerable until its offset is committed"


async def test_a_tool_call_goes_out_once_approved_and_its_result_ends_the_run(system: System) -> None:
    await system.tenant("scripted:tool=Bench_Echo")
    processor = system.processor()
    asked = await processor.process(say("do it"))
    assert kinds(asked)[-2:] == ["approval.requested", "run.paused"]
    assert requests(asked) == []
    call_id = next(json.loads(o.value)["call_id"] for o in asked if b"approval.requested" in dict(o.headers)["ce_type"])
    decided = await system.processor().process(
        record(ApprovalDecision(user_id="u", call_id=call_id, decision="approve"))
    )
    (request,) = requests(decided)
    done = await system.processor().process(result_of(request))
    assert kinds(done)[-1] == "run.completed"
    assert (await messages(system))[-2:] == ["tool: 42", "assistant: done"]


async def test_a_users_standing_permission_lets_a_tool_run_without_asking(system: System) -> None:
    await system.tenant("scripted:tool=Bench_Echo")
    await system.stores.directory.put_user(
        User(tenant_id="acme", user_id="u", created_at=datetime.now(UTC), approvals_allow=("Bench_*",))
    )
    assert len(requests(await system.processor().process(say("do it")))) == 1


async def test_two_owners_of_a_thread_cannot_both_write(system: System) -> None:
    """A frozen owner wakes up: its write is refused by the version, and it answers on top of what happened meanwhile."""
    await system.tenant("scripted:delay=0.2")
    old, new = system.processor(), system.processor()
    await old.process(say("one"))
    await asyncio.gather(old.process(say("two")), new.process(say("three")))
    await old.process(say("four"))
    said = await messages(system)
    assert sorted(m for m in said if m.startswith("user")) == ["user: four", "user: one", "user: three", "user: two"]
    assert len(said) == 8
    events = await system.stores.journal.events("acme", "t1")
    assert [e.seq for e in events] == list(range(1, len(events) + 1))


async def test_the_same_record_in_two_workers_at_once_is_one_run(system: System) -> None:
    await system.tenant("scripted:delay=0.1")
    message = say("hi")
    first, second = await asyncio.gather(system.processor().process(message), system.processor().process(message))
    assert list(first) == list(second)
    assert len(await messages(system)) == 2


async def test_parallel_calls_are_gathered_across_workers(system: System) -> None:
    await system.tenant("scripted:tool=Bench_Look,calls=3")
    asked = requests(await system.processor().process(say("look")))
    assert len(asked) == 3
    for request in (asked[2], asked[0]):
        assert "run.completed" not in kinds(await system.processor().process(result_of(request)))
    assert kinds(await system.processor().process(result_of(asked[1])))[-1] == "run.completed"
    assert len(system.early) == 1, "a turn that commits at once needs no early showing of its results"


async def test_a_queued_message_is_started_by_the_record_that_the_last_turn_sends(system: System) -> None:
    await system.tenant("scripted:tool=Bench_Look")
    processor = system.processor()
    (request,) = requests(await processor.process(say("first")))
    assert kinds(await processor.process(say("second"))) == ["run.queued"]
    done = await processor.process(result_of(request))
    (note,) = [o for o in done if o.topic is Topic.CHAT_MESSAGES]
    raw = RawRecord(Topic.CHAT_MESSAGES.value, 0, 0, 0, note.key.encode(), note.value, note.headers)
    assert isinstance(decode(raw).body, ContinueThread)
    assert "run.started" in kinds(await system.processor().process(decode(raw)))


async def test_deltas_carry_the_id_of_the_message_they_belong_to(system: System) -> None:
    await system.tenant("scripted:delay=0.2,tokens=5")
    outputs = await system.processor().process(say("hi"))
    added = [json.loads(o.value) for o in outputs if b"message.added" in dict(o.headers)["ce_type"]][-1]["message"]
    assert "".join(d.text for d in system.deltas) == added["text"]
    assert {d.message_id for d in system.deltas} == {added["message_id"]}
    assert [d.index for d in system.deltas] == list(range(len(system.deltas)))


async def test_a_turn_costs_the_same_bytes_in_a_long_thread_as_in_a_short_one(system: System) -> None:
    """What a turn writes: head, messages, events and outputs. Turn 5 against turn 60."""
    await system.tenant("scripted:")
    sizes: list[int] = []
    journal = system.stores.journal
    commit = journal.commit

    async def measured(tenant: str, thread: str, batch: Any) -> Any:
        rows = (*batch.messages, *batch.events)
        sizes.append(len(batch.outputs) + len(batch.head.to_bytes()) + sum(len(r.to_bytes()) for r in rows))
        return await commit(tenant, thread, batch)

    journal.commit = measured  # type: ignore[method-assign]
    processor = system.processor()
    for n in range(60):
        await processor.process(say(f"message {n:03}"))
    assert sizes[59] <= sizes[4] * 1.05
