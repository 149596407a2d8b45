"""Where a client's stream of a thread begins and ends. How far it has read is in the ids of frames, which it sends back when it
reconnects."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.refusals import Invalid
from schemas import TERMINAL_TYPES, RunPaused, ThreadChanged, ThreadEvent

_POSITION = re.compile(
    r"^(\d{1,12})(?:\.(\d{1,4}))?(?::([A-Za-z0-9_.\-]{1,128}):(\d{1,9})((?:,\d{1,9}=\d{1,9}(?:\.\d{1,9}){0,7}){0,1000}))?$"
)


@dataclass(frozen=True, slots=True)
class Position:
    """How far a client has read: all of event `seq` and before, `sub` frames of the next where an event makes several, and
    `offset` characters of the answer that is being written. As text it is the id of an SSE frame.

    In a graph's stream `message_id` is the active leg and `offset` counts its parts; of those in `parts`, which a
    model writes, the client has as much as the numbers say (`written_parts.Had`), of all others everything.
    """

    seq: int = 0
    sub: int = 0
    message_id: str = ""
    offset: int = 0
    parts: tuple[tuple[int, tuple[int, ...]], ...] = ()

    def __str__(self) -> str:
        text = f"{self.seq}.{self.sub}" if self.sub else str(self.seq)
        if not self.message_id:
            return text
        parts = "".join(f",{index}={'.'.join(map(str, numbers))}" for index, numbers in self.parts)
        return f"{text}:{self.message_id}:{self.offset}{parts}"

    @classmethod
    def parse(cls, text: str | None) -> Position:
        """Reads an id that we gave; `-1`, `-`, `0` or nothing mean the beginning. Raises `Refused` for anything else."""
        if text in (None, "", "-", "-1"):
            return cls()
        found = _POSITION.match(text or "")
        if found is None:
            raise Invalid("invalid_position", f"{(text or '')[:100]!r} is not an id of an event of this thread.")
        seq, sub, message_id, offset, parts = found.groups()
        pairs = [pair.split("=") for pair in (parts or "").split(",") if pair]
        had = tuple((int(index), tuple(map(int, numbers.split(".")))) for index, numbers in pairs)
        return cls(int(seq), int(sub or 0), message_id or "", int(offset or 0), had)

    def known(self, newest: int) -> Position:
        """This position, in a thread whose newest event is `newest`. Raises `Refused` for one beyond that: a reader
        with the id of another thread would wait forever."""
        if self.seq > newest:
            raise Invalid("invalid_position", f"'{self}' is not an id of an event of this thread.")
        return self


def is_deletion(event: ThreadEvent) -> bool:
    """Whether nothing comes after this event: the thread is deleted."""
    return isinstance(event, ThreadChanged) and event.action == "delete"


@dataclass(frozen=True, slots=True)
class RunEnd:
    """Where the stream of one run ends: with its last event, or when it waits for its user.

    `last_event` is the run's last where it is over already: whoever has it gets the end immediately, since nothing else may ever
    come in its thread. `paused_after` is the event up to which a pause is past.
    """

    run_id: str
    last_event: int | None = None
    paused_after: int = 0

    def is_before(self, seq: int) -> bool:
        """Whether a reader who has the events up to `seq` has all of the run."""
        return self.last_event is not None and seq >= self.last_event

    def is_at(self, event: ThreadEvent) -> bool:
        """Whether it is the last event of the stream."""
        if is_deletion(event):
            return True
        if self.last_event is not None:
            return event.seq >= self.last_event
        if event.run_id != self.run_id:
            return False
        return event.TYPE in TERMINAL_TYPES or (isinstance(event, RunPaused) and event.seq > self.paused_after)
