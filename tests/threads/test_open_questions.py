"""What a thread waits for its user with is one list, and readers of old pauses find what of it is still open."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from schemas import ApprovalRequested, GraphInterrupt, RunPaused, ThreadHead
from threads.open_questions import Questions

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
TIMES = {"created_at": NOON.isoformat(), "updated_at": NOON.isoformat()}
RUN = {"input_id": "i", "run_id": "r", "user_id": "u", "agent_id": "a", "first_message": 1}
RUN |= {"at": NOON.isoformat(), "started_at": NOON.isoformat(), "resumed_at": NOON.isoformat()}
ASKS = {"id": "q", "value": "Which colour?", "namespace": ["painter:1"]}


def head(**fields: Any) -> ThreadHead:
    """As the store has it."""
    return ThreadHead.model_validate_json(json.dumps({"user_id": "u", **TIMES, "next_event": 10} | fields))


def a_call(call_id: str, state: str) -> dict[str, Any]:
    return {"call": {"call_id": call_id, "name": "Mail_Send", "arguments": {"to": call_id}}, "state": state}


def pause(seq: int, *call_ids: str, interrupts: tuple[str, ...] = ()) -> RunPaused:
    asked = tuple(GraphInterrupt(id=one, value="?") for one in interrupts)
    reason: Any = "approval" if call_ids else "interrupt"
    return RunPaused(
        seq=seq, run_id="r", user_id="u", at=NOON, reason=reason, call_ids=tuple(call_ids), interrupts=asked
    )


def test_approvals_and_interrupts_are_questions_of_one_list() -> None:
    waiting = head(run=RUN, pending=[a_call("c1", "approval"), a_call("c2", "done"), a_call("c3", "approval")])
    assert [(q.kind, q.id, q.name, q.value, q.answered_by) for q in waiting.questions] == [
        ("approval", "c1", "Mail_Send", {"to": "c1"}, "u"),
        ("approval", "c3", "Mail_Send", {"to": "c3"}, "u"),
    ]
    assert (waiting.paused, waiting.condition) == (True, "approval")

    paused = head(run=RUN | {"paused": True, "interrupts": [ASKS], "graph": {"graph": "g"}})
    (asked,) = paused.questions
    assert (asked.kind, asked.id, asked.value, asked.namespace) == ("interrupt", "q", "Which colour?", ("painter:1",))
    assert (paused.paused, paused.interrupts, paused.approvals) == (True, (asked,), ())


def test_question_of_a_run_that_failed_stays_open_although_nothing_is_paused() -> None:
    failed = head(asks=[ASKS])
    assert [q.id for q in failed.questions] == ["q"]
    assert not failed.paused


def test_run_that_still_works_is_not_paused_whatever_it_has_asked() -> None:
    works = head(run=RUN, pending=[a_call("c1", "running"), a_call("c2", "approval")])
    assert [q.id for q in works.questions] == ["c2"]
    assert (works.paused, works.condition) == (False, "busy")


def test_of_a_pause_of_the_past_those_are_open_that_the_head_still_has() -> None:
    questions = Questions(head(run=RUN, pending=[a_call("c1", "done"), a_call("c2", "approval")]))
    assert [q.id for q in questions.open_of(pause(5, "c1", "c2"))] == ["c2"]
    assert [q.id for q in questions.all_of(pause(5, "c1", "c2"))] == ["c1", "c2"]
    assert questions.waits(pause(5, "c1", "c2"))
    assert not questions.waits(pause(3, "c0"))


def test_of_a_pause_behind_the_look_all_is_open() -> None:
    questions = Questions(head(run=RUN))
    questions.asked(
        ApprovalRequested(seq=10, run_id="r", user_id="u", at=NOON, call_id="c9", name="Mail_Send", arguments={"a": 1})
    )
    assert [(q.id, q.name, q.value) for q in questions.open_of(pause(11, "c9"))] == [("c9", "Mail_Send", {"a": 1})]
    assert [q.id for q in questions.open_of(pause(12, interrupts=("q1", "q2")))] == ["q1", "q2"]


def test_graph_that_stops_at_a_node_waits_without_a_question_until_it_is_resumed() -> None:
    stopped = RUN | {"paused": True, "graph": {"graph": "g"}}
    assert Questions(head(run=stopped)).waits(pause(5))
    assert not Questions(head(run=stopped | {"paused": False})).waits(pause(5))
    assert not Questions(head(run=stopped | {"run_id": "another"})).waits(pause(5))
    assert Questions(head(run=RUN)).waits(pause(10))


def test_pauses_are_told_as_they_were_to_a_reader_for_whom_nothing_is_past() -> None:
    questions = Questions(head(run=RUN, pending=[a_call("c1", "done")]), past=0)
    assert [q.id for q in questions.open_of(pause(5, "c1"))] == ["c1"]
