"""An agent's messages and questions in the channels of the thread-centric protocol; `graph_channels` has those of graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connectors.gateway.protocols.lg.message_events import ChannelEvent
from connectors.gateway.protocols.lg.shapes import interrupt
from connectors.gateway.protocols.lg.thread_state import ThreadState, dumps
from core.following.feed import TextPiece
from core.following.position import Position
from core.following.text_reader import Answers
from schemas import MessageAdded, Question


class AgentChannels:
    """The agents of one thread, for one reader."""

    def __init__(self, thread_id: str, *, maybe_seen: bool) -> None:
        """`maybe_seen`: the client may have pieces of the answer that comes next."""
        self._thread_id, self._maybe_seen = thread_id, maybe_seen
        self._answers = Answers(Position())
        self._begun: set[str] = set()

    def text(self, piece: TextPiece) -> list[ChannelEvent]:
        """A piece of an answer that is being written."""
        fresh, seen = ("", 0) if self._maybe_seen else self._answers.fresh(piece)
        if not fresh:
            return []
        return [*self._begin(piece.message_id), self._delta(piece.message_id, seen - len(fresh), fresh)]

    def added(self, event: MessageAdded, message: Mapping[str, Any] | None, state: ThreadState) -> list[ChannelEvent]:
        """A message and the state with it."""
        made = self._message(event) if event.message.role == "assistant" else []
        if made:
            made.append(ChannelEvent("updates", dumps({"agent": {"messages": [message]}})))
        return [*made, ChannelEvent("values", state.values())]

    def paused(self, run_id: str, questions: Sequence[Question]) -> list[ChannelEvent]:
        """One request for all calls that wait: its id is theirs."""
        if not questions:
            return []
        asked = interrupt(self._thread_id, run_id, questions)
        data = {"interrupt_id": asked["id"], "payload": asked["value"], "value": asked["value"]}
        return [ChannelEvent("input.requested", dumps(data), f"synth:{run_id}:input||{asked['id']}")]

    def end(self, how: str) -> list[ChannelEvent]:
        """Nothing is left open."""
        return []

    def _message(self, event: MessageAdded) -> list[ChannelEvent]:
        """The end of an answer, and its beginning where nobody saw it being written."""
        message = event.message
        made = self._begin(message.message_id)
        rest, _ = self._answers.rest(message.message_id, message.text)
        if rest and not self._maybe_seen:
            made.append(self._delta(message.message_id, len(message.text) - len(rest), rest))
        self._maybe_seen = False
        done = {"event": "content-block-finish", "index": 0, "content": {"type": "text", "text": message.text}}
        made += [
            ChannelEvent("messages", dumps(done), f"{message.message_id}:block"),
            ChannelEvent(
                "messages", dumps({"event": "message-finish", **_usage(event)}), f"{message.message_id}:finish"
            ),
        ]
        self._begun.discard(message.message_id)
        return made

    def _begin(self, message_id: str) -> list[ChannelEvent]:
        if message_id in self._begun:
            return []
        self._begun.add(message_id)
        start = {"event": "message-start", "role": "ai", "id": message_id}
        block = {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}}
        return [
            ChannelEvent("messages", dumps(start), f"{message_id}:start"),
            ChannelEvent("messages", dumps(block), f"{message_id}:block-start"),
        ]

    def _delta(self, message_id: str, offset: int, text: str) -> ChannelEvent:
        data = {"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": text}}
        return ChannelEvent("messages", dumps(data), f"{message_id}:{offset}")


def _usage(event: MessageAdded) -> dict[str, Any]:
    usage = event.message.usage
    if usage is None:
        return {}
    counts = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens, "total_tokens": usage.total}
    return {"usage": counts}
