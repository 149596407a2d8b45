"""Conversations that go back: what the model sees, what a rollback takes back, and what the events tell."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from pydantic import Field
from test_replay_of_events import Watched, decide
from turns_kit import System, messages, record, result_of, say, system

from connectors.models.scripted import ScriptedChatModel
from schemas import CancelRun, ChangeMessages, GivenMessage, Record, StoredMessage, Topic
from threads.forks import WINDOW

__all__ = ["system"]


class Remembering(ScriptedChatModel):
    """Keeps what it was given, but for the instructions."""

    seen: list[list[str]] = Field(default_factory=list)

    def _reply(self, messages: list[BaseMessage]) -> AIMessage:
        self.seen.append([str(m.content) for m in messages if not isinstance(m, SystemMessage)])
        return super()._reply(messages)


async def conversation(system: System) -> list[StoredMessage]:
    return list((await system.stores.journal.hydrate("acme", "t1", window=1000)).messages)


async def texts(system: System) -> list[str]:
    return [f"{s.seq} {s.message.role}: {s.message.text.strip()[:20]}" for s in await conversation(system)]


def change(*given: GivenMessage, **fields: Any) -> Record:
    return record(ChangeMessages(user_id="u", messages=given, **fields))


def given(id: str, text: str = "", role: Any = "user", *, remove: bool = False) -> GivenMessage:
    return GivenMessage(message_id=id, role=role, text=text, remove=remove)


async def test_edit_and_answer_again_leave_what_came_after_out_of_the_conversation(system: System) -> None:
    await system.tenant("scripted:")
    watched = Watched(system)
    for text in ("one", "two"):
        await watched.do(say(text))
    assert [t.split(":")[0] for t in await texts(system)] == ["1 user", "2 assistant", "3 user", "4 assistant"]

    outputs = await watched.do(say("", after=3))
    assert [t.split(":")[0] for t in await texts(system)] == ["1 user", "2 assistant", "3 user", "5 assistant"]
    shown = [o for o in outputs if o.topic != Topic.AUDIT_EVENTS]
    assert [dict(o.headers)["ce_type"].decode().removeprefix("cauce.") for o in shown[:3]] == [
        "run.started",
        "messages.removed",
        "message.added",
    ]
    await watched.do(say("two!", after=2, message_id="edited"))
    assert (await texts(system))[2:] == ["6 user: two!", (await texts(system))[3]]
    await watched.do(say("back on the first branch", after=4))
    assert [s.seq for s in await conversation(system)] == [1, 2, 3, 4, 8, 9]
    await watched.do(say("from the beginning", after=0))
    assert [s.seq for s in await conversation(system)] == [10, 11]
    assert len(await messages(system)) == 11, "nothing is forgotten"
    await watched.check()


async def test_model_sees_the_branch_alone_also_far_behind_its_window(system: System) -> None:
    await system.tenant("scripted:")
    processor = system.processor()
    model = system.models["scripted:"] = Remembering()
    first = [GivenMessage(message_id=f"m{n}", role="user", text=f"line {n}") for n in range(1, WINDOW + 41)]
    await processor.process(say("begin"))
    await processor.process(change(*first))
    await processor.process(say("and here?", after=12))
    found = await conversation(system)
    assert [s.seq for s in found[:12]] == list(range(1, 13))
    assert [s.message.text for s in found[-2:-1]] == ["and here?"]
    assert len(found) == 14
    assert model.seen[-1] == [s.message.text for s in found[:-1]]
    # Another worker, and this one with what it keeps, agree.
    for worker in (processor, system.processor()):
        await worker.process(say("more"))
        assert model.seen[-1] == [s.message.text for s in (await conversation(system))[:-1]]
    assert [s.message.text for s in await conversation(system) if s.message.role == "user"][-3:] == [
        "and here?",
        "more",
        "more",
    ]


@pytest.mark.parametrize("strategy", ["enqueue", "interrupt", "rollback"])
async def test_going_back_while_a_run_waits_for_a_tool(system: System, strategy: str) -> None:
    await system.tenant("scripted:tool=Bench_Look")
    watched = Watched(system)
    await watched.do(say("one"))
    await watched.do(result_of(watched.requests[-1]))
    await watched.do(say("two"))
    await watched.do(say("two, again", after=4, multitask_strategy=strategy))
    if strategy == "enqueue":
        await watched.do(result_of(watched.requests[1]))
    await watched.do(result_of(watched.requests[-1]))
    found = [(s.message.role, s.message.text) for s in await conversation(system)]
    assert [text for role, text in found if role == "user"] == ["one", "two, again"]
    assert [role for role, _ in found[4:]] == ["user", "assistant", "tool", "assistant"]
    await watched.check()


async def test_rollback_takes_back_that_the_run_went_back(system: System) -> None:
    await system.tenant("scripted:tool=Bench_Look")
    watched = Watched(system)
    await watched.do(say("one"))
    await watched.do(result_of(watched.requests[-1]))
    before = await conversation(system)
    await watched.do(say("one, but other", after=0))
    assert (await conversation(system))[0].message.text == "one, but other"
    await watched.check()
    await watched.do(say("two", multitask_strategy="rollback"))
    assert (await conversation(system))[:4] == before
    await watched.do(result_of(watched.requests[-1]))
    assert [m.message.text for m in await conversation(system) if m.message.role == "user"] == ["one", "two"]
    await watched.check()


async def test_open_calls_and_approvals_of_where_it_goes_back_to_are_left_aside(system: System) -> None:
    await system.tenant("scripted:tool=Bench_Echo,calls=2")
    watched = Watched(system)
    await watched.do(say("do it"))
    head = watched.heads[-1]
    assert head
    first, second = (p.call.call_id for p in head.pending)
    await watched.do(decide(first, "reject"))
    await watched.check()
    await watched.do(say("", after=2))  # with the answer that asks for both
    found = [(s.message.role, s.message.call_id) for s in await conversation(system)]
    assert found[1:4] == [("assistant", None), ("tool", first), ("tool", second)]
    assert "left" not in found[4:]
    head = watched.heads[-1]
    assert head
    assert head.run is None, "the model has read the results and answered"
    await watched.do(decide(second, "approve"))
    assert watched.requests == [], "nothing is done that was left aside"
    await watched.check()


async def test_what_cannot_be_gone_back_to_fails_and_leaves_the_thread_as_it_is(system: System) -> None:
    await system.tenant("scripted:")
    watched = Watched(system)
    await watched.do(say("one"))
    before = await conversation(system)
    for text, after in (("two", 77), ("", 2), ("", 0)):
        await watched.do(say(text, after=after))
        head = watched.heads[-1]
        assert head
        assert head.last
        assert head.last.outcome == "failed"
        assert await conversation(system) == before
        await watched.check()
    await watched.do(say("two"))
    assert [m.seq for m in await conversation(system)] == [1, 2, 3, 4]
    await watched.check()


async def test_messages_are_changed_as_langgraph_adds_them(system: System) -> None:
    await system.tenant("scripted:")
    watched = Watched(system)
    await watched.do(say("one", message_id="h1"))
    await watched.do(say("two", message_id="h2"))
    answer = (await conversation(system))[1].message

    async def ids() -> list[str]:
        return [s.message.message_id for s in await conversation(system)]

    was = await ids()
    await watched.do(change(given("note", "remember this")))
    assert await ids() == [*was, "note"]
    assert [s.seq for s in await conversation(system)] == [1, 2, 3, 4, 5]
    await watched.do(change(given(answer.message_id, "changed", "assistant"), given("h3", "three")))
    assert await ids() == [*was, "note", "h3"]
    assert [s.message.text for s in await conversation(system)][:3] == ["one", "changed", "two"]
    await watched.do(change(given("h2", remove=True), given("note", remove=True)))
    assert await ids() == [was[0], was[1], was[3], "h3"]
    await watched.check()
    await watched.do(change(after=2))
    assert [s.seq for s in await conversation(system)] == [1, 2]
    await watched.do(change(given("fresh", "begin anew"), clear=True))
    assert await ids() == ["fresh"]
    await watched.do(change(clear=True))
    assert await ids() == []
    await watched.do(say("hello"))
    assert len(await ids()) == 2
    await watched.check()


async def test_changes_that_no_model_would_take_are_refused(system: System) -> None:
    await system.tenant("scripted:tool=Bench_Look")
    watched = Watched(system)
    await watched.do(say("one"))
    await watched.do(change(given("x", "late")))
    assert "a run of the thread is not over" in watched.events[-1].reason
    await watched.do(result_of(watched.requests[-1]))
    before = await conversation(system)
    call, result = before[1].message, before[2].message
    for wrong, words in (
        ((given("nobody", remove=True),), "no message 'nobody' to remove"),
        ((given(result.message_id, remove=True, role="tool"),), "without its result"),
        ((given(call.message_id, remove=True, role="assistant"),), "without its call"),
        ((given(call.message_id, "I am a user"),), "and stays that"),
        ((given("new", "42", "tool"),), "only a call adds one"),
        ((given("new"),), "needs a text"),
    ):
        await watched.do(change(*wrong))
        assert words in watched.events[-1].reason
        assert await conversation(system) == before
    await watched.do(change(after=99))
    assert "no message 99" in watched.events[-1].reason
    await watched.do(change(given(result.message_id, "another result", "tool")))
    assert (await conversation(system))[2].message.text == "another result"
    await watched.check()


async def test_same_input_twice_goes_back_once(system: System) -> None:
    await system.tenant("scripted:")
    processor, again = system.processor(), say("two", after=0)
    await processor.process(say("one"))
    first = await processor.process(again)
    before = await conversation(system)
    assert await system.processor().process(again) == first
    assert await processor.process(again) == first
    assert await conversation(system) == before


async def test_cancelled_run_that_went_back_stays_where_it_went(system: System) -> None:
    await system.tenant("scripted:tool=Bench_Look")
    watched = Watched(system)
    await watched.do(say("one"))
    await watched.do(result_of(watched.requests[-1]))
    await watched.do(say("other", after=0))
    await watched.do(record(CancelRun(user_id="u")))
    assert [s.message.role for s in await conversation(system)] == ["user", "assistant", "tool"]
    await watched.do(say("", after=watched.heads[-1].newest_message))  # type: ignore[union-attr]
    await watched.check()
