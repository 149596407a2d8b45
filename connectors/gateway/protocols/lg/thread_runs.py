"""`GET /threads/{t}/stream`: every run of a thread, one after the other, as each one's own stream has it, and without end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request

from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.protocols.lg.projection import END, error_frame
from connectors.gateway.protocols.lg.requests import modes_of
from connectors.gateway.protocols.lg.run_routes import run_frames
from connectors.gateway.protocols.lg.thread_state import ThreadState
from connectors.gateway.request_parts import caller_of, core_of
from connectors.gateway.sse import HEARTBEAT_FRAME, EventStream, FrameReader
from core import RunView
from core.costs import spend
from core.following.feed import EarlyResult
from core.following.position import Position, RunEnd, is_deletion
from core.following.thread_stream import Heartbeat, StreamItem
from core.principal import Principal
from core.refusals import Invalid, Refused
from core.run_views import OVER
from schemas import ThreadEvent
from threads.open_questions import Questions

RUN_MODES = "run_modes"
"""What each run was started with."""


async def join_stream(request: Request) -> Any:
    """From where `Last-Event-ID` says, from the beginning for `-1`, else from now on."""
    core, caller, thread_id = core_of(request), caller_of(request), request.path_params["thread_id"]
    asked = [mode for mode in request.query_params.getlist("stream_mode") if mode not in ("", RUN_MODES)]
    if other := [mode for mode in asked if mode in ("lifecycle", "state_update")]:
        detail = f"stream_mode: the stream of a thread has what its runs stream ({RUN_MODES}), not {other[0]} alone."
        raise Invalid("not_supported", detail)
    await spend("stream")
    head, messages = await core.threads.read(caller, thread_id, window=core.options.state_messages)
    given = request.headers.get("last-event-id")
    newest = head.next_event - 1
    position = Position(newest) if given is None else Position.parse(given).known(newest)
    stream, state = core.stream(caller, thread_id), ThreadState(messages)
    state.without([event async for event in stream.stored(position.seq) if event.seq < head.next_event])
    following = _Following(core, caller, thread_id, state, modes_of(asked) if asked else None)
    return EventStream(
        following.frames(stream.items(position.seq), position),
        on_error=error_frame,
        slow_seconds=core.options.slow_seconds,
        on_end=core.count_stream(caller),
    )


class _Following:
    def __init__(
        self, core: GatewayCore, caller: Principal, thread_id: str, state: ThreadState, modes: tuple[str, ...] | None
    ) -> None:
        self._core, self._caller, self._thread_id, self._state, self._modes = core, caller, thread_id, state, modes

    async def frames(self, items: AsyncIterator[StreamItem], position: Position) -> AsyncIterator[bytes]:
        """Until the thread is deleted."""
        try:
            async for item in items:
                if isinstance(item, Heartbeat):
                    yield HEARTBEAT_FRAME
                elif isinstance(item, ThreadEvent) and not item.OF_RUN:
                    if is_deletion(item):
                        return
                    position = Position(item.seq)
                else:
                    last = _Last(item, items)
                    run_id = item.event.run_id if isinstance(item, EarlyResult) else item.run_id
                    view = await self._core.runs.get(self._caller, self._thread_id, run_id, hidden=True)
                    if not isinstance(item, ThreadEvent) and view.status in OVER:
                        continue  # a late piece; the rest of the run is in its events
                    passed = item.seq - 1 if isinstance(item, ThreadEvent) else position.seq
                    frames = await self._frames_of(view, position, RunEnd(view.run_id, paused_after=passed))
                    async for piece in frames.frames(last.items()):
                        if piece != END:  # the stream continues where the run's own would end
                            yield piece
                    if last.deleted:
                        return
                    position = Position(last.seq or position.seq)
        finally:
            await items.aclose()  # type: ignore[attr-defined]  # it is a generator

    async def _frames_of(self, view: RunView, position: Position, until: RunEnd) -> FrameReader:
        core, caller, thread_id = self._core, self._caller, self._thread_id
        head = await core.threads.get(caller, thread_id)
        return run_frames(
            core,
            caller,
            thread_id,
            until,
            self._modes or _modes_of(view),
            graph=await core.graph_of_run(caller, view, head),
            state=self._state,
            questions=Questions(head),
            position=position,
            resumable=True,
        )


class _Last:
    """The items of a run, of which the first was taken already; and how far they came."""

    def __init__(self, first: StreamItem, rest: AsyncIterator[StreamItem]) -> None:
        self._first, self._rest = first, rest
        self.seq, self.deleted = 0, False

    async def items(self) -> AsyncIterator[StreamItem]:
        """All of them."""
        self._see(self._first)
        yield self._first
        async for item in self._rest:
            self._see(item)
            yield item

    def _see(self, item: StreamItem) -> None:
        if isinstance(item, ThreadEvent):
            self.seq = item.seq
            self.deleted = is_deletion(item)


def _modes_of(view: RunView) -> tuple[str, ...]:
    try:
        return modes_of(view.details.get("kwargs", {}).get("stream_mode"))
    except Refused:
        return ("values",)
