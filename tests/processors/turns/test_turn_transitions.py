"""What inputs do to a thread, without servers: tables for what is promised."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from transition_kit import LIMITS, START, Thread, an_input, wants

from schemas import QUEUED_BYTES, TERMINAL_TYPES, ChangeThread, ContinueThread, ThreadHead, ThreadTtl, TokenUsage, Topic
from threads import transitions
from threads.leg_ends import Answer, AskedTool
from threads.transitions import Next


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


@pytest.mark.parametrize("character", ["x", "😀", "\0"], ids=["one byte", "four bytes", "six bytes as JSON"])
def test_inputs_that_are_too_large_together_to_wait_in_the_head_are_refused_in_words(character: str) -> None:
    thread = Thread()
    thread.say("first", wants("Read"))
    half = character * (QUEUED_BYTES // 2 // len(json.dumps(character, ensure_ascii=False)[1:-1].encode()))
    assert thread.say(half) == ["run.queued"]
    assert thread.say(half) == ["run.failed"]
    assert "wait already" in thread.runs[-1].message
    assert thread.say("small") == ["run.queued"]
    assert thread.head
    assert len(thread.head.to_bytes()) < QUEUED_BYTES + 10_000, "Cassandra takes the head"


def test_queued_inputs_with_one_run_id_are_each_started() -> None:
    """Their clients choose it."""
    thread = Thread()
    thread.say("first", wants("Read"))
    for text in ("second", "third"):
        new = an_input(f"in-{text}", text, thread.clock, run_id="same")
        draft = thread.draft(new)
        thread.finish(draft, transitions.on_input(draft, new, LIMITS))
    thread.result(thread.requested[0].call_id)
    assert thread.go_on()[0] == "run.started"
    assert [waiting.text for waiting in thread.head.queued] == ["third"]  # type: ignore[union-attr]


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
    assert "may have been executed" in thread.texts[2]


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


def change(thread: Thread, action: Any, **fields: Any) -> list[str]:
    new = an_input("in", "x", START, user_id="ana")
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


def test_thread_whose_time_is_up_goes_only_if_it_still_says_so_and_nothing_runs_in_it() -> None:
    thread, first, longer = Thread(), ttl_of(1), ttl_of(60)
    change(thread, "create", ttl=first)
    change(thread, "update", ttl=longer)
    assert change(thread, "delete", expired=first.expires_at) == []
    thread.say("first", wants("Read"))
    assert change(thread, "delete", expired=longer.expires_at) == []
    assert thread.result(thread.requested[0].call_id)[-1] == "run.completed"
    assert change(thread, "delete", expired=longer.expires_at) == ["thread.changed"]
    assert thread.head
    assert thread.head.deleted
    assert change(thread, "delete", expired=longer.expires_at) == []


def ttl_of(minutes: float) -> ThreadTtl:
    return ThreadTtl(minutes=minutes, expires_at=START + timedelta(minutes=minutes))


def test_every_end_of_a_run_is_kept_with_its_outcome() -> None:
    thread = Thread()
    thread.say("first", wants("Write"))
    draft = thread.draft()
    transitions.on_input(draft, an_input("m2", "no", START, run_id="r2", user_id="ana"), LIMITS, "reject")
    thread.commit(draft)
    ends = [e for e in thread.events if e.type in TERMINAL_TYPES]
    kept = thread.runs
    assert [r.last_event for r in kept] == [e.seq for e in ends]
    assert [(r.outcome, r.code) for r in kept] == [("cancelled", "abandoned")]
