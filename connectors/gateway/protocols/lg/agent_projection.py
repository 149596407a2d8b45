"""Runs of the tenant's own agents as the classic run streams have them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from connectors.gateway.protocols.lg.message_shapes import to_langchain
from connectors.gateway.protocols.lg.projection import INTERRUPT, Frame, RunProjection
from connectors.gateway.protocols.lg.shapes import interrupt
from connectors.gateway.protocols.lg.thread_state import ThreadState, dumps
from core.following.feed import TextPiece
from core.following.position import Position, RunEnd
from core.following.text_reader import Answers
from schemas import (
    AnswerDiscarded,
    ApprovalRequested,
    ApprovalResolved,
    GraphStreamed,
    InputRefused,
    MessageAdded,
    MessagesRemoved,
    RunCompleted,
    RunPaused,
    RunQueued,
    RunResumed,
    RunStarted,
    StateUpdated,
    ThreadChanged,
    ThreadEvent,
    ToolFinished,
    ToolRequested,
)
from threads.open_questions import Questions


class AgentProjection(RunProjection):
    """Frames of one run of an agent."""

    LEAVES_OUT = frozenset(
        {
            RunQueued,
            RunResumed,
            RunCompleted,
            ApprovalResolved,
            AnswerDiscarded,
            InputRefused,
            ThreadChanged,
            GraphStreamed,
            StateUpdated,
        }
    )

    def __init__(
        self,
        thread_id: str,
        until: RunEnd,
        modes: Collection[str],
        state: ThreadState,
        *,
        position: Position,
        resumable: bool,
        questions: Questions,
    ) -> None:
        """`questions` are of the thread as it was read."""
        super().__init__(until, modes, position=position, resumable=resumable)
        self._thread_id, self._state = thread_id, state
        self._message: Mapping[str, Any] | None = None
        """The one that the event brought."""
        self._answers = Answers(position)
        self._results: set[str] = set()
        self._questions = questions

    async def on_event(self, event: ThreadEvent) -> Iterable[bytes]:
        """The frames of an event, joined into one piece."""
        self._message = self._state.apply(event)
        pieces = []
        for n, (name, data) in await self.missing(event):
            if not self._was_early(event, name):
                pieces.append(self.frame(name, data, Position(event.seq - 1, sub=n) if n else Position(event.seq)))
        return [b"".join(pieces)] if pieces else ()

    def on_early_result(self, event: ToolFinished) -> Iterable[bytes]:
        """A tool's message as soon as the model reads it; clients would put a second one behind it."""
        if event.run_id != self._run_id or "messages-tuple" not in self._modes or event.call_id in self._results:
            return ()
        self._results.add(event.call_id)
        data = dumps([to_langchain(event.adds), self._about("tools")])
        return [self.frame("messages", data, Position(self.seq))]

    def _was_early(self, event: ThreadEvent, name: str) -> bool:
        return name == "messages" and isinstance(event, ToolFinished) and event.call_id in self._results

    def on_run_started(self, event: RunStarted) -> list[Frame]:
        """Not an event of LangGraph's."""
        return self._in("custom", "custom", dumps({"type": "run.started", "run_id": event.run_id}))

    def on_message_added(self, event: MessageAdded) -> list[Frame]:
        """A whole message: what of it the reader has not seen, and the state."""
        made: list[Frame] = []
        message = self._message
        if event.message.role == "assistant":
            if rest := self._rest(event):
                made += self._in("messages-tuple", "messages", dumps([rest, self._about("agent")]))
            made += self._in("messages", "messages/complete", dumps([message]))
            made += self._in("updates", "updates", dumps({"agent": {"messages": [message]}}))
        return made + self._in("values", "values", self._state.values())

    def on_tool_requested(self, event: ToolRequested) -> list[Frame]:
        """For the mode `tools`."""
        data = {"event": "on_tool_start", "toolCallId": event.call_id, "name": event.name, "input": event.arguments}
        return self._in("tools", "tools", dumps(data))

    def on_tool_finished(self, event: ToolFinished) -> list[Frame]:
        """The tool's message, and the state with it."""
        message = self._message
        made = [*self._in("messages-tuple", "messages", dumps([message, self._about("tools")]))]
        made += self._in("messages", "messages/complete", dumps([message]))
        made += self._in("updates", "updates", dumps({"tools": {"messages": [message]}}))
        made += self._in("tools", "tools", dumps(_tool_done(event)))
        return made + self._in("values", "values", self._state.values())

    def on_approval_requested(self, event: ApprovalRequested) -> list[Frame]:
        """Nothing: approvals are sent when the run pauses."""
        self._questions.asked(event)
        return []

    def on_messages_removed(self, event: MessagesRemoved) -> list[Frame]:
        """The state without them."""
        return self._in("values", "values", self._state.values())

    def _rest(self, event: MessageAdded) -> Mapping[str, Any] | None:
        """The last chunk of an answer: what its reader has not seen of the text, and the calls. Clients put chunks together."""
        message = event.message
        text, begun = self._answers.rest(message.message_id, message.text)
        if begun and not text and not message.tool_calls:
            return None
        chunk = _chunk(message.message_id, text)
        chunk["tool_calls"] = [
            {"name": c.name, "args": c.arguments, "id": c.call_id, "type": "tool_call"} for c in message.tool_calls
        ]
        chunk["tool_call_chunks"] = [
            {"name": c.name, "args": dumps(c.arguments), "id": c.call_id, "index": n, "type": "tool_call_chunk"}
            for n, c in enumerate(message.tool_calls)
        ]
        return chunk

    def on_text(self, piece: TextPiece) -> Iterable[bytes]:
        """Chunks of an answer that is being written."""
        if piece.run_id != self._run_id:
            return
        fresh, seen = self._answers.fresh(piece)
        if not fresh:
            return
        at = Position(self.seq, message_id=piece.message_id, offset=seen)
        if "messages-tuple" in self._modes:
            yield self.frame("messages", dumps([_chunk(piece.message_id, fresh), self._about("agent")]), at)
        if "messages" in self._modes:
            so_far = {**_chunk(piece.message_id, self._answers.so_far(piece.message_id)), "type": "ai"}
            yield self.frame("messages/partial", dumps([so_far]), at)

    def on_run_paused(self, event: RunPaused) -> list[Frame]:
        """What is asked."""
        # What is still open, as an answer must name it; a pause that was answered is sent as it was.
        asked = self._questions.open_of(event) or self._questions.all_of(event)
        data = dumps({INTERRUPT: [interrupt(self._thread_id, self._run_id, asked)]})
        return [*self._in("updates", "updates", data), *self._in("values", "values", data)]

    def _in(self, mode: str, name: str, data: str) -> list[Frame]:
        return [(name, data)] if mode in self._modes else []

    def _about(self, node: str) -> dict[str, Any]:
        return {"langgraph_node": node, "run_id": self._run_id, "thread_id": self._thread_id}


def _chunk(message_id: str, text: str) -> dict[str, Any]:
    return {
        "type": "AIMessageChunk",
        "id": message_id,
        "content": text,
        "additional_kwargs": {},
        "response_metadata": {},
        "tool_calls": [],
        "invalid_tool_calls": [],
        "tool_call_chunks": [],
    }


def _tool_done(event: ToolFinished) -> dict[str, Any]:
    kind = "on_tool_end" if event.status == "ok" else "on_tool_error"
    return {"event": kind, "toolCallId": event.call_id, "name": event.name, "output": event.content}
