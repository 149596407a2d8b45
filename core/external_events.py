"""Runs that begin because something happened outside: a mail came, a task is due, somebody wrote in another program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

from core.access import Access
from core.audit_writer import AuditWriter
from core.ingress import Ingress, promised
from core.permissions import Operation, require
from core.principal import Principal
from core.refusals import Invalid, checked, not_found
from core.standing import is_in
from core.tenant_settings import Tenants
from schemas import AcceptedRun, BadRecord, ExternalEvent, ThreadKey, Unavailable, UnreadableRow, derived_id
from schemas.common.clock import utc_now
from state import Stores


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """Something that happened, once."""

    event_id: str
    """Whoever reports it gives it this id, each time; unique among the events of one source for one user."""
    kind: str
    """What happened, such as `gmail.message_added`."""
    summary: str
    """What the agent reads of it, in one or a few sentences."""
    occurred_at: datetime
    agent_id: str = "default"
    conversation: str | None = None
    """Events of one conversation, such as a thread of mails, come into one thread; each has a thread of its own when None."""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Begun:
    """The run that an event began: the same for the same event."""

    thread_id: str
    run_id: str


class ExternalEvents:
    """Events become runs; and how far whoever brings them has read is kept."""

    def __init__(self, stores: Stores, ingress: Ingress) -> None:
        self._journal, self._positions, self._ingress = stores.journal, stores.positions, ingress
        self._tenants, self._access = Tenants(stores.directory, AuditWriter(stores.timers)), Access(stores.directory)

    async def begin(self, principal: Principal, source: str, event: NewEvent) -> Begun:
        """Has the principal's agent take up an event of a source. However often it is called for an event, there is one run.

        Returns when the run is certain to come. Raises `Refused` where it never will: the tenant is paused or gone, the user is
        blocked, there is no such agent, or the event is too large. Raises `Unavailable` and `OutcomeUnknown` where it is not
        certain: call again.
        """
        try:
            principal = await self._access.admit(principal)
            require(principal, Operation.RUN)
            return await self._begin(principal, source, event)
        except UnreadableRow as error:  # a newer version may have written it; the event waits for whoever can read it
            raise Unavailable(str(error)) from error
        except BadRecord as error:
            raise Invalid("not_begun", f"No run can begin of this event: {error}") from error

    async def position(self, source: str, of: Principal | None = None) -> str | None:
        """The position that was kept last, of a user's account or, without one, of the source; None at the beginning."""
        return await self._positions.get(*_owner(of), source)

    async def keep(self, source: str, position: str, of: Principal | None = None) -> None:
        """Keeps a position; it is durable when this returns. Of two processes that keep one the last counts."""
        await self._positions.put(*_owner(of), source, position)

    async def _begin(self, principal: Principal, source: str, event: NewEvent) -> Begun:
        if (await self._tenants.of(principal)).agent(event.agent_id) is None:
            raise not_found("agent", event.agent_id)
        whose = (source, principal.tenant_id, principal.user_id)
        run_id = derived_id("ev", *whose, event.event_id)
        for thread_id in _threads(run_id, whose, event.conversation):
            key, begun = ThreadKey(principal.tenant_id, thread_id), Begun(thread_id, run_id)
            head = (await self._journal.hydrate(*key, window=0)).head
            if head is not None and (is_in(head, run_id) or bool(await self._journal.runs(*key, run_id=run_id))):
                return begun  # a worker has read its record; inputs are remembered for some days, and events reported again later
            if head is None or not head.deleted:
                break
        body = checked(
            ExternalEvent,
            user_id=principal.user_id,
            kind=event.kind,
            summary=event.summary,
            occurred_at=event.occurred_at,
            agent_id=event.agent_id,
            data=dict(event.data),
        )
        record = self._ingress.record(key, run_id, body)  # what is too large is refused before it is promised
        repeated = bool(await self._journal.accepted(*key, run_id=run_id))
        run = AcceptedRun(
            run_id=run_id,
            user_id=principal.user_id,
            agent_id=event.agent_id,
            kind="agent",
            at=utc_now(),
            details={"source": source},
        )
        async with promised(self._journal, key, run, repeated=repeated):
            await self._ingress.send_input(record)
        return begun


def _threads(run_id: str, whose: tuple[str, ...], conversation: str | None) -> Iterator[str]:
    """Threads that an event may belong to, the first that its user has not deleted counting: a conversation that continues
    after its thread was deleted has another."""
    if conversation is None:
        yield run_id
        return
    yield derived_id("et", *whose, conversation)
    for n in count(2):
        yield derived_id("et", *whose, conversation, str(n))


def _owner(of: Principal | None) -> tuple[str, str]:
    return (of.tenant_id, of.user_id) if of else ("", "")
