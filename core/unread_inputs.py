"""What was accepted and no worker has read yet: each thread, user and tenant may have so much of it, and more is refused.

Behind a run that takes its time, inputs of its thread wait in Kafka and in workers. This process counts those that it has sent,
until a thread's event says that a worker has read them. It asks no store: what other processes sent is for them to count, and
what no event tells of, or tells of while Kafka is away, counts for `seconds` at most.
"""

from __future__ import annotations

import json
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.refusals import Limited
from schemas import (
    ApprovalResolved,
    InputRefused,
    RunCancelled,
    RunFailed,
    RunQueued,
    RunResumed,
    RunStarted,
    StateUpdated,
    ThreadChanged,
    ThreadKey,
)

AGAIN_SECONDS = 5
"""After which something of a flood may have been read."""
_TELL = {
    e.TYPE
    for e in (
        *(RunQueued, RunStarted, RunResumed, RunCancelled, RunFailed),
        *(InputRefused, ApprovalResolved, StateUpdated, ThreadChanged),
    )
}
"""Events that say of an input, by its own id or that of its run, that it was read."""


@dataclass(frozen=True, slots=True)
class Most:
    """How many inputs may be unread, and how many bytes they may have. One alone may have more."""

    inputs: int
    bytes: int


@dataclass(frozen=True, slots=True)
class UnreadLimits:
    """By whose they are."""

    thread: Most = Most(100, 8 << 20)
    """As many as a thread queues once they are read (`RunLimits.queued_inputs`)."""
    user: Most = Most(500, 32 << 20)
    tenant: Most = Most(5_000, 128 << 20)
    seconds: float = 900.0
    """The longest that one counts: as long as a turn may keep the inputs behind it waiting."""


@dataclass(frozen=True, slots=True)
class _Unread:
    owners: tuple[Hashable, Hashable, Hashable]
    size: int
    until: float


class UnreadInputs:
    """The count of one process. Its methods belong to the event loop's thread."""

    def __init__(self, limits: UnreadLimits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._unread: OrderedDict[tuple[str, str], _Unread] = OrderedDict()
        """By key of the thread and id of the input, the oldest first."""
        self._inputs: Counter[Hashable] = Counter()
        self._bytes: Counter[Hashable] = Counter()
        """By owner: the key of a thread, the names of a user, of a tenant."""

    def __len__(self) -> int:
        return len(self._unread)

    def require_room(self, key: ThreadKey, user_id: str, size: int) -> None:
        """Raises `Limited` when the thread, the user or the tenant has as much unread as may be."""
        while self._unread and next(iter(self._unread.values())).until <= self._clock():
            self._forget(next(iter(self._unread)))
        limits = self._limits
        names = ("of this thread", "of yours", "of this tenant")
        for whose, name, most in zip(
            _owners(key, user_id), names, (limits.thread, limits.user, limits.tenant), strict=True
        ):
            inputs = self._inputs[whose]
            if inputs >= most.inputs or (inputs and self._bytes[whose] + size > most.bytes):
                detail = (
                    f"{inputs} inputs {name} wait for a worker already, with {self._bytes[whose]:,} bytes; at most "
                    f"{most.inputs:,} with {most.bytes:,} bytes may. Send it again when some of them were begun, or cancel the "
                    "run that they wait for."
                )
                raise Limited("too_many_unread", detail, retry_after=AGAIN_SECONDS)

    def sent(self, key: ThreadKey, user_id: str, input_id: str, size: int) -> None:
        """Counts an input that is being sent; one that is sent again counts once."""
        name = (str(key), input_id)
        if name in self._unread:
            return
        unread = _Unread(_owners(key, user_id), size, self._clock() + self._limits.seconds)
        self._unread[name] = unread
        for whose in unread.owners:
            self._inputs[whose] += 1
            self._bytes[whose] += size

    def not_sent(self, key: ThreadKey, input_id: str) -> None:
        """Takes back what was not sent after all."""
        self._forget((str(key), input_id))

    def saw(self, key: bytes, kind: str, body: bytes) -> None:
        """Takes note of a thread's event, as its record has it."""
        if not self._unread or kind not in _TELL or (thread := key.decode("utf-8", "replace")) not in self._inputs:
            return
        event = json.loads(body)
        self.read(thread, _named(event))

    def read(self, thread: str, input_ids: Iterable[str]) -> None:
        """These inputs of a thread, by its key, were read by a worker."""
        for input_id in input_ids:
            self._forget((thread, input_id))

    def clear(self) -> None:
        """Forgets all: events of them may have been missed."""
        self._unread.clear()
        self._inputs.clear()
        self._bytes.clear()

    def _forget(self, name: tuple[str, str]) -> None:
        if (unread := self._unread.pop(name, None)) is None:
            return
        for whose in unread.owners:
            self._inputs[whose] -= 1
            self._bytes[whose] -= unread.size
            if not self._inputs[whose]:
                del self._inputs[whose], self._bytes[whose]


def _owners(key: ThreadKey, user_id: str) -> tuple[Hashable, Hashable, Hashable]:
    return str(key), (key.tenant_id, user_id), (key.tenant_id,)


def _named(event: Mapping[str, Any]) -> list[str]:
    return [found for name in ("input_id", "run_id") if isinstance(found := event.get(name), str)]
