"""Events of a run as AG-UI has them: nothing open at the end, nothing after it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from typing import Any

from connectors.gateway.problems import Problem
from connectors.gateway.sse import HEARTBEAT_FRAME, frame
from connectors.graphs.graph_states import StateOf
from core.following.feed import EarlyResult, TextPiece
from core.following.graph_reader import GraphPieces
from core.following.position import Position
from core.following.text_reader import Answers
from core.following.thread_stream import Heartbeat, StreamItem
from core.runs import Runs
from schemas import (
    ApprovalRequested,
    GraphInterrupt,
    GraphStreamed,
    Message,
    MessageAdded,
    MessagesRemoved,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    RunQueued,
    StoredMessage,
    ThreadChanged,
    ThreadEvent,
    ThreadHead,
    ToolFinished,
    derived_id,
    is_left_out,
)

ANSWER_SCHEMA = {
    "type": "object",
    "properties": {
        "decision": {"enum": ["approve", "edit", "reject", "respond"]},
        "arguments": {"type": "object"},
        "message": {"type": "string"},
    },
    "required": ["decision"],
}
"""What an approval is answered with."""


def event(kind: str, **fields: Any) -> bytes:
    """An unnamed SSE event with camel-case JSON."""
    return frame(None, json.dumps({"type": kind, **fields}, ensure_ascii=False, separators=(",", ":")))


def error_frame(problem: Problem) -> bytes:
    """The end of a stream that cannot go on."""
    return event("RUN_ERROR", message=problem.detail, code=problem.code)


class AguiProjection:
    """`client_run` is how the client calls the run that is `run_id` here; `history` are the thread's messages before it, and
    `listed` the ids of those that the client has. It gets a snapshot when it lacks one."""

    def __init__(
        self,
        thread_id: str,
        client_run: str,
        run_id: str,
        *,
        head: ThreadHead,
        history: Iterable[StoredMessage] = (),
        listed: Collection[object] = (),
        state_of: StateOf | None = None,
    ) -> None:
        """`state_of` reads states of the graph whose run it is."""
        self._thread_id, self._client_run, self._run_id = thread_id, client_run, run_id
        self._asked: dict[str, tuple[str, Mapping[str, Any]]] = {
            p.call.call_id: (p.call.name, p.call.arguments) for p in head.pending
        }
        self._old = head.next_event
        """Events below this are of the past: of their questions some are answered."""
        self._stopped = bool(head.run and head.run.run_id == run_id and head.run.paused)
        self._waiting = {asked.id for asked in head.open_interrupts}
        self._waiting |= {p.call.call_id for p in Runs.open_approvals(head)}
        self._messages = [_whole(stored.message) for stored in history]
        """The thread as far as it was told, also by other runs."""
        self._unknown = any(message["id"] not in listed for message in self._messages)
        self._answers = Answers(Position())
        self._writing: str | None = None
        self._results: set[str] = set()
        self._state_of, self._shown = state_of, ("", -1)
        """`_shown` is the part of a leg that the newest snapshot has told, by the leg and its index."""
        self._told: GraphStreamed | None = None
        """The newest state that the run's events name."""

    async def frames(self, items: AsyncIterator[StreamItem]) -> AsyncIterator[bytes]:
        """The run from its start to its end, or until it waits for its user."""
        yield event("RUN_STARTED", threadId=self._thread_id, runId=self._client_run, protocolVersion="1.0")
        async for item in items:
            if isinstance(item, Heartbeat):
                yield HEARTBEAT_FRAME
            elif isinstance(item, TextPiece):
                for piece in self._piece(item):
                    yield piece
            elif isinstance(item, GraphPieces):
                if snapshot := self._snapshot(item):
                    yield snapshot
            elif isinstance(item, EarlyResult):
                if item.event.run_id == self._run_id and self._writing is None:
                    for piece in self._result(item.event):
                        yield piece
            elif isinstance(item, ThreadEvent):
                if item.run_id == self._run_id or isinstance(item, ThreadChanged):
                    for piece in self._event(item):
                        yield piece
                    if isinstance(item, GraphStreamed) and item.mode == "values" and not item.namespace:
                        self._told = item
                    if last := self._last(item):
                        async for piece in self._missing():
                            yield piece
                        yield last
                        return
                self._keep(item)

    def _keep(self, item: ThreadEvent) -> None:
        """What a snapshot has to say from now on."""
        if isinstance(item, MessageAdded):
            self._messages.append(_whole(item.message))
        elif isinstance(item, ToolFinished):
            about = {"role": "tool", "content": item.content, "toolCallId": item.call_id}
            self._messages.append({"id": derived_id("msg", item.call_id), **about})
        elif isinstance(item, MessagesRemoved):
            self._messages = [message for message in self._messages if message["id"] not in item.message_ids]

    def _snapshot(self, item: GraphPieces) -> bytes | None:
        """The newest state of a graph that runs."""
        states = [p for p in item.pieces if p.mode == "values" and not p.namespace and isinstance(p.data, Mapping)]
        if item.run_id != self._run_id or not states or is_left_out(states[-1].data):
            return None
        self._shown = (item.leg, states[-1].index)
        return _state(states[-1].data)

    async def _missing(self) -> AsyncIterator[bytes]:
        """The run's last state, where no piece told it: they are best effort."""
        last = self._told
        if self._state_of and last and last.checkpoint_id and self._shown != (last.leg, last.index):
            values = await self._state_of(last.checkpoint_id, ())
            if isinstance(values, Mapping) and not is_left_out(values) and (snapshot := _state(values)):
                yield snapshot

    def _piece(self, piece: TextPiece) -> Iterable[bytes]:
        if piece.run_id != self._run_id:
            return
        fresh, _ = self._answers.fresh(piece)
        if fresh:
            yield from self._write(piece.message_id, fresh)

    def _write(self, message_id: str, text: str) -> Iterable[bytes]:
        if self._writing != message_id:
            yield from self._stop_writing()
            self._writing = message_id
            yield event("TEXT_MESSAGE_START", messageId=message_id, role="assistant")
        yield event("TEXT_MESSAGE_CONTENT", messageId=message_id, delta=text)

    def _stop_writing(self) -> Iterable[bytes]:
        if self._writing:
            yield event("TEXT_MESSAGE_END", messageId=self._writing)
            self._writing = None

    def _event(self, item: ThreadEvent) -> Iterable[bytes]:
        if isinstance(item, MessageAdded) and item.message.role == "user" and self._unknown:
            self._unknown = False
            yield event("MESSAGES_SNAPSHOT", messages=[*self._messages, _whole(item.message)])
        elif isinstance(item, MessageAdded) and item.message.role == "assistant":
            message = item.message
            told = self._answers.so_far(message.message_id)
            rest, _ = self._answers.rest(message.message_id, message.text)
            if rest:
                yield from self._write(message.message_id, rest)
            yield from self._stop_writing()
            if not message.text.startswith(told):  # the model began again, and clients cannot take pieces back
                text = {"id": message.message_id, "role": message.role, "content": message.text}
                yield event("MESSAGES_SNAPSHOT", messages=[*self._messages, text])
            for call in message.tool_calls:
                yield event(
                    "TOOL_CALL_START",
                    toolCallId=call.call_id,
                    toolCallName=call.name,
                    parentMessageId=message.message_id,
                )
                yield event(
                    "TOOL_CALL_ARGS", toolCallId=call.call_id, delta=json.dumps(call.arguments, ensure_ascii=False)
                )
                yield event("TOOL_CALL_END", toolCallId=call.call_id)
        elif isinstance(item, MessageAdded) and item.message.role == "tool":  # of a graph
            yield from self._tool_result(str(item.message.call_id), item.message.message_id, item.message.text)
        elif isinstance(item, ToolFinished):
            yield from self._result(item)
        elif isinstance(item, ApprovalRequested):
            self._asked[item.call_id] = (item.name, item.arguments)
        elif isinstance(item, RunQueued):
            yield event("CUSTOM", name="run.queued", value={"position": item.position})
        elif isinstance(item, MessagesRemoved):
            yield event("CUSTOM", name="messages.removed", value={"messageIds": list(item.message_ids)})

    def _result(self, item: ToolFinished) -> Iterable[bytes]:
        yield from self._tool_result(item.call_id, derived_id("msg", item.call_id), item.content)

    def _tool_result(self, call_id: str, message_id: str, content: str) -> Iterable[bytes]:
        """A result, once: as soon as the model reads it, or with its event."""
        if call_id not in self._results:
            self._results.add(call_id)
            yield event("TOOL_CALL_RESULT", messageId=message_id, toolCallId=call_id, content=content, role="tool")

    def _last(self, item: ThreadEvent) -> bytes | None:
        """The end, where this event is one: what is still being written is closed before."""
        if not isinstance(item, RunCompleted | RunPaused | RunCancelled | RunFailed | ThreadChanged):
            return None
        if isinstance(item, ThreadChanged) and item.action != "delete":
            return None
        if isinstance(item, RunPaused) and not self._waits(item):
            return None
        end = b"".join(self._stop_writing())
        if isinstance(item, RunCompleted):
            return end + self._finished({"type": "success"})
        if isinstance(item, RunPaused):
            return end + self._finished(
                {
                    "type": "interrupt",
                    "interrupts": [
                        *(self._interrupt(call_id) for call_id in item.call_ids if self._is_open(item, call_id)),
                        *(_asked(interrupt) for interrupt in item.interrupts if self._is_open(item, interrupt.id)),
                    ],
                }
            )
        if isinstance(item, RunCancelled):
            return end + self._finished({"type": "cancelled"})
        if isinstance(item, RunFailed):
            return end + event("RUN_ERROR", message=item.message, code=item.code)
        return end + event("RUN_ERROR", message="The thread was deleted.", code="thread_deleted")

    def _waits(self, item: RunPaused) -> bool:
        """Whether the run still waits there: the same run may be asked for again when it has gone on."""
        asked = [*item.call_ids, *(interrupt.id for interrupt in item.interrupts)]
        if not asked:  # it stops before or after a node
            return item.seq >= self._old or self._stopped
        return any(self._is_open(item, one) for one in asked)

    def _is_open(self, item: RunPaused, asked: str) -> bool:
        return item.seq >= self._old or asked in self._waiting

    def _interrupt(self, call_id: str) -> dict[str, Any]:
        name, arguments = self._asked.get(call_id, ("", {}))
        return {
            "id": call_id,
            "reason": "tool_approval",
            "message": f"{name} waits for your approval.",
            "toolCallId": call_id,
            "responseSchema": ANSWER_SCHEMA,
            "metadata": {"name": name, "args": dict(arguments)},
        }

    def _finished(self, outcome: Mapping[str, Any]) -> bytes:
        return event("RUN_FINISHED", threadId=self._thread_id, runId=self._client_run, outcome=outcome)


def _state(values: Mapping[str, Any]) -> bytes | None:
    """Without what the messages say already."""
    state = {name: value for name, value in values.items() if name not in ("messages", "__interrupt__")}
    return event("STATE_SNAPSHOT", snapshot=state) if state else None


def _asked(interrupt: GraphInterrupt) -> dict[str, Any]:
    """What a graph asks."""
    words = {"message": interrupt.value} if isinstance(interrupt.value, str) else {}
    return {"id": interrupt.id, "reason": "interrupt", **words, "metadata": {"value": interrupt.value}}


def _whole(message: Message) -> dict[str, Any]:
    """A message as snapshots have it."""
    common = {"id": message.message_id, "role": message.role, "content": message.text}
    if message.role == "tool":
        return {**common, "toolCallId": message.call_id}
    if message.tool_calls:
        calls = [
            {
                "id": c.call_id,
                "type": "function",
                "function": {"name": c.name, "arguments": json.dumps(c.arguments, ensure_ascii=False)},
            }
            for c in message.tool_calls
        ]
        return {**common, "toolCalls": calls}
    return common
