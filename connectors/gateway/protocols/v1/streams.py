"""Event streams of threads and of their runs."""

from __future__ import annotations

from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.protocols.v1.frames import error_frame, thread_frames
from connectors.gateway.sse import EventStream
from core.following.position import Position
from core.principal import Principal


def event_stream(
    core: GatewayCore,
    caller: Principal,
    thread_id: str,
    position: Position,
    *,
    run_id: str | None,
    last_event: int | None = None,
    paused_after: int = 0,
) -> EventStream:
    """The response that follows a thread, or one run of it, after a position."""
    items = core.stream(caller, thread_id).items(position.seq)
    frames = thread_frames(items, position, run_id=run_id, last_event=last_event, paused_after=paused_after)
    return EventStream(
        frames, on_error=error_frame, slow_seconds=core.options.slow_seconds, on_end=core.count_stream(caller)
    )
