"""What starts a run, as its thread keeps it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from schemas.base import Stored, Timestamp
from schemas.graphs import GraphRequest
from schemas.ids import Id

RunKind = Literal["agent", "graph"]
"""What does the work of a run: the tenant's own agent, or a hosted graph."""


class Input(Stored):
    """What starts a run: a message, an external event or a graph's request, as its thread keeps it.

    Whole while it waits until the run before it is over; its run, once that goes, has all of it but the text.
    """

    input_id: Id
    run_id: Id
    user_id: Id
    agent_id: Id
    text: str = ""
    """The message. With a graph's request it is only for the thread's title: the graph creates the messages."""
    at: Timestamp
    message_id: Id | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    origin: Literal["event"] | None = None
    """`event` where no user wrote the text."""
    kind: RunKind = "agent"
    graph: GraphRequest | None = None
    """The request to the graph, if the kind is `graph`."""
    after: int | None = None
    """As in `UserMessage`."""
    time_zone: str | None = None
    """Where the message named one."""

    @model_validator(mode="before")
    @classmethod
    def _kind_of_older_ones(cls, fields: Any) -> Any:
        """What was stored before there were kinds is a graph's where it says what a graph is to do."""
        if isinstance(fields, dict) and "kind" not in fields and fields.get("graph") is not None:
            return {**fields, "kind": "graph"}
        return fields

    @property
    def graph_name(self) -> str:
        """The hosted graph's; empty for the tenant's own agent."""
        return self.graph.graph if self.graph else ""

    def started(self, text: str = "") -> Input:
        """As `RunStarted` carries it: the text is a message from then on, the metadata are the event's own, and what a graph
        is given is in the graph's state."""
        graph = self.graph.without_input() if self.graph else None
        return self.model_copy(update={"text": text, "metadata": {}, "graph": graph})
