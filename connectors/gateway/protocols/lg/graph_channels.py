"""What graphs stream as the channels of the thread-centric protocol have it (`langchain-protocol`): of subgraphs, too, by
their namespaces.

Ids follow from legs, parts and messages alone, so that a client that comes back, anywhere, drops what it has seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from connectors.gateway.protocols.lg.graph_projection import asks
from connectors.gateway.protocols.lg.message_events import ChannelEvent, OpenMessage
from connectors.gateway.protocols.lg.message_shapes import to_langchain
from connectors.gateway.protocols.lg.subgraph_events import Subgraphs
from connectors.gateway.protocols.lg.thread_state import ThreadState, dumps
from connectors.graphs.graph_states import StateOf
from core.following.feed import TextPiece
from core.following.graph_reader import GraphPieces, LegReader, Part, written
from core.following.position import Position
from schemas import GraphStreamed, MessageAdded, Question

MODES = ("values", "updates", "messages-tuple", "custom", "tasks", "checkpoints", "tools")
"""What a graph streams for the channels."""


class GraphChannels:
    """The graphs of one thread, for one reader."""

    def __init__(self, state_of: StateOf, *, wrap_custom: bool) -> None:
        """`wrap_custom` gives what a graph writes as the protocol has it, in `payload`; else as it was written."""
        self._state_of, self._wrap_custom = state_of, wrap_custom
        self._legs = LegReader(Position())
        self._writing: dict[str, OpenMessage] = {}
        self._done: set[str] = set()
        self._sent = (("", -1), 0)
        """The newest part, and how much was sent of its message."""
        self._subgraphs: dict[str, Subgraphs] = {}
        self._tools: set[str] = set()
        """Calls of tools that were sent."""
        self._calls: dict[str, tuple[str, Any]] = {}
        """Calls in the thread's messages: their names and arguments."""

    def pieces(self, item: GraphPieces) -> list[tuple[int, list[ChannelEvent]]]:
        """What comes while the graph runs, by the parts of its leg."""
        made: list[tuple[int, list[ChannelEvent]]] = []
        for piece in item.pieces:
            if part := self._legs.live(item.leg, piece):
                made.append((part.index, self._part(item.run_id, item.leg, part, part.data)))
        return made

    async def streamed(self, event: GraphStreamed) -> list[ChannelEvent]:
        """What of an event did not come before."""
        part = self._legs.stored(event)
        if part is None:
            return []
        data = part.data
        if data is None and part.checkpoint_id:
            data = await self._state_of(part.checkpoint_id, part.namespace)
        return self._part(event.run_id, event.leg, part, data)

    def paused(self, run_id: str, questions: Iterable[Question]) -> list[ChannelEvent]:
        """A request for each question."""
        made = self.end("interrupted")
        for asked in questions:
            data = {"interrupt_id": asked.id, "payload": asked.value, "value": asked.value}
            event_id = f"synth:{run_id}:input||{asked.id}"
            made.append(ChannelEvent("input.requested", dumps(data), event_id, asked.namespace))
        return made

    def text(self, piece: TextPiece) -> list[ChannelEvent]:
        """Nothing: a graph's text arrives as its pieces."""
        return []

    def added(self, event: MessageAdded, _: Mapping[str, Any] | None, __: ThreadState) -> list[ChannelEvent]:
        """Results of tools that ran unseen by LangGraph, as the thread's messages have them."""
        message, made = event.message, self._finish(event.message.message_id)
        self._calls |= {call.call_id: (call.name, call.arguments) for call in message.tool_calls}
        call_id = message.call_id
        if message.role != "tool" or not call_id or call_id in self._tools:
            return made
        self._tools.add(call_id)
        name, arguments = self._calls.get(call_id, (message.tool_name or "", None))
        begun = {"event": "tool-started", "tool_call_id": call_id, "tool_name": name, "input": arguments}
        done = {"event": "tool-finished", "tool_call_id": call_id, "output": to_langchain(message)}
        if message.failed:
            done = {"event": "tool-error", "tool_call_id": call_id, "message": message.text}
        return [
            *made,
            ChannelEvent("tools", dumps(begun), f"tool:{call_id}:started"),
            ChannelEvent("tools", dumps(done), f"tool:{call_id}:finished"),
        ]

    def end(self, what: str) -> list[ChannelEvent]:
        """The leg is over: what is being written is whole, and subgraphs are as the run is."""
        made = [event for message_id in list(self._writing) for event in self._finish(message_id)]
        made += [event for subgraphs in self._subgraphs.values() for event in subgraphs.end(what)]
        self._subgraphs.clear()
        return made

    def _part(self, run_id: str, leg: str, part: Part, data: Any) -> list[ChannelEvent]:
        event_id, made = f"{leg}:{part.index}", list[ChannelEvent]()
        if part.mode == "messages":
            return self._message(leg, part)
        if part.mode == "updates" and isinstance(data, Mapping):
            made += self._finish_of(part.namespace, data)
        if data is None or (part.mode in ("updates", "values") and asks(data)):
            return made
        if part.mode == "tasks":
            lives = self._subgraphs.setdefault(leg, Subgraphs(run_id, leg)).task(part.namespace, data)
            return [ChannelEvent(part.mode, dumps(data), event_id, part.namespace), *lives]
        if part.mode == "tools" and isinstance(data, Mapping):
            self._tools.add(str(data.get("tool_call_id")))
        elif part.mode == "custom" and self._wrap_custom:
            data = _wrapped(data)
        elif part.mode == "checkpoints":
            data = _checkpoint(data)
        return [*made, ChannelEvent(part.mode, dumps(data), event_id, part.namespace)]

    def _message(self, leg: str, part: Part) -> list[ChannelEvent]:
        """A model's message as it grows. Other messages are in the state, and in updates."""
        if not isinstance(part.data, list) or part.data[0].get("type") not in ("ai", "AIMessageChunk"):
            return []
        message, about = part.data[0], part.data[1] if len(part.data) > 1 else {}
        message_id = str(message.get("id"))
        if message_id in self._done:
            return []
        task = str(about.get("langgraph_checkpoint_ns") or about.get("langgraph_node") or "")
        made, open_one = list[ChannelEvent](), self._writing.get(message_id)
        if open_one is None:
            for other in [o for o in self._writing.values() if (o.namespace, o.task) == (part.namespace, task)]:
                made += self._finish(other.message_id)
            open_one = self._writing[message_id] = OpenMessage(message_id, part.namespace, task)
            made.append(open_one.start(about))
        of, offset = self._sent
        grown, offset = open_one.add(message, offset if of == (leg, part.index) else 0)
        self._sent = ((leg, part.index), offset)
        whole = written(part.mode, part.data) is None
        return [*made, *grown, *(self._finish(message_id) if whole else ())]

    def _finish_of(self, namespace: tuple[str, ...], nodes: Iterable[str]) -> list[ChannelEvent]:
        """Nodes are done, and so are the messages that were written in them."""
        done = [
            o.message_id
            for o in self._writing.values()
            if o.namespace == namespace and o.task.rpartition("|")[2].partition(":")[0] in nodes
        ]
        return [event for message_id in done for event in self._finish(message_id)]

    def _finish(self, message_id: str) -> list[ChannelEvent]:
        self._done.add(message_id)
        open_one = self._writing.pop(message_id, None)
        return open_one.finish() if open_one else []


def _wrapped(data: Any) -> Any:
    """As the protocol has it, with a name where the graph gave one, which `custom:name` subscribes to."""
    name = data.get("name") if isinstance(data, Mapping) else None
    if isinstance(name, str) and "payload" in data:
        return data
    return {"name": name, "payload": data} if isinstance(name, str) else {"payload": data}


def _checkpoint(data: Any) -> Any:
    """The reference that a fork needs, of LangGraph's whole snapshot."""
    if not isinstance(data, Mapping):
        return data
    metadata = data.get("metadata") or {}
    made = {"id": _id_of(data.get("config")), "step": metadata.get("step"), "source": metadata.get("source")}
    parent = _id_of(data.get("parent_config"))
    return {**made, "parent_id": parent} if parent else made


def _id_of(config: Any) -> Any:
    return ((config or {}).get("configurable") or {}).get("checkpoint_id")
