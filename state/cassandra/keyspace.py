"""What the stores of one keyspace share."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.clock import Clock, utc_now
from state.cassandra.session import Session
from state.stores.journal import INPUT_TTL


@dataclass(frozen=True, slots=True)
class Keyspace:
    """The session, and how rows expire."""

    session: Session
    input_ttl: float = INPUT_TTL
    """Seconds that the outputs of processed inputs are kept."""
    now: Clock = utc_now
