"""How far a client has read a thread: sent in the ids of frames, and sent back by a client that reconnects."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.refusals import Invalid

_POSITION = re.compile(
    r"^(\d{1,12})(?:\.(\d{1,4}))?(?::([A-Za-z0-9_.\-]{1,128}):(\d{1,9})((?:,\d{1,9}=\d{1,9}(?:\.\d{1,9}){0,7}){0,1000}))?$"
)


@dataclass(frozen=True, slots=True)
class Position:
    """How far a client has read: all of event `seq` and before, `sub` frames of the next where an event makes several, and
    `offset` characters of the answer that is being written. As text it is the id of an SSE frame.

    In a graph's stream `message_id` is the leg that is going and `offset` counts its parts; of those in `parts`, which a
    model writes, the client has as much as the numbers say (`written.Had`), of all others everything.
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
