"""Open questions: what a thread waits for its user to answer, whatever asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

QuestionKind = Literal["approval", "interrupt"]
"""`approval`: may this tool call be made? `interrupt`: what a hosted graph asks."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question that has not been answered."""

    kind: QuestionKind
    id: str
    """Of the tool call, or of the interrupt."""
    answered_by: str
    """The user who may answer."""
    value: Any
    """Of an approval the arguments of the call, of an interrupt what the graph asks."""
    name: str = ""
    """Of an approval: the tool."""
    namespace: tuple[str, ...] = ()
    """Of an interrupt: the subgraph that asks, empty for the graph itself."""

    @classmethod
    def about(cls, call_id: str, name: str, arguments: dict[str, Any], *, answered_by: str) -> Question:
        """Whether a tool call may be made."""
        return cls("approval", call_id, answered_by, arguments, name)
