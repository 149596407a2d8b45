"""What graphs stream as the channels of the thread-centric protocol have it (`langchain-protocol`): of subgraphs, too, by
their namespaces.

Ids follow from legs, parts and messages alone, so that a client that comes back, anywhere, drops what it has seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from connectors.gateway.legs import GraphPieces, LegReader, Part, written
from connectors.gateway.lg.graph_projection import StateOf, asks
from connectors.gateway.lg.thread_state import dumps
from connectors.gateway.thread_position import Position
from schemas import GraphStreamed, MessageAdded, RunPaused

MODES = ("values", "updates", "messages-tuple", "custom", "tasks", "checkpoints")
"""What a graph streams for the channels."""


class Told(NamedTuple):
    """An envelope's content. Without an id it is known by its number in the thread."""

    method: str
    data: str
    event_id: str = ""
    namespace: tuple[str, ...] = ()


@dataclass
class _Open:
    """A message that is being written."""

    message_id: str
    namespace: tuple[str, ...]
    task: str
    text: str = ""


class GraphChannels:
    """The graphs of one thread, for one reader."""

    def __init__(self, state_of: StateOf) -> None:
        self._state_of = state_of
        self._legs = LegReader(Position())
        self._writing: dict[str, _Open] = {}
        self._done: set[str] = set()

    def pieces(self, item: GraphPieces) -> list[Told]:
        """What comes while the graph runs."""
        made: list[Told] = []
        for piece in item.pieces:
            if part := self._legs.live(item.leg, piece):
                made += self._part(item.leg, part, part.data)
        return made

    async def streamed(self, event: GraphStreamed) -> list[Told]:
        """What of an event did not come before."""
        part = self._legs.stored(event)
        if part is None:
            return []
        data = part.data
        if data is None and part.checkpoint_id:
            data = await self._state_of(part.checkpoint_id, part.namespace)
        return self._part(event.leg, part, data)

    def paused(self, event: RunPaused) -> list[Told]:
        """A request for each interrupt."""
        made = self.end()
        for asked in event.interrupts:
            told = {"interrupt_id": asked.id, "payload": asked.value, "value": asked.value}
            event_id = f"synth:{event.run_id}:input||{asked.id}"
            made.append(Told("input.requested", dumps(told), event_id, asked.namespace))
        return made

    def added(self, event: MessageAdded) -> list[Told]:
        """Tools that a model of the graph called, and what came of them, as the thread's messages tell it."""
        message, made = event.message, self._finish(event.message.message_id)
        for call in message.tool_calls:
            told: dict[str, Any] = {
                "event": "tool-started",
                "tool_call_id": call.call_id,
                "tool_name": call.name,
                "input": call.arguments,
            }
            made.append(Told("tools", dumps(told), f"tool:{call.call_id}:started"))
        if message.role == "tool":
            told = {"event": "tool-finished", "tool_call_id": message.call_id, "output": message.text}
            if message.failed:
                told = {"event": "tool-error", "tool_call_id": message.call_id, "message": message.text}
            made.append(Told("tools", dumps(told), f"tool:{message.call_id}:finished"))
        return made

    def end(self) -> list[Told]:
        """The leg is over: what is being written is whole."""
        return [told for message_id in list(self._writing) for told in self._finish(message_id)]

    def _part(self, leg: str, part: Part, data: Any) -> list[Told]:
        event_id, made = f"{leg}:{part.index}", list[Told]()
        if part.mode == "messages":
            return self._message(part)
        if part.mode == "updates" and isinstance(data, Mapping):
            made += self._finish_of(part.namespace, data)
        if data is None or (part.mode in ("updates", "values") and asks(data)):
            return made
        if part.mode == "custom":
            data = _custom(data)
        elif part.mode == "checkpoints":
            data = _checkpoint(data)
        return [*made, Told(part.mode, dumps(data), event_id, part.namespace)]

    def _message(self, part: Part) -> list[Told]:
        """A model's text as it grows. Other messages are in the state, and in updates."""
        if not isinstance(part.data, list) or part.data[0].get("type") not in ("ai", "AIMessageChunk"):
            return []
        message, about = part.data[0], part.data[1] if len(part.data) > 1 else {}
        message_id = str(message.get("id"))
        whole = written(part.mode, part.data) is None
        if message_id in self._done or not (part.fresh or whole):
            return []
        task = str(about.get("langgraph_checkpoint_ns") or about.get("langgraph_node") or "")
        made, open_one = list[Told](), self._writing.get(message_id)
        if open_one is None:
            for other in [o for o in self._writing.values() if (o.namespace, o.task) == (part.namespace, task)]:
                made += self._finish(other.message_id)
            open_one = self._writing[message_id] = _Open(message_id, part.namespace, task)
            start = {"event": "message-start", "role": "ai", "id": message_id, "metadata": {**_node(about)}}
            block = {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}}
            made += [self._told(open_one, start, "start"), self._told(open_one, block, "block-start")]
        if part.fresh:
            open_one.text = part.so_far if part.so_far is not None else open_one.text + part.fresh
            delta = {
                "event": "content-block-delta",
                "index": 0,
                "delta": {"type": "text-delta", "text": part.fresh},
            }
            made.append(self._told(open_one, delta, str(part.before + part.had)))
        return [*made, *self._finish(message_id)] if whole else made

    def _finish_of(self, namespace: tuple[str, ...], nodes: Iterable[str]) -> list[Told]:
        """Nodes are done, and so are the messages that were written in them."""
        done = [
            o.message_id
            for o in self._writing.values()
            if o.namespace == namespace and o.task.rpartition("|")[2].partition(":")[0] in nodes
        ]
        return [told for message_id in done for told in self._finish(message_id)]

    def _finish(self, message_id: str) -> list[Told]:
        self._done.add(message_id)
        open_one = self._writing.pop(message_id, None)
        if open_one is None:
            return []
        block = {"event": "content-block-finish", "index": 0, "content": {"type": "text", "text": open_one.text}}
        return [
            self._told(open_one, block, "block"),
            self._told(open_one, {"event": "message-finish"}, "finish"),
        ]

    @staticmethod
    def _told(of: _Open, data: Mapping[str, Any], what: str) -> Told:
        # The id in each of them keeps apart what models write at the same time.
        return Told("messages", dumps({"id": of.message_id, **data}), f"{of.message_id}:{what}", of.namespace)


def _node(about: Mapping[str, Any]) -> dict[str, Any]:
    return {"langgraph_node": about["langgraph_node"]} if about.get("langgraph_node") else {}


def _custom(data: Any) -> Any:
    """With a name where the graph gave one, which `custom:name` subscribes to."""
    name = data.get("name") if isinstance(data, Mapping) else None
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
