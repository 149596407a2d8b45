"""Random lives of a thread keep the invariants, without servers."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from transition_kit import Thread, wants

from schemas import TERMINAL_TYPES, Message, StoredEvent
from threads.leg_ends import Answer

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
