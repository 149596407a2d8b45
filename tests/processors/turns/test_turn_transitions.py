"""What inputs do to a thread, without servers: tables for what is promised, and random lives that keep the invariants."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.turns import transitions
from processors.turns.answers import Answer, AskedTool, Ruling, on_answer, within_limits
from processors.turns.draft import Draft
from processors.turns.transitions import NewInput, Next
from schemas import (
    TERMINAL_TYPES,
    ApprovalDecision,
    CancelRun,
    ChangeThread,
    ContinueThread,
    Message,
    Output,
    RunLimits,
    StoredEvent,
    StoredMessage,
    StoredRun,
    ThreadHead,
    ThreadKey,
    TokenUsage,
    ToolRequest,
    ToolResult,
    Topic,
)
from state import Hydrated

KEY = ThreadKey("acme", "t1")
START = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = RunLimits(turns=4, queued_inputs=3)


def policy(name: str) -> Ruling:
    if name == "Read":
        return Ruling("run")
    if name == "Write":
        return Ruling("approval")
    return Ruling("refuse", f"no tool {name}")


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

    def draft(self, new: NewInput | None = None) -> Draft:
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
        self.events += commit.events
        self.runs += commit.runs
        self.outputs += draft.outputs
        return [e.type.removeprefix("cauce.") for e in commit.events]

    def say(self, text: str, *answers: Answer, strategy: Any = "enqueue") -> list[str]:
        new = NewInput(f"m{self.count}", f"r{self.count}", "u", "default", text, strategy, self.clock)
        draft = self.draft(new)
        return self.finish(draft, transitions.on_input(draft, new, LIMITS), *answers)

    def finish(self, draft: Draft, following: Next, *answers: Answer) -> list[str]:
        left = list(answers)
        while following is Next.LEG:
            if not within_limits(draft, LIMITS):
                break
            following = on_answer(draft, left.pop(0) if left else Answer("fine"), policy)
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


def test_a_plain_question_is_answered_in_one_turn() -> None:
    thread = Thread()
    assert thread.say("hello") == ["run.started", "message.added", "message.added", "run.completed"]
    assert thread.texts == ["user: hello", "assistant: fine"]
    assert thread.head
    assert (thread.head.status, thread.head.run, thread.head.title) == ("idle", None, "hello")


def test_a_read_only_tool_is_called_at_once_and_its_result_leads_to_the_answer() -> None:
    thread = Thread()
    assert thread.say("look", wants("Read"))[-2:] == ["message.added", "tool.requested"]
    (request,) = thread.requested
    assert thread.head
    assert thread.head.status == "tools"
    assert thread.result(request.call_id) == ["tool.finished", "message.added", "run.completed"]
    assert thread.texts[-2:] == ["tool: 42", "assistant: fine"]


def test_parallel_results_are_gathered_in_any_order_and_the_last_one_goes_on() -> None:
    thread = Thread()
    thread.say("look twice", wants("Read", "Read", "Read"))
    first, second, third = (r.call_id for r in thread.requested)
    assert thread.result(third) == ["tool.finished"]
    assert thread.result(first) == ["tool.finished"]
    assert thread.result(second)[-1] == "run.completed"


def test_a_call_with_side_effects_waits_for_the_user_and_is_requested_once_approved() -> None:
    thread = Thread()
    assert thread.say("send it", wants("Write"))[-2:] == ["approval.requested", "run.paused"]
    assert thread.requested == []
    call_id = thread.head.pending[0].call.call_id  # type: ignore[union-attr]
    assert thread.decide(call_id, "approve") == ["approval.resolved", "tool.requested"]
    assert thread.requested[0].approved_by == "u"
    assert thread.decide(call_id, "approve") == ["input.refused"]
    assert thread.result(call_id)[-1] == "run.completed"
    assert len(thread.requested) == 1


def test_an_edit_calls_the_tool_with_the_users_arguments_and_tells_the_model() -> None:
    thread = Thread()
    thread.say("send it", wants("Write"))
    call_id = thread.head.pending[0].call.call_id  # type: ignore[union-attr]
    thread.decide(call_id, "edit", arguments={"a": 2})
    assert thread.requested[0].arguments == {"a": 2}
    thread.result(call_id)
    assert 'changed the arguments to {"a": 2}' in thread.texts[-2]


def test_a_rejection_is_told_to_the_model_with_its_reason() -> None:
    thread = Thread()
    thread.say("send it", wants("Write"))
    call_id = thread.head.pending[0].call.call_id  # type: ignore[union-attr]
    events = thread.decide(call_id, "reject", message="wrong person")
    assert events == ["approval.resolved", "tool.finished", "message.added", "run.completed"]
    assert thread.texts[-2] == "tool: The user declined this call. Reason: wrong person"
    assert thread.requested == []


def test_a_text_can_stand_for_the_tools_result() -> None:
    thread = Thread()
    thread.say("ask", wants("Write"))
    thread.decide(thread.head.pending[0].call.call_id, "respond", message="it is blue")  # type: ignore[union-attr]
    assert thread.texts[-2] == "tool: it is blue"


def test_mixed_calls_run_what_may_run_and_pause_when_only_the_user_is_waited_for() -> None:
    thread = Thread()
    events = thread.say("both", wants("Read", "Write"))
    assert "run.paused" not in events
    assert thread.result(thread.requested[0].call_id) == ["tool.finished", "run.paused"]


def test_days_of_waiting_for_approval_do_not_count_against_the_seconds_of_a_run() -> None:
    thread = Thread()
    thread.say("send it", wants("Write"))
    thread.clock += timedelta(days=3)
    call_id = thread.head.pending[0].call.call_id  # type: ignore[union-attr]
    thread.decide(call_id, "approve")
    assert thread.result(call_id)[-1] == "run.completed"


def test_an_unknown_tool_is_refused_and_the_model_is_asked_again_at_once() -> None:
    thread = Thread()
    events = thread.say("do magic", wants("Magic"), Answer("sorry"))
    assert events[-3:] == ["tool.finished", "message.added", "run.completed"]
    assert thread.texts[-2:] == ["tool: no tool Magic", "assistant: sorry"]


def test_arguments_that_are_not_json_go_back_to_the_model() -> None:
    thread = Thread()
    broken = Answer("", (AskedTool("Read", {}, "The arguments were not valid JSON"),))
    thread.say("look", broken, Answer("sorry"))
    assert thread.requested == []
    assert thread.texts[-2] == "tool: The arguments were not valid JSON"


def test_a_message_during_tools_waits_and_is_answered_after_them() -> None:
    thread = Thread()
    thread.say("first", wants("Read"))
    assert thread.say("second") == ["run.queued"]
    thread.result(thread.requested[0].call_id)
    assert [o.topic for o in thread.outputs].count(Topic.CHAT_MESSAGES) == 1
    assert thread.go_on()[-1] == "run.completed"
    assert [t for t in thread.texts if t.startswith("user")] == ["user: first", "user: second"]


def test_continuing_twice_starts_a_queued_run_once() -> None:
    thread = Thread()
    thread.say("first", wants("Read"))
    thread.say("second")
    queued = thread.head.queued[0]  # type: ignore[union-attr]
    thread.result(thread.requested[0].call_id)
    thread.go_on()
    draft = thread.draft()
    assert transitions.on_continue(draft, ContinueThread(run_id=queued.run_id)) is Next.COMMIT
    assert thread.commit(draft) == []


def test_reject_refuses_a_message_while_a_run_is_going() -> None:
    thread = Thread()
    thread.say("first", wants("Read"))
    assert thread.say("second", strategy="reject") == ["run.cancelled"]
    assert thread.head
    assert thread.head.status == "tools"


def test_interrupt_ends_the_run_keeps_its_messages_and_answers_for_its_calls() -> None:
    thread = Thread()
    thread.say("first", wants("Read"))
    events = thread.say("second", strategy="interrupt")
    assert events[:3] == ["tool.finished", "run.cancelled", "run.started"]
    assert thread.texts[0] == "user: first"
    assert "may have been carried out" in thread.texts[2]


def test_rollback_removes_what_the_run_wrote() -> None:
    thread = Thread()
    thread.say("before")
    thread.say("first", wants("Read"))
    events = thread.say("second", strategy="rollback")
    assert "messages.removed" in events
    assert thread.texts == ["user: before", "assistant: fine", "user: second", "assistant: fine"]


def test_a_message_instead_of_a_decision_abandons_the_approval_and_tells_the_model() -> None:
    thread = Thread()
    thread.say("send it", wants("Write"))
    events = thread.say("never mind")
    assert events[:3] == ["approval.resolved", "tool.finished", "run.cancelled"]
    assert "instead of deciding" in thread.texts[2]
    assert thread.texts[-1] == "assistant: fine"


def test_a_full_queue_refuses_with_a_clear_failure() -> None:
    thread = Thread()
    thread.say("first", wants("Read"))
    for _ in range(3):
        assert thread.say("more") == ["run.queued"]
    assert thread.say("too much") == ["run.failed"]


def test_a_run_that_never_stops_asking_for_tools_ends_at_the_limit_of_turns() -> None:
    thread = Thread()
    events = thread.say("loop", *[wants("Magic")] * 9)
    assert events[-1] == "run.failed"
    assert thread.head
    assert thread.head.run is None


def test_a_run_ends_at_the_limit_of_tokens() -> None:
    thread = Thread()
    greedy = Answer("", (AskedTool("Magic", {}),), TokenUsage(input_tokens=10**9))
    assert thread.say("loop", greedy)[-1] == "run.failed"


def test_a_cancel_ends_the_run_or_a_queued_one_and_says_so_when_there_is_none() -> None:
    thread = Thread()
    thread.say("first", wants("Read"))
    thread.say("second")
    waiting = thread.head.queued[0].run_id  # type: ignore[union-attr]
    assert thread.cancel(waiting) == ["run.cancelled"]
    assert thread.cancel() == ["tool.finished", "run.cancelled"]
    assert thread.cancel() == [], "the run was cancelled before: nothing more to say"
    thread.say("third")
    assert thread.cancel() == ["input.refused"]


MOVES = st.sampled_from(
    ["say", "reject", "interrupt", "rollback", "result", "approve", "decline", "cancel", "continue"]
)
ANSWERS = st.sampled_from(
    [
        Answer("fine"),
        wants("Read"),
        wants("Write"),
        wants("Read", "Write"),
        wants("Magic"),
        wants("Write", "Magic", "Read"),
    ]
)


@settings(max_examples=300)
@given(st.lists(st.tuples(MOVES, ANSWERS, ANSWERS, st.integers(0, 3)), max_size=25))
def test_any_life_of_a_thread_ends_every_run_once_and_keeps_a_history_that_providers_take(moves: list[Any]) -> None:
    thread = Thread()
    thread.say("hello")
    for move, one, two, pick in moves:
        head = thread.head
        assert head
        running = [p.call.call_id for p in head.pending if p.state == "running"]
        waiting = [p.call.call_id for p in head.pending if p.state == "approval"]
        if move in ("say", "reject", "interrupt", "rollback"):
            thread.say(move, one, two, strategy="enqueue" if move == "say" else move)
        elif move == "result" and running:
            thread.result(running[pick % len(running)], one, two)
        elif move == "approve" and waiting:
            thread.decide(waiting[pick % len(waiting)], "approve", one, two)
        elif move == "decline" and waiting:
            thread.decide(waiting[pick % len(waiting)], "reject", one, two)
        elif move == "cancel":
            thread.cancel()
        elif move == "continue" and head.run is None and head.queued:
            thread.go_on()
        check(thread)
    while thread.head and (thread.head.run or thread.head.queued):
        thread.cancel() if thread.head.run else thread.go_on()
        check(thread)
    ended = [e for e in thread.events if e.type in TERMINAL_TYPES]
    runs = [run_of(e) for e in ended]
    assert len(runs) == len(set(runs)), "a run ended twice"
    asked = {f"r{n}" for n in range(thread.count + 1)} & all_runs(thread)
    assert asked == set(runs), "a run never ended"


def run_of(event: StoredEvent) -> str:
    return str(json.loads(event.body)["run_id"])


def all_runs(thread: Thread) -> set[str]:
    return {run_of(e) for e in thread.events if e.type != "cauce.input.refused"}


def check(thread: Thread) -> None:
    head = thread.head
    assert head
    assert [e.seq for e in thread.events] == list(range(1, len(thread.events) + 1))
    seqs = [m.seq for m in thread.messages]
    assert seqs == sorted(set(seqs))
    assert head.next_message > max(seqs, default=0)
    if head.run is None:
        assert head.pending == ()
    else:
        assert any(p.state != "done" for p in head.pending), "a run that waits for nothing would hang"
    open_calls: dict[str, bool] = {}
    for message in (m.message for m in thread.messages):
        answer_to(message, open_calls)
    expected = {p.call.call_id for p in head.pending if p.state != "done"}
    assert set(open_calls) == expected


def answer_to(message: Message, open_calls: dict[str, bool]) -> None:
    if message.role == "tool":
        assert message.call_id in open_calls, "a result without its call"
        del open_calls[message.call_id or ""]
    else:
        assert not open_calls, "a call without a result before the next message"
        open_calls.update({c.call_id: True for c in message.tool_calls})


def change(thread: Thread, action: Any, **fields: Any) -> list[str]:
    new = NewInput("in", "in", "ana", "default", "x", "enqueue", START)
    draft = thread.draft(new)
    if thread.head is None:
        draft.head = ThreadHead(user_id="ana", created_at=thread.clock, updated_at=thread.clock)
    assert transitions.on_change(draft, ChangeThread(user_id="ana", action=action, **fields)) is Next.COMMIT
    return thread.commit(draft)


def test_thread_is_made_labelled_and_takes_its_title_from_its_first_message() -> None:
    thread = Thread()
    assert change(thread, "create", metadata={"a": 1, "b": None}) == ["thread.changed"]
    assert thread.head
    assert (thread.head.title, thread.head.metadata) == ("", {"a": 1})
    assert change(thread, "create") == ["input.refused"]

    thread.say("What mail do I have?", Answer(text="none"))
    assert thread.head.title == "What mail do I have?"
    assert change(thread, "update", title="Mail", metadata={"a": None, "c": [2]}) == ["thread.changed"]
    assert (thread.head.title, thread.head.metadata) == ("Mail", {"c": [2]})


def test_deleting_a_thread_ends_its_runs_and_leaves_nothing_that_a_late_message_could_revive() -> None:
    thread = Thread()
    thread.say("first", wants("Read"))
    thread.say("second")

    assert change(thread, "delete") == ["thread.changed"]

    told = [dict(o.headers)["ce_type"] for o in thread.outputs if o.topic is Topic.CHAT_RESPONSES][-4:]
    assert told == [b"cauce.run.cancelled", b"cauce.tool.finished", b"cauce.run.cancelled", b"cauce.thread.changed"]
    assert thread.head
    assert (thread.head.deleted, thread.head.run, thread.head.queued, thread.messages) == (True, None, (), [])
    assert thread.say("late") == ["run.failed"]
    assert thread.messages == []
    assert change(thread, "update", title="x") == ["input.refused"]


def test_every_end_of_a_run_is_kept_with_its_outcome() -> None:
    thread = Thread()
    thread.say("first", wants("Write"))
    draft = thread.draft()
    transitions.on_input(draft, NewInput("m2", "r2", "ana", "default", "no", "reject", START), LIMITS)
    thread.commit(draft)
    ends = [e for e in thread.events if e.type in TERMINAL_TYPES]
    kept = thread.runs
    assert [r.last_event for r in kept] == [e.seq for e in ends]
    assert [(r.outcome, r.code) for r in kept] == [("cancelled", "abandoned")]
