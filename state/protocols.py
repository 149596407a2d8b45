"""What a store must do, whatever it is built on. `state/sqlite` and `state/cassandra` pass the same conformance suite.

Every method takes the tenant. A method that cannot reach its server raises `Unavailable`; a write whose answer was lost
raises `OutcomeUnknown` unless the store can find out by itself. Times come from the caller's clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from schemas import (
    AcceptedRun,
    AuditEvent,
    Commit,
    Hydrated,
    LedgerEntry,
    OpenInput,
    Span,
    StateRow,
    StoredEvent,
    StoredMessage,
    StoredRun,
    Tenant,
    ThreadSummary,
    ToolResult,
    User,
)
from state.items import Item
from state.timers import TimerStore


@dataclass(frozen=True, slots=True)
class Committed:
    """The batch was applied; the thread has this version now."""

    version: int


@dataclass(frozen=True, slots=True)
class AlreadyDone:
    """The input was in the journal before; nothing was written. These are its stored outputs."""

    outputs: bytes


@dataclass(frozen=True, slots=True)
class Stale:
    """Another writer moved the thread on; nothing was written. Hydrate again."""


class Journal(Protocol):
    """The threads. All writes of one turn are one conditional single-partition batch (DESIGN section 5)."""

    async def hydrate(self, tenant_id: str, thread_id: str, *, window: int, input_id: str | None = None) -> Hydrated:
        """Reads the head, at most `window` newest messages of its branch and, when `input_id` is given, its stored outputs."""
        ...

    async def numbers(self, tenant_id: str, thread_id: str) -> tuple[int, int]:
        """The thread's version and the number of its newest event, 0 for none: all that erasing a thread takes, also where its
        head cannot be read."""
        ...

    async def outputs_of(self, tenant_id: str, thread_id: str, input_id: str) -> bytes | None:
        """The stored outputs of a processed input; None when it was not processed or its record expired."""
        ...

    async def commit(self, tenant_id: str, thread_id: str, commit: Commit) -> Committed | AlreadyDone | Stale:
        """Applies the batch if the version is the expected one and the input is new; all of it or nothing.

        Also keeps the user's list of threads up to date (that row is not part of the condition, and is written when a
        thread is made, when its title changes and when a run ends, not by every turn). A lost answer is looked up;
        `OutcomeUnknown` is raised only when that fails too: the caller then hydrates again. `TooLarge` is raised before
        anything is written, for more than the store takes in one batch (12 MiB in Cassandra, no limit in SQLite).
        """
        ...

    async def messages(
        self,
        tenant_id: str,
        thread_id: str,
        *,
        before: int | None = None,
        limit: int = 100,
        spans: Sequence[Span] | None = None,
    ) -> list[StoredMessage]:
        """At most `limit` messages with sequence numbers below `before`, the newest of them, oldest first.

        Of all branches, or with numbers in these spans (in ascending order).
        """
        ...

    async def events(self, tenant_id: str, thread_id: str, *, since: int = 0, limit: int = 500) -> list[StoredEvent]:
        """At most `limit` events with sequence numbers above `since`, in order."""
        ...

    async def threads(self, tenant_id: str, user_id: str, *, limit: int = 50) -> list[ThreadSummary]:
        """The user's threads that are not deleted, the last changed first."""
        ...

    async def accept(self, tenant_id: str, thread_id: str, run: AcceptedRun) -> None:
        """Keeps what was promised about a run, for as long as its record may wait to be read once it has begun."""
        ...

    async def accepted(self, tenant_id: str, thread_id: str, *, run_id: str | None = None) -> list[AcceptedRun]:
        """The accepted runs of a thread, or the one of this id, oldest first."""
        ...

    async def announce(self, tenant_id: str, thread_id: str, given: OpenInput) -> None:
        """Keeps or replaces what readers are to know of an input that has no turn yet, for some hours at most.

        One that was `begun` makes the thread `busy` in its user's list, where the thread is in it.
        """
        ...

    async def withdraw(self, tenant_id: str, thread_id: str, input_id: str) -> None:
        """Forgets an open input, or the run that was accepted with its id: it was not sent."""
        ...

    async def open_inputs(self, tenant_id: str, thread_id: str) -> list[OpenInput]:
        """Inputs that were announced and of which no commit said that they are done, oldest first.

        One may be in the journal all the same: look (`outputs_of`) before believing it.
        """
        ...

    async def runs(
        self, tenant_id: str, thread_id: str, *, run_id: str | None = None, limit: int = 1000
    ) -> list[StoredRun]:
        """At most `limit` runs of a thread that are over, or the one of this id, in order of their ends."""
        ...

    async def checkpoints(
        self, tenant_id: str, thread_id: str, *, before: int | None = None, limit: int = 50
    ) -> list[StateRow]:
        """At most `limit` rows of the kind `checkpoint` with numbers below `before`, the newest first."""
        ...

    async def values(self, tenant_id: str, thread_id: str, ranges: Sequence[tuple[int, int]]) -> list[StateRow]:
        """The rows of the kind `value` with numbers in these ranges (both ends included), by number."""
        ...


class ToolLedger(Protocol):
    """Every tool call once (DESIGN section 6). All writes are conditional on the row's state."""

    async def get(self, tenant_id: str, call_id: str) -> LedgerEntry | None:
        """The entry of a call."""
        ...

    async def claim(self, tenant_id: str, entry: LedgerEntry) -> LedgerEntry | None:
        """Inserts `entry` if the call has none. Returns None when it did, else the entry that is there."""
        ...

    async def send(self, tenant_id: str, call_id: str, *, owner: str, at: datetime) -> bool:
        """Moves `intent` to `sent` for this owner and counts an attempt. False when it was not in `intent`."""
        ...

    async def withdraw(self, tenant_id: str, call_id: str, *, owner: str, at: datetime) -> bool:
        """Moves `sent` back to `intent`: the call was certainly not executed. False unless this owner sent it."""
        ...

    async def finish(self, tenant_id: str, call_id: str, *, owner: str, result: ToolResult, at: datetime) -> bool:
        """Moves `intent` or `sent` to `done` (`unknown` where the result says so). False unless it is this owner's."""
        ...

    async def take_over(self, tenant_id: str, call_id: str, *, previous_owner: str, owner: str, at: datetime) -> bool:
        """Makes `owner` the owner of a `sent` entry that `previous_owner` left behind; it stays `sent`."""
        ...


class Directory(Protocol):
    """Tenants and users."""

    async def tenant(self, tenant_id: str) -> Tenant | None:
        """The tenant of this id."""
        ...

    async def tenants(self) -> list[Tenant]:
        """All tenants, by id."""
        ...

    async def put_tenant(self, tenant: Tenant, *, expected_version: int) -> bool:
        """Stores the tenant if its stored version is the expected one (0: it must not exist). False when it is not.

        `tenant.version` is what is stored; raises `ValueError` unless it is above `expected_version`.
        """
        ...

    async def user(self, tenant_id: str, user_id: str) -> User | None:
        """The user of this id."""
        ...

    async def users(self, tenant_id: str) -> list[User]:
        """The tenant's users, by id."""
        ...

    async def put_user(self, user: User) -> None:
        """Stores or replaces the user."""
        ...


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An audit event in its place: `position` rises within a tenant (the offset in `audit.events`)."""

    event_id: str
    position: int
    event: AuditEvent


class Credentials(Protocol):
    """Keys, sessions and one-time links: small JSON bodies by tenant, kind and id, gone when they expire."""

    async def put(self, tenant_id: str, kind: str, credential_id: str, body: bytes, *, expires: datetime) -> None:
        """Stores or replaces one. The store forgets it at `expires`; an end that it cannot count to is for the reader to keep."""
        ...

    async def get(self, tenant_id: str, kind: str, credential_id: str) -> bytes | None:
        """The body of one that has not expired."""
        ...

    async def take(self, tenant_id: str, kind: str, credential_id: str) -> bytes | None:
        """Removes one and returns its body; of several callers one gets it, the others None."""
        ...

    async def list(self, tenant_id: str, kind: str) -> list[tuple[str, bytes]]:
        """Ids and bodies of a kind, by id."""
        ...


class ItemStore(Protocol):
    """JSON values that agents and clients keep for a user, by namespace and key. All of them raise `BadItem`."""

    async def put(
        self,
        tenant_id: str,
        user_id: str,
        namespace: Sequence[str],
        key: str,
        value: dict[str, Any],
        *,
        expires: datetime | None = None,
    ) -> None:
        """Stores or replaces one; it keeps the time at which it was first made. It is gone at `expires`."""
        ...

    async def get(self, tenant_id: str, user_id: str, namespace: Sequence[str], key: str) -> Item | None:
        """One that has not expired."""
        ...

    async def delete(self, tenant_id: str, user_id: str, namespace: Sequence[str], key: str) -> None:
        """Removes one, if it is there."""
        ...

    def below(self, tenant_id: str, user_id: str, prefix: Sequence[str]) -> AsyncIterator[Item]:
        """The user's items whose namespaces begin with these labels, by namespace and key."""
        ...


@dataclass(frozen=True, slots=True)
class AssistantRow:
    """One version of an assistant of a hosted graph; `body` is its JSON, opaque to the store."""

    assistant_id: str
    version: int
    """1, 2, 3, ..."""
    body: bytes


class AssistantStore(Protocol):
    """Assistants that a tenant's users made on hosted graphs. Every version is kept; one of them is the current one."""

    async def put(self, tenant_id: str, row: AssistantRow, *, expected_version: int) -> bool:
        """Adds a version and makes it the current one, if the newest version is the expected one (0: there is none).

        False when it is not. Raises `ValueError` unless `row.version` is `expected_version` + 1.
        """
        ...

    async def choose(self, tenant_id: str, assistant_id: str, version: int) -> bool:
        """Makes a version that exists the current one; False when there is none."""
        ...

    async def get(self, tenant_id: str, assistant_id: str) -> AssistantRow | None:
        """The current version."""
        ...

    async def versions(self, tenant_id: str, assistant_id: str) -> list[AssistantRow]:
        """All versions, the newest first."""
        ...

    async def list(self, tenant_id: str) -> list[AssistantRow]:
        """The current versions of all assistants, by id."""
        ...

    async def delete(self, tenant_id: str, assistant_id: str) -> bool:
        """Removes an assistant with all its versions; False when there is none."""
        ...


class AuditStore(Protocol):
    """The audit trail, in order per tenant."""

    async def append(self, tenant_id: str, rows: Sequence[AuditRow]) -> None:
        """Stores rows; a row that is there already (same position and event id) is stored again without effect."""
        ...

    async def add_missing(self, tenant_id: str, row: AuditRow) -> None:
        """Stores a row unless there is one of its position and event id, which stays as it is."""
        ...

    async def tail(self, tenant_id: str, *, limit: int = 100) -> list[AuditRow]:
        """The newest rows, oldest first."""
        ...

    def export(self, tenant_id: str, *, since: datetime | None = None) -> AsyncIterator[AuditRow]:
        """All rows in order, from `since` on."""
        ...


class AttemptStore(Protocol):
    """How often a record was begun, for records that may have killed their worker (DESIGN section 4, Poison)."""

    async def begun(self, group: str, topic: str, partition: int, offset: int) -> int:
        """How often it was begun and not forgotten."""
        ...

    async def begin(self, group: str, topic: str, partition: int, offset: int) -> int:
        """Counts one more attempt durably and returns the count, 1 for the first."""
        ...

    async def forget(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Drops the count of a record that is done, or whose processing ended for another reason than a crash."""
        ...


class Stores(Protocol):
    """All stores of one backend."""

    journal: Journal
    ledger: ToolLedger
    directory: Directory
    audit: AuditStore
    credentials: Credentials
    items: ItemStore
    assistants: AssistantStore
    attempts: AttemptStore
    timers: TimerStore

    async def open(self) -> None:
        """Connects, waiting for the server with backoff until it answers or the task is cancelled."""
        ...

    async def close(self) -> None:
        """Finishes what is running and lets go of every connection."""
        ...

    async def migrate(self) -> list[str]:
        """Applies the missing migrations and returns their names; safe to call again and from several processes."""
        ...

    async def pending_migrations(self) -> list[str]:
        """Names of the migrations that `migrate` would apply."""
        ...

    async def ping(self) -> None:
        """Raises `Unavailable` when the server does not answer within two seconds."""
        ...
