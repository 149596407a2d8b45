"""What the stores of one file share."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.common.clock import Clock
from state.codec import Codec
from state.sqlite.readers import Readers
from state.sqlite.writer import Writer


@dataclass(frozen=True, slots=True)
class Database:
    """The file's threads, and how rows are kept."""

    writer: Writer
    readers: Readers
    now: Clock
    """The clock that rows expire by."""
    input_ttl: float
    """Seconds that the outputs of processed inputs are kept."""
    codec: Codec
    """What bodies go through."""
