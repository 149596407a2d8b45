"""Events of a run as AG-UI has them: nothing open at the end, nothing after it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from typing import Any

from connectors.gateway.problems import Problem
from connectors.gateway.sse import FrameReader, frame
from connectors.graphs.graph_states import StateOf
from core.following.feed import TextPiece
from core.following.graph_reader import GraphPieces
from core.following.position import Position
from core.following.text_reader import Answers
from schemas import (
    AnswerDiscarded,
    ApprovalRequested,
    ApprovalResolved,
    GraphStreamed,
    InputRefused,
    Message,
    MessageAdded,
    MessagesRemoved,
    Question,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    RunQueued,
    RunResumed,
    RunStarted,
    StateUpdated,
    StoredMessage,
    ThreadChanged,
    ThreadEvent,
    ThreadHead,
    ToolFinished,
    ToolRequested,
    is_left_out,
)
from threads.open_questions import Questions

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
    """The last frame of a stream that cannot continue."""
    return event("RUN_ERROR", message=problem.detail, code=problem.code)


class AguiProjection(FrameReader):
    """`client_run` is how the client calls the run that is `run_id` here; `history` are the thread's messages before it, and
    `listed` the ids of those that the client has. It gets a snapshot when it lacks one."""

    LEAVES_OUT = frozenset(
        {
            RunStarted,
            RunResumed,
            ToolRequested,
            ApprovalResolved,
            AnswerDiscarded,
            InputRefused,
            StateUpdated,
        }
    )

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
        super().__init__()
        self._thread_id, self._client_run, self._run_id = thread_id, client_run, run_id
        self._over = False
        self._questions = Questions(head)
        self._messages = [_whole(stored.message) for stored in history]
        """The messages of the thread up to now, also of other runs."""
        self._unknown = any(message["id"] not in listed for message in self._messages)
        self._answers = Answers(Position())
        self._writing: str | None = None
        self._results: set[str] = set()
        self._state_of, self._shown = state_of, ("", -1)
        """`_shown` is the part of a leg that the newest snapshot shows, by the leg and its index."""
        self._newest: GraphStreamed | None = None
        """The newest state that the run's events name."""

    def opening(self) -> Iterable[bytes]:
        """The run's start, under the client's id."""
        return [event("RUN_STARTED", threadId=self._thread_id, runId=self._client_run, protocolVersion="1.0")]

    async def on_event(self, event: ThreadEvent) -> Iterable[bytes]:
        """Frames of this run's events; events of other runs only update what a later snapshot says."""
        ours = event.run_id == self._run_id or isinstance(event, ThreadChanged)
        made = [*await super().on_event(event)] if ours else []
        if self._over:
            made = [*[piece async for piece in self._missing()], *made]
        self._keep(event)
        return made

    def is_last(self, event: ThreadEvent) -> bool:
        """The run's end, its pause, or the thread's."""
        return self._over

    def _keep(self, item: ThreadEvent) -> None:
        """What a snapshot has to say from now on."""
        if added := item.adds:
            self._messages.append(_whole(added))
        elif isinstance(item, MessagesRemoved):
            self._messages = [message for message in self._messages if message["id"] not in item.message_ids]

    def on_graph_pieces(self, pieces: GraphPieces) -> Iterable[bytes]:
        """The newest state of a graph that runs."""
        states = [p for p in pieces.pieces if p.mode == "values" and not p.namespace and isinstance(p.data, Mapping)]
        if pieces.run_id == self._run_id and states and not is_left_out(states[-1].data):
            self._shown = (pieces.leg, states[-1].index)
            if snapshot := _state(states[-1].data):
                yield snapshot

    def on_graph_streamed(self, event: GraphStreamed) -> Iterable[bytes]:
        """Pieces show it, if they come; the last state is read again at the end."""
        if event.mode == "values" and not event.namespace:
            self._newest = event
        return ()

    async def _missing(self) -> AsyncIterator[bytes]:
        """The run's last state, where no piece showed it: they are best effort."""
        last = self._newest
        if self._state_of and last and last.checkpoint_id and self._shown != (last.leg, last.index):
            values = await self._state_of(last.checkpoint_id, ())
            if isinstance(values, Mapping) and not is_left_out(values) and (snapshot := _state(values)):
                yield snapshot

    def on_text(self, piece: TextPiece) -> Iterable[bytes]:
        """A piece of the run's answer."""
        fresh = self._answers.fresh(piece)[0] if piece.run_id == self._run_id else ""
        return self._write(piece.message_id, fresh) if fresh else ()

    def on_early_result(self, event: ToolFinished) -> Iterable[bytes]:
        """Between messages alone: a client takes text behind it for a new one."""
        return self.on_tool_finished(event) if event.run_id == self._run_id and self._writing is None else ()

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

    def on_message_added(self, item: MessageAdded) -> Iterable[bytes]:
        """The rest of an answer, its calls; of a graph the results of tools."""
        message = item.message
        if message.role == "user" and self._unknown:
            self._unknown = False
            yield event("MESSAGES_SNAPSHOT", messages=[*self._messages, _whole(message)])
        elif message.role == "tool":  # of a graph
            yield from self._tool_result(str(message.call_id), message.message_id, message.text)
        elif message.role == "assistant":
            sent = self._answers.so_far(message.message_id)
            rest, _ = self._answers.rest(message.message_id, message.text)
            if rest:
                yield from self._write(message.message_id, rest)
            yield from self._stop_writing()
            if not message.text.startswith(sent):  # the model began again, and clients cannot take pieces back
                text = {"id": message.message_id, "role": message.role, "content": message.text}
                yield event("MESSAGES_SNAPSHOT", messages=[*self._messages, text])
            for call in message.tool_calls:
                about = {"toolCallName": call.name, "parentMessageId": message.message_id}
                yield event("TOOL_CALL_START", toolCallId=call.call_id, **about)
                arguments = json.dumps(call.arguments, ensure_ascii=False)
                yield event("TOOL_CALL_ARGS", toolCallId=call.call_id, delta=arguments)
                yield event("TOOL_CALL_END", toolCallId=call.call_id)

    def on_tool_finished(self, item: ToolFinished) -> Iterable[bytes]:
        """The tool call's result."""
        return self._tool_result(item.call_id, item.adds.message_id, item.content)

    def on_approval_requested(self, item: ApprovalRequested) -> Iterable[bytes]:
        """Nothing: approvals are sent when the run pauses."""
        self._questions.asked(item)
        return ()

    def on_run_queued(self, item: RunQueued) -> Iterable[bytes]:
        """Not an event of the protocol's own."""
        yield event("CUSTOM", name="run.queued", value={"position": item.position})

    def on_messages_removed(self, item: MessagesRemoved) -> Iterable[bytes]:
        """Not an event of the protocol's own."""
        yield event("CUSTOM", name="messages.removed", value={"messageIds": list(item.message_ids)})

    def on_run_paused(self, item: RunPaused) -> Iterable[bytes]:
        """What is asked, where the run still waits."""
        if self._questions.waits(item):
            asked = [_asked(question) for question in self._questions.open_of(item)]
            yield from self._end(self._finished({"type": "interrupt", "interrupts": asked}))

    def on_run_completed(self, item: RunCompleted) -> Iterable[bytes]:
        """The end."""
        return self._end(self._finished({"type": "success"}))

    def on_run_cancelled(self, item: RunCancelled) -> Iterable[bytes]:
        """The end."""
        return self._end(self._finished({"type": "cancelled"}))

    def on_run_failed(self, item: RunFailed) -> Iterable[bytes]:
        """The end."""
        return self._end(event("RUN_ERROR", message=item.message, code=item.code))

    def on_thread_changed(self, item: ThreadChanged) -> Iterable[bytes]:
        """The end, where it is deleted."""
        if item.action == "delete":
            yield from self._end(event("RUN_ERROR", message="The thread was deleted.", code="thread_deleted"))

    def _end(self, last: bytes) -> Iterable[bytes]:
        """What is still being written is closed before."""
        self._over = True
        return [b"".join([*self._stop_writing(), last])]

    def _tool_result(self, call_id: str, message_id: str, content: str) -> Iterable[bytes]:
        """A result, once: as soon as the model reads it, or with its event."""
        if call_id not in self._results:
            self._results.add(call_id)
            yield event("TOOL_CALL_RESULT", messageId=message_id, toolCallId=call_id, content=content, role="tool")

    def _finished(self, outcome: Mapping[str, Any]) -> bytes:
        return event("RUN_FINISHED", threadId=self._thread_id, runId=self._client_run, outcome=outcome)


def _state(values: Mapping[str, Any]) -> bytes | None:
    """A snapshot of the state, without the messages, which have their own events."""
    state = {name: value for name, value in values.items() if name not in ("messages", "__interrupt__")}
    return event("STATE_SNAPSHOT", snapshot=state) if state else None


def _asked(question: Question) -> dict[str, Any]:
    """An interrupt of the protocol."""
    if question.kind == "interrupt":
        message = {"message": question.value} if isinstance(question.value, str) else {}
        return {"id": question.id, "reason": "interrupt", **message, "metadata": {"value": question.value}}
    return {
        "id": question.id,
        "reason": "tool_approval",
        "message": question.sentence,
        "toolCallId": question.id,
        "responseSchema": ANSWER_SCHEMA,
        "metadata": {"name": question.name, "args": dict(question.value)},
    }


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
