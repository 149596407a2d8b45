"""What an event says of itself, so that no reader of events has a list of them that could lack one."""

from __future__ import annotations

from schemas import ApprovalResolved, RunResumed, RunStarted, ThreadEvent

ALL = set(ThreadEvent.__subclasses__())


def test_an_event_with_the_id_of_an_input_begins_a_run_with_it_or_answers_it() -> None:
    named = {kind for kind in ALL if "input_id" in kind.model_fields}
    assert {kind for kind in ALL if kind.ANSWERS} == named - {RunStarted, RunResumed}


def test_what_answers_an_input_is_of_no_run_but_for_a_decision_of_a_paused_one() -> None:
    assert {kind for kind in ALL if kind.ANSWERS and kind.OF_RUN} == {ApprovalResolved}
