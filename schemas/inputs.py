"""What starts a run, as its thread keeps it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from schemas.base import Stored, Timestamp
from schemas.graphs import GraphRequest
from schemas.ids import Id


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
    graph: GraphRequest | None = None
    """What a run of a graph is to do; None for an agent's run."""
    after: int | None = None
    """As in `UserMessage`."""
    time_zone: str | None = None
    """Where the message named one."""

    def started(self, text: str = "") -> Input:
        """As its run has it: the text is a message from then on, and what a graph is told is in the graph's state. Every turn
        writes the head again."""
        graph = self.graph.without_words() if self.graph else None
        return self.model_copy(update={"text": text, "graph": graph})
