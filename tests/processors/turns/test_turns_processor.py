"""The turns processor on a real store with real models: what is journaled, replayed, interrupted and refused."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.arcade import ToolSpec
from connectors.models import ModelChoice, chat_model
from processors.settings_cache import TenantCache, UserCache
from processors.turns.agent import Agent
from processors.turns.leg import LegRunner
from processors.turns.processor import TurnsProcessor
from processors.turns.profile import Profiles
from schemas import (
    AgentSettings,
    ApprovalDecision,
    CancelRun,
    ContinueThread,
    Delta,
    Envelope,
    ModelSettings,
    Output,
    RawRecord,
    Record,
    RunLimits,
    Tenant,
    ToolFinished,
    ToolResult,
    Topic,
    User,
    UserMessage,
    decode,
    new_id,
)
from schemas.base import Body
from state import Stores, open_stores
from streams import Publication, Reject

ECHO = ToolSpec(
    "Bench_Echo", "Bench.Echo", "1", "Says it again.", {"type": "object", "properties": {}}, None, (), False, False
)
LOOK = ToolSpec("Bench_Look", "Bench.Look", "1", "Looks.", {"type": "object", "properties": {}}, None, (), True, True)


class Tools:
    """A catalogue of two tools, as data."""

    async def tools(self) -> dict[str, ToolSpec]:
        return {ECHO.name: ECHO, LOOK.name: LOOK}


class System:
    """A processor with its stores, and what it emitted."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.deltas: list[Delta] = []
        self.early: list[ToolFinished] = []
        self.models: dict[str, Any] = {}

    def processor(self) -> TurnsProcessor:
        profiles = Profiles(Tools(), UserCache(self.stores.directory, ttl=0), self.model)
        legs = LegRunner(Agent(), profiles, self.emit)
        tenants = TenantCache(self.stores.directory, ttl=0)
        return TurnsProcessor(self.stores.journal, self.stores.ledger, tenants, legs)

    def model(self, tenant: Tenant, agent: AgentSettings) -> Any:
        return self.models.setdefault(agent.model.name, chat_model(ModelChoice(agent.model.name)))

    def emit(self, output: Output) -> None:
        if ("ce_type", Delta.TYPE.encode()) in output.headers:
            self.deltas.append(Delta.model_validate_json(output.value))
        else:
            assert output.topic is Topic.CHAT_DELTAS
            self.early.append(ToolFinished.model_validate_json(output.value))

    async def tenant(self, model: str, *, limits: RunLimits = RunLimits(), **settings: Any) -> None:  # noqa: B008
        agent = AgentSettings(model=ModelSettings(name=model, **settings), limits=limits)
        old = await self.stores.directory.tenant("acme")
        version = old.version if old else 0
        made = Tenant(tenant_id="acme", created_at=datetime.now(UTC), agents=(agent,), version=version + 1)
        assert await self.stores.directory.put_tenant(made, expected_version=version)


@pytest.fixture(params=["sqlite", "cassandra"])
async def system(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[System]:
    url = f"sqlite://{tmp_path / 'state'}"
    if request.param == "cassandra":
        server = request.getfixturevalue("cassandra")
        url = f"cassandra://{server.contact_point}:{server.port}/turns_{new_id('k')[2:14]}?rf=1"
    stores = open_stores(url)
    await stores.open()
    await stores.migrate()
    yield System(stores)
    await stores.close()


def record(body: Body, thread: str = "t1", *, id: str | None = None, topic: Topic = Topic.CHAT_MESSAGES) -> Record:
    kind: str = body.TYPE  # type: ignore[attr-defined]
    envelope = Envelope(id or new_id("m"), kind, "test", "acme", datetime.now(UTC))
    return decode(RawRecord(topic.value, 0, 0, 0, f"acme:{thread}".encode(), body.to_bytes(), envelope.headers()))


def say(text: str, thread: str = "t1", **fields: Any) -> Record:
    return record(UserMessage(user_id="u", text=text, **fields), thread)


def kinds(outputs: Sequence[Output]) -> list[str]:
    return [
        dict(o.headers)["ce_type"].decode().removeprefix("cauce.") for o in outputs if o.topic is Topic.CHAT_RESPONSES
    ]


def requests(outputs: Sequence[Output]) -> list[dict[str, Any]]:
    return [json.loads(o.value) for o in outputs if o.topic is Topic.TOOL_REQUESTS]


def result_of(request: dict[str, Any], **fields: Any) -> Record:
    values = {"status": "ok", "content": "42", "finished_at": datetime.now(UTC), **fields}
    body = ToolResult(call_id=request["call_id"], run_id=request["run_id"], name=request["name"], **values)
    return record(body, topic=Topic.TOOL_RESULTS)


async def messages(system: System, thread: str = "t1") -> list[str]:
    rows = await system.stores.journal.messages("acme", thread)
    return [f"{r.message.role}: {r.message.text.strip()}" for r in rows]


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


class Behind:
    """A runtime in which these records wait in the lane."""

    def __init__(self, *waiting: Record) -> None:
        self._waiting = [r.raw for r in waiting]

    def publication(self, position: str) -> Publication:
        return Publication.COMMITTED

    def waiting(self, raw: RawRecord) -> list[RawRecord]:
        return self._waiting


async def test_a_cancel_that_came_before_the_model_call_began_stops_it_too(system: System) -> None:
    await system.tenant("scripted:delay=30")
    processor, message = system.processor(), say("think long")
    stranger, later = record(CancelRun(user_id="somebody-else")), say("and then?")
    cancel = record(CancelRun(user_id="u", run_id=message.envelope.id))
    processor.attach(Behind(stranger, later, cancel))
    async with asyncio.timeout(5):
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


async def test_a_model_that_fails_twice_is_asked_a_third_time(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.turns.leg.BACKOFF", 0.01)
    await system.tenant("scripted:fail=2")
    assert kinds(await system.processor().process(say("hi")))[-1] == "run.completed"


async def test_a_model_that_always_fails_ends_in_a_failure_that_the_user_sees(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processors.turns.leg.BACKOFF", 0.01)
    await system.tenant("scripted:fail=99")
    outputs = await system.processor().process(say("hi"))
    assert kinds(outputs)[-1] == "run.failed"
    failed = json.loads([o.value for o in outputs if o.topic is Topic.CHAT_RESPONSES][-1])
    assert failed["code"] == "model_error"
    assert "Try again" in failed["message"]


async def test_a_model_that_does_not_answer_in_time_ends_in_a_failure(system: System) -> None:
    await system.tenant("scripted:delay=30", timeout_seconds=0.05, attempts=1)
    outputs = await system.processor().process(say("hi"))
    assert json.loads([o.value for o in outputs if o.topic is Topic.CHAT_RESPONSES][-1])["code"] == "model_timeout"


async def test_a_run_stops_at_its_seconds(system: System) -> None:
    await system.tenant("scripted:delay=30", limits=RunLimits(seconds=0.2))
    outputs = await system.processor().process(say("hi"))
    assert json.loads([o.value for o in outputs if o.topic is Topic.CHAT_RESPONSES][-1])["code"] in (
        "limit_seconds",
        "model_timeout",
    )


async def test_an_unknown_tool_of_the_model_is_refused_and_the_run_goes_on(system: System) -> None:
    await system.tenant("scripted:tool=Nope_Nothing")
    outputs = await system.processor().process(say("hi"))
    assert kinds(outputs)[-1] == "run.completed"
    assert any("There is no tool named" in m for m in await messages(system))
    assert any(b"tool.refused" in o.value for o in outputs if o.topic is Topic.AUDIT_EVENTS)


@pytest.mark.parametrize(
    "body", [CancelRun(user_id="u"), ApprovalDecision(user_id="u", call_id="c", decision="approve")]
)
async def test_what_steers_a_thread_that_does_not_exist_is_rejected(system: System, body: Body) -> None:
    await system.tenant("scripted:")
    with pytest.raises(Reject, match="does not exist"):
        await system.processor().process(record(body, "nowhere"))


async def test_unknown_tenants_agents_and_strangers_are_rejected(system: System) -> None:
    with pytest.raises(Reject, match="no tenant"):
        await system.processor().process(say("hi"))
    await system.tenant("scripted:")
    with pytest.raises(Reject, match="no agent"):
        await system.processor().process(say("hi", agent_id="nobody"))
    await system.processor().process(say("hi"))
    with pytest.raises(Reject, match="does not belong"):
        await system.processor().process(record(UserMessage(user_id="other", text="let me in")))


async def test_a_result_for_a_call_that_nobody_made_is_rejected(system: System) -> None:
    await system.tenant("scripted:")
    await system.processor().process(say("hi"))
    with pytest.raises(Reject, match="nobody asked"):
        await system.processor().process(result_of({"call_id": "made-up", "run_id": "r", "name": "x"}))


async def test_giving_up_on_a_message_fails_its_run_once(system: System) -> None:
    await system.tenant("scripted:")
    message = say("poison")
    first = await system.processor().give_up(message, "it killed its worker")
    assert kinds(first) == ["run.failed"]
    assert list(await system.processor().give_up(message, "again")) == list(first)
    assert list(await system.processor().process(message)) == list(first)


async def test_giving_up_on_a_tool_result_ends_the_run_that_waits_for_it(system: System) -> None:
    await system.tenant("scripted:tool=Bench_Look")
    (request,) = requests(await system.processor().process(say("look")))
    assert kinds(await system.processor().give_up(result_of(request), "poison"))[-1] == "run.failed"
    thread = await system.stores.journal.hydrate("acme", "t1", window=10)
    assert thread.head
    assert thread.head.run is None


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
