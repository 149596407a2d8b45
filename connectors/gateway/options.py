"""What can be tuned in the gateway. Times are in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from schemas import MAX_BODY_BYTES, TtlStrategy


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """Limits and times of one gateway process."""

    heartbeat: float = 5.0
    """A stream that has nothing to say says so this often: the LangGraph client for JavaScript reconnects when it hears
    nothing for three times its cadence."""
    stream_items: int = 2_000
    """Events and pieces of text that may wait for a slow reader before its stream is closed."""
    slow_seconds: float = 10.0
    """How long a closed stream's reader may take to read what was sent to it."""
    streams_per_user: int = 100
    max_body: int = MAX_BODY_BYTES + 148_576
    """Bytes of a request's body, 1 MiB: what a caller writes with spaces and escapes is shorter in the record that comes of it,
    which may have `MAX_BODY_BYTES`."""
    request_seconds: float = 60.0
    """A request that is no stream and waits for no run is given up then."""
    wait_seconds: float = 900.0
    """The longest wait for a run."""
    stateless_runs: int = 500
    """Stateless runs whose end is waited for at a time, to delete their threads."""
    thread_minutes: float | None = None
    """Minutes that threads of LangGraph's clients live where these say nothing; None: for ever."""
    thread_strategy: TtlStrategy = "delete"
    """What happens to them then."""
    delayed_runs: int = 1_000
    """Runs of a user that begin later."""
    timer_seconds: float = 1.0
    """Between two looks for what is due."""
    produce_seconds: float = 5.0
    """How long Kafka may take to acknowledge."""
    apply_seconds: float = 15.0
    """How long a change of a thread may take until it is journaled."""
    state_messages: int = 1_000
    """The newest messages of a thread that a whole state holds."""
