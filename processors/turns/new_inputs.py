"""The input that a record is, for a run to begin with."""

from __future__ import annotations

from typing import Any

from schemas import ExternalEvent, GraphInput, Input, MultitaskStrategy, Record, UserMessage
from threads import graph_transitions

STARTING = frozenset({UserMessage.TYPE, ExternalEvent.TYPE, GraphInput.TYPE})
"""Types of inputs that start runs."""


def new_input(record: Record) -> Input:
    """The input that a user message, a graph's input or an external event is."""
    body, envelope = record.body, record.envelope
    about: dict[str, Any] = {}
    if isinstance(body, UserMessage):
        names = ("text", "message_id", "metadata", "after", "time_zone")
        about = {name: getattr(body, name) for name in names}
    elif isinstance(body, GraphInput):
        text = graph_transitions.first_text(body.request)
        about = {"text": text, "metadata": body.metadata, "kind": "graph", "graph": body.request}
    else:
        about = {"text": body.summary, "origin": "event"}
    return Input(
        input_id=envelope.id,
        run_id=getattr(body, "run_id", None) or envelope.id,
        user_id=body.user_id,
        agent_id=body.agent_id,
        at=envelope.time,
        **about,
    )


def strategy_of(body: UserMessage | ExternalEvent | GraphInput) -> MultitaskStrategy:
    """What is to happen where a run is active already. External events are queued."""
    return "enqueue" if isinstance(body, ExternalEvent) else body.multitask_strategy
