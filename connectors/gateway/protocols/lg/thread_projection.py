"""Events of a thread as the envelopes of the thread-centric protocol."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from connectors.gateway.protocols.lg.agent_channels import AgentChannels
from connectors.gateway.protocols.lg.graph_channels import GraphChannels
from connectors.gateway.protocols.lg.message_events import ChannelEvent
from connectors.gateway.protocols.lg.thread_state import ThreadState, dumps
from connectors.gateway.sse import HEARTBEAT_FRAME, frame
from connectors.graphs.graph_states import StateOf
from core.agent_names import graph_id
from core.following.feed import TextPiece
from core.following.graph_reader import GraphPieces
from core.following.thread_stream import EventReader, StreamItem
from schemas import (
    AnswerDiscarded,
    ApprovalRequested,
    ApprovalResolved,
    GraphStreamed,
    InputRefused,
    MessageAdded,
    MessagesRemoved,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    RunQueued,
    RunResumed,
    RunStarted,
    StateUpdated,
    ThreadChanged,
    ThreadEvent,
    ThreadHead,
    ToolFinished,
    ToolRequested,
)
from threads.open_questions import Questions

CHANNELS = ("values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "tasks", "custom")
STEP = 1_000_000
"""A thread's event n becomes envelopes with numbers from n times this on; pieces of an agent's text lie between. What a graph
streams has the number that its event will have, so that a client gets what follows from there on."""
_MESSAGE = 100
"""From here on the numbers of an event count the characters of a message."""
_LOOK_BACK = 500
"""Events before what a client has seen, from which messages that are being written are put together."""


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

    def has(self, event: ChannelEvent) -> bool:
        """Whether this is for the reader."""
        channel = "input" if event.method == "input.requested" else event.method
        if channel not in self.channels:
            return False
        for prefix in self.namespaces or ((),):
            below = len(event.namespace) - len(prefix)
            if _begins(event.namespace, prefix) and (self.depth is None or below <= self.depth):
                return channel != "custom" or not self.customs or _name(event) in self.customs
        return False


def _begins(namespace: tuple[str, ...], prefix: tuple[str, ...]) -> bool:
    """Whether a namespace is the prefix or below it. A segment without a task's id stands for any task of its node."""
    if len(namespace) < len(prefix):
        return False
    return all(one in (given, given.partition(":")[0]) for one, given in zip(prefix, namespace, strict=False))


Numbered = tuple[ChannelEvent, int]


class ThreadProjection(EventReader[Numbered]):
    """Envelopes of a thread's events. Their ids follow from the thread alone: a client drops what it has seen, wherever it
    comes back."""

    LEAVES_OUT = frozenset(
        {RunQueued, RunResumed, ApprovalResolved, AnswerDiscarded, InputRefused, ThreadChanged, StateUpdated}
    )

    def __init__(
        self,
        thread_id: str,
        wanted: Wanted,
        state: ThreadState,
        *,
        since: int | None,
        head: ThreadHead,
        active: bool,
        graphs: Mapping[str, str],
        graph: str | None,
        state_of: StateOf,
        state_now: Callable[[], Awaitable[ThreadState]],
        wrap_custom: bool = False,
    ) -> None:
        """`head` is the thread's as the stream is opened, `graphs` are the hosted graphs by their assistants, `graph` the one
        that the thread is of, if it is known. Without `since` all of the thread is sent; where a run is active then
        (`active`), without the ends of those before it, which clients would take for its end, and without questions that
        are answered. `state_now` reads the messages again, where the conversation goes to another branch."""
        super().__init__()
        self._thread_id, self._wanted, self._state, self._state_now = thread_id, wanted, state, state_now
        self._since = -1 if since is None else since
        self._old = head.next_event if since is None else 0
        """Events below this are of the past."""
        self._active = active
        run = head.run
        self._questions, self._works_on = Questions(head, past=self._old), not head.paused
        """An active run has asked before, and asks again what is left when it waits for nothing else."""
        self._graphs, self._graph = graphs, graph
        maybe_seen = self._since % STEP >= STEP // 2 and self._since % STEP != STEP - 1
        self._agent_channels = AgentChannels(thread_id, maybe_seen=maybe_seen)
        self._graph_channels = GraphChannels(state_of, wrap_custom=wrap_custom)
        self.begin = self.seq = max(0, min(self._since // STEP - _LOOK_BACK, head.next_event - 1))
        self._between = STEP // 2
        self._agents: dict[str, str] = {}
        self._of_graphs: dict[str, str] = {}
        """Runs of graphs, with the graph's name where it is known."""
        if run and run.kind == "graph":
            self._of_graphs[run.run_id] = run.graph_name
        elif run:
            self._agents[run.run_id] = run.agent_id
        self._started = {run.run_id} if run and run.first_event else set[str]()
        self._said_running: set[str] = set()
        self._paused: dict[str, int] = {}
        """Paused runs, with the number of the event that reported the pause."""
        self._legs: dict[str, int] = {}
        """The number of the event that a leg's first part will have."""
        self._last = -1

    def rewind(self, coming: list[ThreadEvent]) -> None:
        """Removes from the state what these events will add."""
        self._state.without(coming)

    async def frames(self, items: AsyncIterator[StreamItem]) -> AsyncIterator[bytes]:
        """Frames without end, or until the thread is deleted."""
        async for one in self.read(items):
            yield (HEARTBEAT_FRAME if one is None else frame(one[0].method, self.envelope(*one), position=str(one[1])))

    def on_text(self, piece: TextPiece) -> Iterable[Numbered]:
        """Text of an agent's answer; a graph's text arrives as its pieces."""
        made = self._channels(piece.run_id).text(piece)
        if made and piece.run_id not in self._said_running:
            made = [self._running(piece.run_id), *made]
        for event in made:
            self._between = min(self._between + 1, STEP - 2)
            if self._wanted.has(event):
                yield self._numbered(event, self.seq * STEP + self._between)

    def on_graph_pieces(self, pieces: GraphPieces) -> Iterable[Numbered]:
        """What a graph streams before its events. A run works; said with its first word already, since its events come when
        its leg is journaled: the run's start, where it had none, and then the parts in their order."""
        self._of_graphs[pieces.run_id] = pieces.graph or self._of_graphs.get(pieces.run_id, "")
        first = self._legs.setdefault(pieces.leg, self.seq + (1 if pieces.run_id in self._started else 2))
        running = self._works(pieces.run_id)
        yield from self._wanted_of(running, first if pieces.run_id in self._started else first - 1, same=True)
        for index, events in self._graph_channels.pieces(pieces):
            yield from self._wanted_of(events, first + index)

    async def on_event(self, event: ThreadEvent) -> Iterable[Numbered]:
        """A result before its event would have to have the event's id: it comes with it."""
        made: list[ChannelEvent] = await self.made_of(event)
        if event.seq < self._old:
            made = [one for one in made if not self._misleads(one)]
        found = [*self._wanted_of(made, event.seq)]
        self._between = STEP // 2
        return found

    def _wanted_of(self, events: Iterable[ChannelEvent], seq: int, *, same: bool = False) -> Iterable[Numbered]:
        """With their numbers within an event; `same`: all of them have its first."""
        for n, event in enumerate(events):
            within = 0 if same else min(n, _MESSAGE - 1)
            if one := self._new(event, seq * STEP + (within if event.offset is None else _MESSAGE + event.offset)):
                yield one

    def _new(self, event: ChannelEvent, number: int) -> tuple[ChannelEvent, int] | None:
        """An envelope, or what of it the reader has not had."""
        if not self._wanted.has(event) or number <= self._since:
            return None
        if (had := self._since - (number - event.width)) > 0 and event.piece:
            event = event.without(had)
        return self._numbered(event, min(number, (number // STEP + 1) * STEP - 1))

    def _numbered(self, event: ChannelEvent, number: int) -> tuple[ChannelEvent, int]:
        self._last = max(number, self._last + 1)
        return event, self._last

    def envelope(self, event: ChannelEvent, number: int) -> str:
        """As clients get it."""
        event_id = event.event_id or f"{self._thread_id}:{number}"
        return (
            f'{{"type":"event","event_id":{dumps(event_id)},"seq":{number},"method":"{event.method}",'
            f'"params":{{"namespace":{dumps(event.namespace)},"timestamp":{int(time.time() * 1000)},"data":{event.data}}}}}'
        )

    def _misleads(self, event: ChannelEvent) -> bool:
        """Whether this is the end of a run before the active one."""
        if event.method != "lifecycle" or event.namespace or not self._active:
            return False
        return json.loads(event.data)["event"] in ("completed", "failed")

    def _works(self, run_id: str) -> list[ChannelEvent]:
        """Whether this is news, at its beginning or after a pause."""
        if (paused := self._paused.pop(run_id, None)) is not None:
            data = {"event": "running", "graph_name": self._name_of(run_id)}
            return [ChannelEvent("lifecycle", dumps(data), f"synth:{run_id}:lc|{paused}|running")]
        return [] if run_id in self._said_running or run_id in self._started else [self._running(run_id)]

    async def on_graph_streamed(self, event: GraphStreamed) -> list[ChannelEvent]:
        """A part, where it did not come as a piece."""
        self._of_graphs.setdefault(event.run_id, "")
        return [*self._works(event.run_id), *await self._graph_channels.streamed(event)]

    def on_run_started(self, event: RunStarted) -> list[ChannelEvent]:
        """A run works."""
        run = event.run_id
        self._started.add(run)
        self._agents[run] = event.agent_id
        if graph := event.input.graph_name if event.input else self._graphs.get(event.agent_id):
            self._of_graphs[run] = graph
        return [] if run in self._said_running else [self._running(run)]

    def on_message_added(self, event: MessageAdded) -> list[ChannelEvent]:
        """A message and the state with it; of a graph the message alone."""
        message = self._state.apply(event)
        return self._channels(event.run_id).added(event, message, self._state)

    def on_tool_requested(self, event: ToolRequested) -> list[ChannelEvent]:
        """A tool begins."""
        about = {"tool_call_id": event.call_id, "tool_name": event.name, "input": event.arguments}
        return [ChannelEvent("tools", dumps({"event": "tool-started", **about}))]

    def on_tool_finished(self, event: ToolFinished) -> list[ChannelEvent]:
        """The tool's message, and the state with it."""
        message = self._state.apply(event)
        data = {"event": "tool-finished", "tool_call_id": event.call_id, "output": message}
        if event.status != "ok":
            data = {"event": "tool-error", "tool_call_id": event.call_id, "message": event.content}
        updates = dumps({"tools": {"messages": [message]}})
        return [
            ChannelEvent("tools", dumps(data)),
            ChannelEvent("updates", updates),
            ChannelEvent("values", self._state.values()),
        ]

    async def on_messages_removed(self, event: MessagesRemoved) -> list[ChannelEvent]:
        """The state without them, or of the branch that the conversation went to."""
        if event.after is not None:
            self._state = await self._state_now()
        self._state.apply(event)
        return [ChannelEvent("values", self._state.values())]

    def on_approval_requested(self, event: ApprovalRequested) -> list[ChannelEvent]:
        """Nothing: approvals are sent when the run pauses."""
        self._questions.asked(event)
        return []

    def on_run_paused(self, event: RunPaused) -> list[ChannelEvent]:
        """What is asked."""
        run = event.run_id
        self._paused[run] = event.seq
        past = event.seq < self._old and self._works_on
        asked = [one for one in self._questions.open_of(event) if not (past and one.kind == "approval")]
        return [*self._channels(run).paused(run, asked), self._lifecycle(event, "interrupted")]

    def on_run_completed(self, event: RunCompleted) -> list[ChannelEvent]:
        """The end."""
        return [*self._channels(event.run_id).end("completed"), self._lifecycle(event, "completed")]

    def on_run_failed(self, event: RunFailed) -> list[ChannelEvent]:
        """The end."""
        return [*self._channels(event.run_id).end("failed"), self._lifecycle(event, "failed", error=event.message)]

    def on_run_cancelled(self, event: RunCancelled) -> list[ChannelEvent]:
        """The end."""
        return [*self._channels(event.run_id).end("interrupted"), self._lifecycle(event, "interrupted")]

    def _channels(self, run_id: str) -> AgentChannels | GraphChannels:
        return self._graph_channels if run_id in self._of_graphs else self._agent_channels

    def _lifecycle(self, event: ThreadEvent, what: str, **more: str) -> ChannelEvent:
        data = {"event": what, "graph_name": self._name_of(event.run_id), **more}
        return ChannelEvent("lifecycle", dumps(data), f"synth:{event.run_id}:lc|{event.seq}|{what}")

    def _name_of(self, run_id: str) -> str:
        if run_id in self._of_graphs:
            return self._of_graphs[run_id] or self._graph or "graph"
        return graph_id(self._agents.get(run_id) or "default")

    def _running(self, run_id: str) -> ChannelEvent:
        """A run works."""
        self._said_running.add(run_id)
        data = {"event": "running", "graph_name": self._name_of(run_id)}
        return ChannelEvent("lifecycle", dumps(data), f"synth:{run_id}:lc||running")


def _name(event: ChannelEvent) -> str:
    """The name of a custom event."""
    data = json.loads(event.data)
    return str(data.get("name", "")) if isinstance(data, dict) else ""
