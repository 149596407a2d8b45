"""Open questions: what a thread waits for its user to answer, whatever asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

QuestionKind = Literal["approval", "interrupt"]
"""`approval`: may this tool call be made? `interrupt`: what a hosted graph asks."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question that has not been answered."""

    kind: QuestionKind
    id: str
    """The id of the tool call or of the interrupt."""
    answered_by: str
    """The user who may answer."""
    value: Any
    """The arguments of the call for an approval; the value of an interrupt."""
    name: str = ""
    """The tool, for an approval."""
    concerns: Mapping[str, str] = field(default_factory=dict)
    """For an approval, as in `ApprovalRequested`."""
    namespace: tuple[str, ...] = ()
    """The subgraph that asks, for an interrupt; empty for the graph itself."""

    @property
    def sentence(self) -> str:
        """An approval as a sentence: which tool, and what the ids among its arguments stand for."""
        known = (f" {argument} is {thing}." for argument, thing in self.concerns.items())
        return f"{self.name} waits for your approval.{''.join(known)}"

    @classmethod
    def about(
        cls,
        call_id: str,
        name: str,
        arguments: dict[str, Any],
        *,
        answered_by: str,
        concerns: Mapping[str, str] | None = None,
    ) -> Question:
        """Whether a tool call may be made."""
        return cls("approval", call_id, answered_by, arguments, name, concerns or {})
