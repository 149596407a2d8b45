"""What the stores of one keyspace share."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.common.clock import Clock, utc_now
from state.cassandra.session import Session
from state.codec import Codec
from state.stores.journal import INPUT_TTL


@dataclass(frozen=True, slots=True)
class Keyspace:
    """The session, and how rows are kept."""

    session: Session
    input_ttl: float = INPUT_TTL
    """Seconds that the outputs of processed inputs are kept."""
    now: Clock = utc_now
    """What is now, for the times of rows."""
    codec: Codec = field(default_factory=Codec)
    """What bodies go through."""
