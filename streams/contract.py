"""What a processor is, and what it may raise.

A processor turns one record into outputs. The runtime calls `process` for one record of a key at a time, in order, and
for hundreds of keys concurrently on one event loop.

The rules:

- `process` may be called again with the same record: after a crash, after a rebalance, or because publishing failed. It
  must then return the same outputs and must not repeat an effect. The journal and the tool ledger make that easy.
- It never blocks the event loop and never waits for a later record of the same key: that record is queued behind it.
- It may be cancelled at any await; what it had not committed did not happen.
- The exception that it raises determines what happens to the record:

  | raised | consequence |
  |---|---|
  | `Retry(after)` | called again after that many seconds; the lane waits. The processor bounds the repeats |
  | `Reject(reason)` or `schemas.BadRecord` | to `dead.letters` with the reason; the lane continues ||
  | `schemas.ServerTrouble` | called again with backoff for as long as it takes: an outage is nobody's fault |
  | anything else | called again a few times with backoff, then `give_up` and `dead.letters` |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from schemas import Output, RawRecord, Record, Topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A processor group, as the runtime knows it."""

    name: str
    """The id of its consumer group."""
    reads: tuple[Topic, ...]
    """Topics of one partition set: partition p of all of them belongs to one slot."""
    in_order: bool = True
    """Records of one key are processed one at a time and in order. If false, all concurrently, within the budgets."""
    awaited: bool = True
    """Somebody waits for what the group publishes in its transactions."""
    fetch_bytes: int = 1
    """So much is gathered at the broker before it is fetched, for half a second at most."""

    @property
    def topics(self) -> tuple[str, ...]:
        """The names of what it reads."""
        return tuple(topic.value for topic in self.reads)


class Retry(Exception):
    """Process this record again after `after` seconds."""

    def __init__(self, after: float, reason: str = "") -> None:
        super().__init__(reason or f"again in {after} s")
        self.after = after


class Reject(Exception):
    """This record can never be processed. `reason` is kept with the dead letter; `outputs` are published as well."""

    def __init__(self, reason: str, outputs: Sequence[Output] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.outputs = tuple(outputs)


class Publication(Enum):
    """What is known about the outputs of a processed record."""

    COMMITTED = "committed"
    """They and the record's offset are."""
    PENDING = "pending"
    """They will be, by this worker in their turn, or by another one whose slot it is."""
    MISSING = "missing"
    """A previous owner left them unpublished, and the record will be redelivered to this worker."""


class RuntimeView(Protocol):
    """What a processor may ask the runtime that calls it."""

    def publication(self, position: str) -> Publication:
        """What is known about the outputs of the record at this position (`RawRecord.position`).

        A processor that reads several topics asks it: records of one key are redelivered in order within a topic only,
        and outputs that a previous owner left unpublished must precede those of the current record.
        """
        ...

    def waiting(self, raw: RawRecord) -> Sequence[RawRecord]:
        """The records that wait behind this one, which is being processed, in its lane."""
        ...


class Processor(Protocol):
    """One group's work. See the module's docstring for the rules."""

    async def process(self, record: Record) -> Sequence[Output]:
        """Does what the record asks for and returns what is to be published, in order."""
        ...

    async def give_up(self, record: Record, reason: str) -> Sequence[Output]:
        """Called once the runtime stops trying a record: it fails, or kills its worker, every time.

        Settles what depends on the record, such as the run that would wait forever, and returns what users must see.
        The record's dead letter is published as well. The same rules as for `process` apply.
        """
        ...

    def attach(self, runtime: RuntimeView) -> None:
        """Called once, before the first record."""
        ...

    def arrived(self, raw: RawRecord) -> None:
        """Called when a record is taken in, before it waits in its lane.

        A hint only, for what cannot wait in the lane, such as a cancel. Must be quick and must not raise.
        """
        ...
