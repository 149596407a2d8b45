"""A thread as it is read from the journal, and what one turn writes to it."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.thread_head import StateRow, StoredEvent, StoredMessage, StoredRun, ThreadHead


@dataclass(frozen=True, slots=True)
class Hydrated:
    """A thread as read from the journal. `version` is 0 and `head` None for a thread that does not exist yet."""

    version: int
    head: ThreadHead | None
    messages: tuple[StoredMessage, ...]
    """The newest messages of the conversation (`ThreadHead.branch`), oldest first."""
    outputs: bytes | None = None
    """The stored outputs of the input that was asked for, when the journal has it."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What one turn writes, in one conditional batch on the thread's partition."""

    input_id: str
    expected_version: int
    """The version that was hydrated; 0 creates the thread."""
    head: ThreadHead
    outputs: bytes
    """What a replay of the input must publish (`encode_outputs`)."""
    messages: tuple[StoredMessage, ...] = ()
    events: tuple[StoredEvent, ...] = ()
    runs: tuple[StoredRun, ...] = ()
    """Runs that end with it."""
    erase: bool = False
    """All messages, events, runs and rows of before go; the user's list forgets the thread."""
    rows: tuple[StateRow, ...] = ()
    """What a graph's state gained."""
    final: bool = True
    """False for a superstep of a turn that continues: the input is not recorded, and `outputs` are not stored."""
    announced: bool = False
    """There may be an `OpenInput` of the input: it goes."""
    remove_messages_from: int | None = None
    """Messages with this sequence number and above go before the new ones come (strategy `rollback`)."""
