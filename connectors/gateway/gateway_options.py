"""What can be tuned in the gateway. Times are in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from core.core_options import CoreOptions
from schemas import MAX_BODY_BYTES, TtlStrategy


@dataclass(frozen=True, slots=True)
class GatewayOptions(CoreOptions):
    """Limits and times of one gateway process, with those of the use cases."""

    slow_seconds: float = 10.0
    """How long a closed stream's reader may take to read what was sent to it."""
    streams_per_user: int = 100
    """Open streams and waits for runs of one user."""
    streams_per_tenant: int = 5_000
    """And of one tenant."""
    max_body: int = MAX_BODY_BYTES + 148_576
    """Bytes of a request's body, 1 MiB: what a caller writes with spaces and escapes is shorter in the record that comes of it,
    which may have `MAX_BODY_BYTES`."""
    thread_minutes: float | None = None
    """Lifetime in minutes of threads of LangGraph clients that set none; None: unlimited."""
    stateless_minutes: float = 60.0
    """After so many minutes the thread of a stateless run is deleted once nothing runs in it, whatever became of the gateway that
    made it."""
    thread_strategy: TtlStrategy = "delete"
    """What happens to them then."""
    state_messages: int = 1_000
    """The newest messages of a thread that a whole state holds."""
