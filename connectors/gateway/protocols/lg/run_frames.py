"""The frames of one run, of the tenant's own agent or of a hosted graph."""

from __future__ import annotations

from collections.abc import Collection

from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.protocols.lg.graph_projection import GraphProjection
from connectors.gateway.protocols.lg.projection import RunProjection
from connectors.gateway.protocols.lg.thread_state import ThreadState
from connectors.gateway.sse import FrameReader
from core.following.position import Position, RunEnd
from core.principal import Principal
from threads.open_questions import Questions


def run_frames(
    core: GatewayCore,
    caller: Principal,
    thread_id: str,
    until: RunEnd,
    modes: Collection[str],
    *,
    graph: str | None,
    state: ThreadState,
    questions: Questions,
    position: Position,
    resumable: bool,
) -> FrameReader:
    """Frames from a position to `until`. `graph` is the run's hosted graph; `state` is what an agent's thread has at the
    position, `questions` what it asks."""
    if graph:
        state_of = core.graphs.states_of(caller, thread_id, graph)
        return GraphProjection(until, modes, position=position, resumable=resumable, state_of=state_of)
    return RunProjection(thread_id, until, modes, state, position=position, resumable=resumable, questions=questions)
