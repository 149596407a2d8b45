"""Events of a thread as the envelopes of the thread-centric protocol."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.gateway.answers import Answers
from connectors.gateway.feed import TextPiece
from connectors.gateway.legs import GraphPieces
from connectors.gateway.lg.graph_channels import GraphChannels, Told
from connectors.gateway.lg.graph_projection import StateOf
from connectors.gateway.lg.shapes import graph_id, interrupt
from connectors.gateway.lg.thread_state import ThreadState, dumps
from connectors.gateway.sse import HEARTBEAT_FRAME, frame
from connectors.gateway.thread_position import Position
from connectors.gateway.thread_stream import Heartbeat, StreamItem
from schemas import (
    ApprovalRequested,
    GraphStreamed,
    MessageAdded,
    MessagesRemoved,
    PendingCall,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    RunStarted,
    ThreadChanged,
    ThreadEvent,
    ToolFinished,
    ToolRequested,
)

CHANNELS = ("values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "tasks", "custom")
STEP = 1000
"""A thread's event n becomes envelopes with numbers from n times this on; pieces of text lie between."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reader subscribes to."""

    channels: frozenset[str]
    customs: frozenset[str] = frozenset()
    """Names of custom events; all where there are none."""
    namespaces: tuple[tuple[str, ...], ...] = ()
    """Prefixes of namespaces; all where there are none."""
    depth: int | None = None
    """How far below a prefix."""

    def has(self, told: Told) -> bool:
        """Whether this is for the reader."""
        channel = "input" if told.method == "input.requested" else told.method
        if channel not in self.channels:
            return False
        for prefix in self.namespaces or ((),):
            below = len(told.namespace) - len(prefix)
            if told.namespace[: len(prefix)] == prefix and (self.depth is None or below <= self.depth):
                return channel != "custom" or not self.customs or _name(told) in self.customs
        return False


class ThreadProjection:
    """Envelopes of a thread's events. Their ids follow from the thread alone: a client drops what it has seen, wherever it
    comes back."""

    def __init__(
        self,
        thread_id: str,
        wanted: Wanted,
        state: ThreadState,
        *,
        since: int,
        pending: tuple[PendingCall, ...] = (),
        graphs: Mapping[str, str],
        graph: str | None,
        state_of: StateOf,
    ) -> None:
        """`graphs` are the hosted graphs by their assistants, `graph` the one that the thread is of, if it is known."""
        self._thread_id, self._wanted, self._state, self._since = thread_id, wanted, state, since
        self._graphs, self._graph, self._channels = graphs, graph, GraphChannels(state_of)
        self.begin = max(0, since // STEP - 1)
        self._answers = Answers(Position())
        self._begun: set[str] = set()
        self._maybe_seen = since % STEP >= STEP // 2 and since % STEP != STEP - 1
        """The client may have pieces of the answer that comes next."""
        self._between = STEP // 2
        self._agents: dict[str, str] = {}
        self._of_graphs: set[str] = set()
        self._said_running: set[str] = set()
        self._asked = {p.call.call_id: (p.call.call_id, p.call.name, p.call.arguments) for p in pending}

    def rewind(self, coming: list[ThreadEvent]) -> None:
        """Takes back of the state what these events are going to bring."""
        self._state.without(coming)

    async def frames(self, items: AsyncIterator[StreamItem]) -> AsyncIterator[bytes]:
        """Frames for ever, or until the thread is deleted."""
        seq = self.begin
        async for item in items:
            if isinstance(item, Heartbeat):
                yield HEARTBEAT_FRAME
            elif isinstance(item, TextPiece | GraphPieces):
                for told in self._early(item):
                    self._between = min(self._between + 1, STEP - 2)
                    if self._wanted.has(told):
                        yield self._frame(told, seq * STEP + self._between)
            elif isinstance(item, ThreadEvent):  # a result before its event would have to have the event's id
                for n, told in enumerate(await self._event(item)):
                    number = item.seq * STEP + min(n, STEP // 2 - 1)
                    if number > self._since and self._wanted.has(told):
                        yield self._frame(told, number)
                seq, self._between = item.seq, STEP // 2
                if isinstance(item, ThreadChanged) and item.action == "delete":
                    return

    def _early(self, item: TextPiece | GraphPieces) -> list[Told]:
        """What comes before its event. A run works; said with its first word already, since its events come when its first
        turn is journaled."""
        if isinstance(item, TextPiece):
            return [] if item.run_id in self._of_graphs else self._piece(item)
        self._of_graphs.add(item.run_id)
        begun = [] if item.run_id in self._said_running else [self._running(item.run_id)]
        return [*begun, *self._channels.pieces(item)]

    def _frame(self, told: Told, number: int) -> bytes:
        event_id = told.event_id or f"{self._thread_id}:{number}"
        envelope = (
            f'{{"type":"event","event_id":{dumps(event_id)},"seq":{number},"method":"{told.method}",'
            f'"params":{{"namespace":{dumps(told.namespace)},"timestamp":{int(time.time() * 1000)},"data":{told.data}}}}}'
        )
        return frame(told.method, envelope, position=str(number))

    async def _event(self, event: ThreadEvent) -> list[Told]:
        if isinstance(event, GraphStreamed):
            self._of_graphs.add(event.run_id)
            return await self._channels.streamed(event)
        if isinstance(event, RunStarted) and event.agent_id in self._graphs:
            self._of_graphs.add(event.run_id)
        if event.run_id not in self._of_graphs:
            return self._agent_event(event)
        if isinstance(event, MessageAdded):
            self._state.apply(event)
            return self._channels.added(event)
        if isinstance(event, RunPaused):
            return [*self._channels.paused(event), self._lifecycle(event, "interrupted")]
        if isinstance(event, RunCompleted | RunFailed | RunCancelled):
            return [*self._channels.end(), *self._agent_event(event)]
        return self._agent_event(event)

    def _agent_event(self, event: ThreadEvent) -> list[Told]:
        """Of an agent's run, and what all runs have in common."""
        message = self._state.apply(event)
        run = event.run_id
        if isinstance(event, RunStarted):
            self._agents[run] = event.agent_id
            return [self._running(run)]
        if isinstance(event, MessageAdded) and message:
            made = self._message(event) if event.message.role == "assistant" else []
            if made:
                made.append(Told("updates", dumps({"agent": {"messages": [message]}})))
            return [*made, Told("values", self._state.values())]
        if isinstance(event, ToolRequested):
            told = {
                "event": "tool-started",
                "tool_call_id": event.call_id,
                "tool_name": event.name,
                "input": event.arguments,
            }
            return [Told("tools", dumps(told))]
        if isinstance(event, ToolFinished) and message:
            told = {"event": "tool-finished", "tool_call_id": event.call_id, "output": event.content}
            if event.status != "ok":
                told = {"event": "tool-error", "tool_call_id": event.call_id, "message": event.content}
            updates = dumps({"tools": {"messages": [message]}})
            return [Told("tools", dumps(told)), Told("updates", updates), Told("values", self._state.values())]
        if isinstance(event, MessagesRemoved):
            return [Told("values", self._state.values())]
        if isinstance(event, ApprovalRequested):
            self._asked[event.call_id] = (event.call_id, event.name, event.arguments)
        elif isinstance(event, RunPaused):
            calls = [self._asked.get(call_id, (call_id, "", {})) for call_id in event.call_ids]
            asked = interrupt(self._thread_id, run, calls)
            told = {"interrupt_id": asked["id"], "payload": asked["value"], "value": asked["value"]}
            return [
                Told("input.requested", dumps(told), f"synth:{run}:input||{asked['id']}"),
                self._lifecycle(event, "interrupted"),
            ]
        elif isinstance(event, RunCompleted):
            return [self._lifecycle(event, "completed")]
        elif isinstance(event, RunFailed):
            return [self._lifecycle(event, "failed", error=event.message)]
        elif isinstance(event, RunCancelled):
            return [self._lifecycle(event, "interrupted")]
        return []

    def _lifecycle(self, event: ThreadEvent, what: str, **more: str) -> Told:
        told = {"event": what, "graph_name": self._name_of(event.run_id), **more}
        return Told("lifecycle", dumps(told), f"synth:{event.run_id}:lc|{event.seq}|{what}")

    def _name_of(self, run_id: str) -> str:
        agent_id = self._agents.get(run_id)
        if agent_id is not None and agent_id in self._graphs:
            return self._graphs[agent_id]
        return self._graph or "graph" if run_id in self._of_graphs else graph_id(agent_id or "default")

    def _running(self, run_id: str) -> Told:
        """A run works."""
        self._said_running.add(run_id)
        told = {"event": "running", "graph_name": self._name_of(run_id)}
        return Told("lifecycle", dumps(told), f"synth:{run_id}:lc||running")

    def _message(self, event: MessageAdded) -> list[Told]:
        """The end of an answer, and its beginning where nobody saw it being written."""
        message = event.message
        made = self._begin(message.message_id)
        rest, _ = self._answers.rest(message.message_id, message.text)
        if rest and not self._maybe_seen:
            made.append(self._delta(message.message_id, len(message.text) - len(rest), rest))
        self._maybe_seen = False
        done = {"event": "content-block-finish", "index": 0, "content": {"type": "text", "text": message.text}}
        made += [
            Told("messages", dumps(done), f"{message.message_id}:block"),
            Told("messages", dumps({"event": "message-finish", **_usage(event)}), f"{message.message_id}:finish"),
        ]
        self._begun.discard(message.message_id)
        return made

    def _piece(self, piece: TextPiece) -> list[Told]:
        fresh, seen = ("", 0) if self._maybe_seen else self._answers.fresh(piece)
        if not fresh:
            return []
        begun = [] if piece.run_id in self._said_running else [self._running(piece.run_id)]
        return [*begun, *self._begin(piece.message_id), self._delta(piece.message_id, seen - len(fresh), fresh)]

    def _begin(self, message_id: str) -> list[Told]:
        if message_id in self._begun:
            return []
        self._begun.add(message_id)
        start = {"event": "message-start", "role": "ai", "id": message_id}
        block = {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}}
        return [
            Told("messages", dumps(start), f"{message_id}:start"),
            Told("messages", dumps(block), f"{message_id}:block-start"),
        ]

    def _delta(self, message_id: str, offset: int, text: str) -> Told:
        told = {"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": text}}
        return Told("messages", dumps(told), f"{message_id}:{offset}")


def _name(told: Told) -> str:
    """Of a custom event."""
    data = json.loads(told.data)
    return str(data.get("name", "")) if isinstance(data, dict) else ""


def _usage(event: MessageAdded) -> dict[str, Any]:
    usage = event.message.usage
    if usage is None:
        return {}
    counts = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens, "total_tokens": usage.total}
    return {"usage": counts}
