"""Threads as the worker knows them: read from the journal, or kept from the last turn.

A kept thread may be stale; the journal's conditional batch finds out, and the thread is read again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from schemas import ThreadHead, ThreadKey
from schemas.common.recent import Weighed
from state import Commit, Hydrated, Journal
from threads.forks import WINDOW

KEPT_BYTES = 64 << 20
"""Bytes of the threads that a worker keeps: of small threads 2,000, of large ones fewer."""
_HEAD, _MESSAGE = 4_000, 1_000
"""Bytes in memory of a head and of a message beside its text, about."""


@dataclass
class _Kept:
    thread: Hydrated
    inputs: dict[str, bytes] = field(default_factory=dict)
    """Stored outputs of the inputs that this worker committed to the thread; the newest few."""
    complete: bool = False
    """`inputs` are all that the thread ever had."""

    def size(self) -> int:
        """Bytes in memory, about."""
        head = self.thread.head
        queued = head.queued_bytes if head and head.queued else 0
        stored = self.thread.messages
        texts = sum([len(one.message.text) for one in stored])  # lists: this is asked for after every turn
        calls = [len(str(call.arguments)) for one in stored for call in one.message.tool_calls]
        messages = _MESSAGE * (len(stored) + len(calls)) + texts + sum(calls)
        return _HEAD + queued + messages + sum(map(len, self.inputs.values()))


class Threads:
    """Hydrates threads through a bounded cache."""

    INPUTS_KEPT = 16

    def __init__(self, journal: Journal, *, size: int = 2000, most: int = KEPT_BYTES) -> None:
        """`size` and `most`: threads and bytes that are kept."""
        self._journal = journal
        self._kept: Weighed[ThreadKey, _Kept] = Weighed(size, most, _Kept.size)

    async def hydrate(self, key: ThreadKey, input_id: str, *, waited_for: bool = False) -> Hydrated:
        """The thread, and the stored outputs of `input_id` when it was processed before.

        `waited_for` says that the thread's own state shows that the input is new, as for a result of a call that is
        pending. Otherwise an input that is not known here is looked up, so that a message that is sent again does not
        cost a model call.
        """
        kept = self._kept.get(key)
        if kept is None:
            thread = await self._journal.hydrate(*key, window=WINDOW, input_id=input_id)
            if thread.head is not None and thread.outputs is None:
                self._kept.set(key, _Kept(thread))
            return thread
        outputs = kept.inputs.get(input_id)
        if (
            outputs is None
            and not (waited_for or kept.complete)
            and await self._journal.outputs_of(*key, input_id) is not None
        ):
            # Somebody else processed it: what is kept here is older than that.
            self.forget(key)
            return await self.hydrate(key, input_id)
        return Hydrated(kept.thread.version, kept.thread.head, kept.thread.messages, outputs)

    async def without_head(self, key: ThreadKey, user_id: str, now: datetime) -> Hydrated | None:
        """A thread whose head cannot be read, as far as it takes to erase it; None where the user's list does not have it."""
        tenant_id, thread_id = key
        if not await self._journal.lists(tenant_id, user_id, thread_id):
            return None
        version, newest = await self._journal.numbers(tenant_id, thread_id)
        return Hydrated(version, ThreadHead(user_id=user_id, created_at=now, updated_at=now, next_event=newest + 1), ())

    def peek(self, key: ThreadKey) -> Hydrated | None:
        """The thread if it is kept."""
        kept = self._kept.get(key)
        return kept.thread if kept else None

    def committed(self, key: ThreadKey, base: Hydrated, commit: Commit, version: int) -> None:
        """Keeps the thread as this commit left it."""
        if commit.head.forks != (base.head.forks if base.head else ()):
            self.forget(key)  # other messages than those that are kept
            return
        kept = self._kept.get(key) or _Kept(base, complete=base.head is None)
        messages = base.messages
        if commit.remove_messages_from is not None:
            messages = tuple(m for m in messages if m.seq < (commit.remove_messages_from or 0))
        kept.thread = Hydrated(version, commit.head, (*messages, *commit.messages)[-WINDOW:])
        if commit.final:
            kept.inputs[commit.input_id] = commit.outputs
        while len(kept.inputs) > self.INPUTS_KEPT:
            del kept.inputs[next(iter(kept.inputs))]
            kept.complete = False
        self._kept.set(key, kept)

    def forget(self, key: ThreadKey) -> None:
        """Drops a thread that turned out to be stale."""
        self._kept.forget(key)
