"""What can be tuned in the use cases. Times are in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.quotas import QuotaLimits
from core.sessions import IDLE, LIFETIME
from core.unread_inputs import UnreadLimits


@dataclass(frozen=True, slots=True)
class CoreOptions:
    """Limits and times of one process that has the use cases."""

    quotas: QuotaLimits = field(default_factory=QuotaLimits)
    """How much may be kept."""
    heartbeat: float = 5.0
    """Seconds between the heartbeats of an idle stream: the LangGraph client for JavaScript reconnects when it receives nothing
    for three times its cadence."""
    stream_items: int = 2_000
    """Events and pieces of text that may wait for a slow reader before its stream is closed."""
    session_seconds: float = LIFETIME.total_seconds()
    """A browser session's longest life."""
    session_idle_seconds: float = IDLE.total_seconds()
    """How long a session may be unused."""
    wait_seconds: float = 900.0
    """The longest wait for a run."""
    stateless_runs: int = 500
    """Stateless runs whose end is waited for at a time, to delete their threads."""
    delayed_runs: int = 1_000
    """Runs of a user that begin later."""
    timer_seconds: float = 1.0
    """Between two looks for what is due."""
    unread: UnreadLimits = field(default_factory=UnreadLimits)
    """Inputs that were accepted and that no worker has read."""
    produce_seconds: float = 5.0
    """How long Kafka may take to acknowledge."""
    apply_seconds: float = 15.0
    """How long a change of a thread may take until it is journaled."""
