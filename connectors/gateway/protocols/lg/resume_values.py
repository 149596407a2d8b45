"""Answers to interrupts: from the shapes that clients send to decisions on calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connectors.gateway.protocols.lg.shapes import interrupts
from core.refusals import Conflict, Invalid, shown, unfit
from schemas import Question, ThreadHead


def decisions_of(thread_id: str, head: ThreadHead, resume: object) -> dict[str, dict[str, Any]]:
    """By call: what is decided. `resume` is `{"decisions": [...]}`, such a list, one decision, or these by interrupt id.

    Raises `Refused` 409 when nothing is open, 422 when the answer does not fit what was asked.
    """
    asked = interrupts(thread_id, head)
    if not asked:
        raise Conflict("no_such_interrupt", "Nothing waits for an answer in this thread.")
    if isinstance(resume, Mapping) and "decisions" not in resume and "type" not in resume:
        if set(resume) != {asked[0]["id"]}:
            raise Conflict(
                "no_such_interrupt",
                f"This answers the interrupt {shown(list(resume))}, but the open one is {asked[0]['id']}.",
            )
        resume = resume[asked[0]["id"]]
    if isinstance(resume, Mapping):
        resume = resume.get("decisions", [resume])
    calls = head.approvals
    if not isinstance(resume, Sequence) or isinstance(resume, str) or len(resume) != len(calls):
        detail = f"Answer with one decision for each of the {len(calls)} calls that wait, in their order."
        raise Invalid("decisions_do_not_fit", detail)
    return {asked.id: _decision(asked, given) for asked, given in zip(calls, resume, strict=True)}


def _decision(asked: Question, given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise unfit("a decision", given, 'an object such as {"type": "approve"}', code="decisions_do_not_fit")
    kind = given.get("type")
    if kind == "approve":
        return {"decision": "approve"}
    if kind == "reject":
        return {"decision": "reject", "message": given.get("message")}
    if kind == "respond":
        return {"decision": "respond", "message": given.get("message")}
    if kind == "edit":
        edited = given.get("edited_action")
        if not isinstance(edited, Mapping) or not isinstance(edited.get("args"), Mapping):
            raise unfit("edited_action", edited, "an object with name and args", code="decisions_do_not_fit")
        if edited.get("name", asked.name) != asked.name:
            allowed = f"{asked.name}: an edit changes only arguments"
            raise unfit("edited_action.name", edited["name"], allowed, code="decisions_do_not_fit")
        return {"decision": "edit", "arguments": dict(edited["args"])}
    raise unfit("type of a decision", kind, "approve, edit, reject or respond", code="decisions_do_not_fit")
