"""A thread's events tell its whole state: replayed onto nothing, or onto any state before, they give what the journal has."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from turns_kit import System, record, requests, result_of, say, system

from schemas import (
    ApprovalDecision,
    CancelRun,
    ChangeThread,
    ContinueThread,
    Input,
    Output,
    RawRecord,
    Record,
    ThreadEvent,
    ThreadHead,
    Topic,
    UserMessage,
    decode,
)
from threads.replay import Gap, Replayed

__all__ = ["system"]


class Watched:
    """Processes records of one thread, and keeps the state after each and all that was published."""

    def __init__(self, system: System) -> None:
        self._system, self._processor = system, system.processor()
        self.heads: list[ThreadHead | None] = [None]
        self.events: list[ThreadEvent] = []
        self.queueable: dict[str, Input] = {}
        self.requests: list[dict[str, Any]] = []

    async def do(self, one: Record) -> Sequence[Output]:
        outputs = await self._processor.process(one)
        for output in outputs:
            if output.topic is Topic.CHAT_RESPONSES:
                self.events.append(decode(_raw(output)).body)
        self.requests += requests(outputs)
        if isinstance(one.body, UserMessage):
            run, at = one.envelope.id, one.envelope.time
            self.queueable[run] = Input(
                input_id=run,
                run_id=run,
                user_id="u",
                agent_id="default",
                text=one.body.text,
                at=at,
                after=one.body.after,
            )
        self.heads.append((await self._system.stores.journal.hydrate("acme", "t1", window=0)).head)
        for output in outputs:
            if output.topic is Topic.CHAT_MESSAGES:
                await self.do(decode(_raw(output)))
        return outputs

    async def check(self) -> None:
        journal = self._system.stores.journal
        thread = await journal.hydrate("acme", "t1", window=1000)
        assert thread.head
        # Events of older versions do not repeat what a run works on.
        older = [event.model_copy(update={"input": None} if hasattr(event, "input") else {}) for event in self.events]
        for before in self.heads:
            for events, queueable in ((self.events, {}), (older, self.queueable)):
                replayed = Replayed(before, queueable)
                replayed.apply(events)
                assert replayed.head
                assert comparable(replayed.head) == comparable(thread.head)
        whole = Replayed(None)
        whole.apply(self.events)
        assert whole.messages == await journal.messages("acme", "t1", limit=1000)
        assert whole.events == await journal.events("acme", "t1")
        assert whole.runs == await journal.runs("acme", "t1")


def comparable(head: ThreadHead) -> dict[str, Any]:
    """Without what no event tells: when a record came that changed nothing, and what was not published yet."""
    return head.model_dump(exclude={"updated_at", "unpublished"})


def _raw(output: Output) -> RawRecord:
    return RawRecord(output.topic.value, 0, 0, 0, output.key.encode(), output.value, output.headers)


def decide(call_id: str, decision: str, **fields: Any) -> Record:
    return record(ApprovalDecision(user_id="u", call_id=call_id, decision=decision, **fields))  # type: ignore[arg-type]


async def test_replay_of_parallel_tool_calls_gives_the_live_head(system: System) -> None:
    await system.tenant("scripted:tool=Bench_Look,calls=3")
    watched = Watched(system)
    for text in ("first", "second"):
        await watched.do(say(text))
        for request in watched.requests[-3:]:
            await watched.do(result_of(request, status="error" if request["call_id"].endswith("2") else "ok"))
    await watched.do(say("third"))
    await watched.do(result_of(watched.requests[-1]))
    await watched.check()


@pytest.mark.parametrize("decision", ["approve", "edit", "reject", "respond", "message"])
async def test_replay_of_any_decision_on_an_approval_gives_the_live_head(system: System, decision: str) -> None:
    await system.tenant("scripted:tool=Bench_Echo,calls=2")
    watched = Watched(system)
    await watched.do(say("do it"))
    head = watched.heads[-1]
    assert head
    first, second = (p.call.call_id for p in head.pending)
    await watched.check()
    if decision == "message":
        await watched.do(say("no, something else"))
    else:
        more: dict[str, Any] = {"edit": {"arguments": {"text": "other"}}, "respond": {"message": "done by hand"}}.get(
            decision, {}
        )
        await watched.do(decide(first, decision, **more))
        await watched.check()
        await watched.do(decide(second, "approve"))
        for request in list(watched.requests):
            await watched.do(result_of(request))
    await watched.check()


async def test_replay_of_queued_messages_cancels_and_rollbacks_gives_the_live_head(system: System) -> None:
    await system.tenant("scripted:tool=Bench_Look")
    watched = Watched(system)
    await watched.do(say("one"))
    waiting = [say("two"), say("three"), say("four")]
    for message in waiting:
        await watched.do(message)
    await watched.do(record(CancelRun(user_id="u", run_id=waiting[1].envelope.id)))
    await watched.check()
    await watched.do(result_of(watched.requests[-1]))
    await watched.check()
    await watched.do(say("instead", multitask_strategy="rollback"))
    await watched.do(record(CancelRun(user_id="u")))
    await watched.do(record(CancelRun(user_id="u")))
    await watched.do(say("refused", multitask_strategy="reject"))
    await watched.do(record(ContinueThread(run_id="nobody")))
    await watched.check()


async def test_replay_of_a_run_whose_model_fails_gives_the_live_head(system: System) -> None:
    await system.tenant("scripted:fail=100", attempts=1)
    watched = Watched(system)
    await watched.do(say("hi"))
    await watched.do(say("and again"))
    await watched.check()


def test_replay_with_a_missing_event_names_the_gap() -> None:
    now = datetime.now(UTC)
    head = ThreadHead(user_id="u", created_at=now, updated_at=now, next_event=3)
    event = ThreadEvent(seq=5, run_id="r", user_id="u", at=now)
    with pytest.raises(Gap, match="event 5 where 3"):
        Replayed(head).apply([event])


async def test_replay_of_created_labelled_and_deleted_threads_gives_the_live_head(system: System) -> None:
    await system.tenant("scripted:tool=Bench_Look")
    watched = Watched(system)
    await watched.do(record(ChangeThread(user_id="u", action="create", metadata={"a": 1})))
    await watched.do(say("first"))
    await watched.do(record(ChangeThread(user_id="u", action="update", title="Mail", metadata={"a": None, "b": 2})))
    await watched.do(say("second"))
    await watched.check()
    await watched.do(record(ChangeThread(user_id="u", action="delete")))
    await watched.do(say("late"))
    await watched.check()
