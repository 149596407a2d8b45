"""The thread-centric protocol: `commands` do, `stream/events` tells, of all runs of a thread and without end."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from connectors.gateway.answers import Answers
from connectors.gateway.auth import Principal
from connectors.gateway.core import Core
from connectors.gateway.feed import TextPiece
from connectors.gateway.lg import runs
from connectors.gateway.lg.requests import RunRequest, answer, body_of, caller_of, core_of, mapping
from connectors.gateway.lg.shapes import graph_id, interrupt
from connectors.gateway.lg.thread_state import ThreadState, dumps
from connectors.gateway.problems import Problem, as_problem
from connectors.gateway.sse import HEARTBEAT_FRAME, EventStream, frame
from connectors.gateway.thread_stream import Heartbeat, Position, StreamItem
from schemas import (
    ApprovalRequested,
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
_CODES = {404: "no_such_run", 409: "no_such_interrupt", 403: "permission_denied", 422: "invalid_argument"}


# ---- commands


async def commands(request: Request) -> Response:
    """`POST /threads/{t}/commands`: 200 also for a command that is refused; 400 for what is no command."""
    core, caller, body = core_of(request), caller_of(request), await body_of(request)
    number, method = body.get("id"), body.get("method")
    if not isinstance(number, int) or not isinstance(method, str):
        raise Problem(400, "invalid_argument", "A command has an id (a number) and a method.")
    thread_id, parameters = request.path_params["thread_id"], mapping(body.get("params"), "params")
    try:
        if method == "run.start":
            wanted = replace(RunRequest.of(_classic(parameters)), create_thread=True)
        elif method == "input.respond":
            wanted = RunRequest.of({"command": {"resume": await _response(core, caller, thread_id, parameters)}})
        else:
            raise Problem(422, "unknown_command", f"There is no command {method[:60]!r}.")
        started = await runs.start(core, caller, thread_id, wanted)
    except Exception as error:
        problem = as_problem(error)
        if problem.status >= 500 or problem.code == "thread_not_found":
            raise problem from error
        known = problem.code in ("unknown_command", "no_such_interrupt")
        code = problem.code if known else _CODES.get(problem.status, "unknown_error")
        return answer({"type": "error", "id": number, "error": code, "message": problem.detail})
    result = {"run_id": started.view.run_id}
    return answer(
        {"type": "success", "id": number, "result": result, "meta": {"applied_through_seq": started.since * STEP}}
    )


def _classic(parameters: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(parameters)
    if strategy := found.pop("multitaskStrategy", None):
        found["multitask_strategy"] = strategy
    return found


async def _response(core: Core, caller: Principal, thread_id: str, parameters: Mapping[str, Any]) -> object:
    """The answer to the thread's interrupt, by its id."""
    given = parameters.get("responses")
    answers = given if isinstance(given, list) else [parameters]
    if not all(isinstance(a, Mapping) and isinstance(a.get("interrupt_id"), str) for a in answers):
        raise Problem(422, "invalid_argument", "input.respond needs interrupt_id and response.")
    await core.threads.get(caller, thread_id)
    return {a["interrupt_id"]: a.get("response") for a in answers}


# ---- events


async def events(request: Request) -> Any:
    """`POST /threads/{t}/stream/events`."""
    core, caller, body = core_of(request), caller_of(request), await body_of(request)
    thread_id = request.path_params["thread_id"]
    channels = body.get("channels")
    if not isinstance(channels, list) or not all(isinstance(c, str) for c in channels):
        raise Problem(422, "invalid_argument", f"channels is a list of {', '.join(CHANNELS)}.")
    if unknown := [c for c in channels if c.partition(":")[0] not in CHANNELS]:
        raise Problem(422, "invalid_argument", f"{unknown[0][:40]!r} is no channel; there are {', '.join(CHANNELS)}.")
    since = body.get("since")
    if since is not None and (not isinstance(since, int) or since < 0):
        raise Problem(422, "invalid_argument", "since is the seq of an event.")
    head, messages = await core.threads.read(caller, thread_id, window=core.options.state_messages)
    if since is None:
        # Whoever does not say gets the run that is going: the end of an earlier one would be taken for the end of the next.
        begin = head.run.first_event if head.run and head.run.first_event else head.next_event
        since = begin * STEP - 1
    projection = ThreadProjection(
        thread_id, {c.partition(":")[0] for c in channels}, ThreadState(messages), since=since, pending=head.pending
    )
    stream = core.stream(caller, thread_id)
    coming = [event async for event in stream.stored(projection.begin) if event.seq < head.next_event]
    projection.rewind(coming)
    return EventStream(
        projection.frames(stream.items(projection.begin)),
        on_error=_error_frame,
        slow_seconds=core.options.slow_seconds,
        on_end=core.count_stream(caller),
    )


class ThreadProjection:
    """Envelopes of a thread's events. Their ids follow from the thread alone: a client drops what it has seen, wherever it
    comes back."""

    def __init__(
        self,
        thread_id: str,
        channels: Collection[str],
        state: ThreadState,
        *,
        since: int,
        pending: tuple[PendingCall, ...] = (),
    ) -> None:
        self._thread_id, self._channels, self._state, self._since = thread_id, channels, state, since
        self.begin = max(0, since // STEP - 1)
        self._answers = Answers(Position())
        self._begun: set[str] = set()
        self._maybe_seen = since % STEP >= STEP // 2 and since % STEP != STEP - 1
        """The client may have pieces of the answer that comes next."""
        self._between = STEP // 2
        self._agents: dict[str, str] = {}
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
            elif isinstance(item, TextPiece):
                for method, data, event_id in self._piece(item):
                    self._between = min(self._between + 1, STEP - 2)
                    if method in self._channels:
                        yield self._frame(method, data, seq * STEP + self._between, event_id)
            elif isinstance(item, ThreadEvent):  # a result before its event would have to have the event's id
                for n, (method, data, event_id) in enumerate(self._event(item)):
                    number = item.seq * STEP + n
                    if number > self._since and _channel(method) in self._channels:
                        yield self._frame(method, data, number, event_id or f"{self._thread_id}:{number}")
                seq, self._between = item.seq, STEP // 2
                if isinstance(item, ThreadChanged) and item.action == "delete":
                    return

    def _frame(self, method: str, data: str, number: int, event_id: str) -> bytes:
        envelope = (
            f'{{"type":"event","event_id":{dumps(event_id)},"seq":{number},"method":"{method}",'
            f'"params":{{"namespace":[],"timestamp":{int(time.time() * 1000)},"data":{data}}}}}'
        )
        return frame(method, envelope, position=str(number))

    def _event(self, event: ThreadEvent) -> list[tuple[str, str, str]]:
        """Method, data and id (empty for the usual one) of the envelopes of an event."""
        message = self._state.apply(event)
        run = event.run_id
        if isinstance(event, RunStarted):
            self._agents[run] = event.agent_id
            return [self._running(run)]
        if isinstance(event, MessageAdded) and message:
            made = self._message(event) if event.message.role == "assistant" else []
            if made:
                made.append(("updates", dumps({"agent": {"messages": [message]}}), ""))
            return [*made, ("values", self._state.values(), "")]
        if isinstance(event, ToolRequested):
            told = {
                "event": "tool-started",
                "tool_call_id": event.call_id,
                "tool_name": event.name,
                "input": event.arguments,
            }
            return [("tools", dumps(told), "")]
        if isinstance(event, ToolFinished) and message:
            told = {"event": "tool-finished", "tool_call_id": event.call_id, "output": event.content}
            if event.status != "ok":
                told = {"event": "tool-error", "tool_call_id": event.call_id, "message": event.content}
            updates = dumps({"tools": {"messages": [message]}})
            return [("tools", dumps(told), ""), ("updates", updates, ""), ("values", self._state.values(), "")]
        if isinstance(event, MessagesRemoved):
            return [("values", self._state.values(), "")]
        if isinstance(event, ApprovalRequested):
            self._asked[event.call_id] = (event.call_id, event.name, event.arguments)
        elif isinstance(event, RunPaused):
            calls = [self._asked.get(call_id, (call_id, "", {})) for call_id in event.call_ids]
            asked = interrupt(self._thread_id, run, calls)
            told = {"interrupt_id": asked["id"], "payload": asked["value"], "value": asked["value"]}
            return [
                ("input.requested", dumps(told), f"synth:{run}:input||{asked['id']}"),
                self._lifecycle(event, "interrupted"),
            ]
        elif isinstance(event, RunCompleted):
            return [self._lifecycle(event, "completed")]
        elif isinstance(event, RunFailed):
            return [self._lifecycle(event, "failed", error=event.message)]
        elif isinstance(event, RunCancelled):
            return [self._lifecycle(event, "interrupted")]
        return []

    def _lifecycle(self, event: ThreadEvent, what: str, **more: str) -> tuple[str, str, str]:
        name = graph_id(self._agents.get(event.run_id, "default"))
        told = {"event": what, "graph_name": name, **more}
        return ("lifecycle", dumps(told), f"synth:{event.run_id}:lc|{event.seq}|{what}")

    def _running(self, run_id: str) -> tuple[str, str, str]:
        """A run works; said with its first word already, since its events come when its first turn is journaled."""
        told = {"event": "running", "graph_name": graph_id(self._agents.get(run_id, "default"))}
        return ("lifecycle", dumps(told), f"synth:{run_id}:lc||running")

    def _message(self, event: MessageAdded) -> list[tuple[str, str, str]]:
        """The end of an answer, and its beginning where nobody saw it being written."""
        message = event.message
        made = self._begin(message.message_id)
        rest, _ = self._answers.rest(message.message_id, message.text)
        if rest and not self._maybe_seen:
            made.append(self._delta(message.message_id, len(message.text) - len(rest), rest))
        self._maybe_seen = False
        done = {"event": "content-block-finish", "index": 0, "content": {"type": "text", "text": message.text}}
        made += [
            ("messages", dumps(done), f"{message.message_id}:block"),
            ("messages", dumps({"event": "message-finish", **_usage(event)}), f"{message.message_id}:finish"),
        ]
        self._begun.discard(message.message_id)
        return made

    def _piece(self, piece: TextPiece) -> list[tuple[str, str, str]]:
        fresh, seen = ("", 0) if self._maybe_seen else self._answers.fresh(piece)
        if not fresh:
            return []
        begun = [self._running(piece.run_id)] if piece.run_id not in self._agents else []
        self._agents.setdefault(piece.run_id, "default")
        return [*begun, *self._begin(piece.message_id), self._delta(piece.message_id, seen - len(fresh), fresh)]

    def _begin(self, message_id: str) -> list[tuple[str, str, str]]:
        if message_id in self._begun:
            return []
        self._begun.add(message_id)
        start = {"event": "message-start", "role": "ai", "id": message_id}
        block = {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}}
        return [
            ("messages", dumps(start), f"{message_id}:start"),
            ("messages", dumps(block), f"{message_id}:block-start"),
        ]

    def _delta(self, message_id: str, offset: int, text: str) -> tuple[str, str, str]:
        told = {"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": text}}
        return ("messages", dumps(told), f"{message_id}:{offset}")


def _channel(method: str) -> str:
    return "input" if method == "input.requested" else method


def _usage(event: MessageAdded) -> dict[str, Any]:
    usage = event.message.usage
    if usage is None:
        return {}
    counts = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens, "total_tokens": usage.total}
    return {"usage": counts}


def _error_frame(problem: Problem) -> bytes:
    return frame("error", dumps({"type": "error", "error": problem.code, "message": problem.detail}))
