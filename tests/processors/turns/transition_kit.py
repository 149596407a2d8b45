"""A thread without servers, for tests of the decisions about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from schemas import (
    ApprovalDecision,
    CancelRun,
    ContinueThread,
    Input,
    Output,
    RunLimits,
    StoredEvent,
    StoredMessage,
    StoredRun,
    ThreadHead,
    ThreadKey,
    ToolRequest,
    ToolResult,
    Topic,
    body_type,
)
from state import Hydrated
from threads import transitions
from threads.draft import Draft
from threads.leg_ends import Answer, Answered, AskedTool, Failed, LegResult, Ruling, on_leg, over_limits
from threads.replay import Replayed
from threads.transitions import Next

KEY = ThreadKey("acme", "t1")
START = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = RunLimits(turns=4, queued_inputs=3)


def policy(name: str) -> Ruling:
    if name == "Read":
        return Ruling("run")
    if name == "Write":
        return Ruling("approval")
    return Ruling("refuse", f"no tool {name}")


def an_input(input_id: str, text: str, at: datetime, *, run_id: str = "r", user_id: str = "u") -> Input:
    return Input(input_id=input_id, run_id=run_id, user_id=user_id, agent_id="default", text=text, at=at)


class Thread:
    """A thread and its committed view, as the journal would keep them."""

    def __init__(self) -> None:
        self.version = 0
        self.head: ThreadHead | None = None
        self.messages: list[StoredMessage] = []
        self.events: list[StoredEvent] = []
        self.runs: list[StoredRun] = []
        self.outputs: list[Output] = []
        self.clock = START
        self.count = 0
        self.erased = False

    def draft(self, new: Input | None = None) -> Draft:
        self.count += 1
        self.clock += timedelta(seconds=1)
        base = Hydrated(self.version, self.head, tuple(self.messages))
        head = self.head
        if head is None:
            assert new
            head = transitions.new_head(new, self.clock)
        return Draft(KEY, f"in{self.count}", self.clock, base, head, "chat.messages/0/0")

    def commit(self, draft: Draft) -> list[str]:
        commit = draft.commit()
        if commit.remove_messages_from is not None:
            self.messages = [m for m in self.messages if m.seq < commit.remove_messages_from]
        self.version += 1
        self.head = commit.head
        self.messages += commit.messages
        self.erased = self.erased or commit.erase
        self.events += commit.events
        self.runs += commit.runs
        self.outputs += draft.outputs
        self.check_events()
        return [e.type.removeprefix("cauce.") for e in commit.events]

    def check_events(self) -> None:
        """The thread's events tell its head, but for what a store counts."""
        if self.erased:
            return  # what it had before is gone
        replayed = Replayed(None)
        for stored in self.events:
            model = body_type(Topic.CHAT_RESPONSES, stored.type)
            assert model
            replayed.apply([model.model_validate_json(stored.body)])
        assert replayed.head
        assert self.head
        counted = {"updated_at", "unpublished"}
        assert replayed.head.model_dump(exclude=counted) == self.head.model_dump(exclude=counted)

    def say(self, text: str, *answers: Answer, strategy: Any = "enqueue") -> list[str]:
        new = an_input(f"m{self.count}", text, self.clock, run_id=f"r{self.count}")
        draft = self.draft(new)
        return self.finish(draft, transitions.on_input(draft, new, LIMITS, strategy), *answers)

    def finish(self, draft: Draft, following: Next, *answers: Answer) -> list[str]:
        left = list(answers)
        while following is Next.LEG:
            over = over_limits(draft, LIMITS)
            end = Failed(*over) if over else Answered(left.pop(0) if left else Answer("fine"), policy)
            following = on_leg(draft, LegResult(end))
        return self.commit(draft)

    def result(self, call_id: str, *answers: Answer, status: Any = "ok") -> list[str]:
        draft = self.draft()
        found = ToolResult(call_id=call_id, run_id="r", name="x", status=status, content="42", finished_at=START)
        return self.finish(draft, transitions.on_tool_result(draft, found), *answers)

    def decide(self, call_id: str, decision: Any, *answers: Answer, **fields: Any) -> list[str]:
        draft = self.draft()
        body = ApprovalDecision(user_id="u", call_id=call_id, decision=decision, **fields)
        return self.finish(draft, transitions.on_decision(draft, body), *answers)

    def cancel(self, run_id: str | None = None) -> list[str]:
        draft = self.draft()
        return self.finish(draft, transitions.on_cancel(draft, CancelRun(user_id="u", run_id=run_id)))

    def go_on(self) -> list[str]:
        assert self.head
        draft = self.draft()
        note = ContinueThread(run_id=self.head.queued[0].run_id)
        return self.finish(draft, transitions.on_continue(draft, note))

    @property
    def requested(self) -> list[ToolRequest]:
        return [ToolRequest.model_validate_json(o.value) for o in self.outputs if o.topic is Topic.TOOL_REQUESTS]

    @property
    def texts(self) -> list[str]:
        return [f"{m.message.role}: {m.message.text}" for m in self.messages]


def wants(*names: str) -> Answer:
    return Answer("", tuple(AskedTool(n, {"a": 1}) for n in names))
