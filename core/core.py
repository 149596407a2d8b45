"""`Core`: all use cases behind one object, and what they share: tenants, agents, streams."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from core.agents import Agents
from core.answering import Answering
from core.audit_writer import AuditWriter, KeptAudit
from core.changes import Changes
from core.core_options import CoreOptions
from core.delayed import DelayedRuns
from core.due_timers import Timers
from core.ended_runs import EndedRuns
from core.erasure import DueErasures
from core.following.feed import Feed
from core.following.thread_stream import ThreadStream, ThreadStreams
from core.graph_assistants import Assistant, Assistants
from core.held_inputs import HeldInputs
from core.ingress import Ingress
from core.permissions import Operation, require
from core.principal import Principal
from core.refused_requests import RefusedRequests
from core.run_views import RunView
from core.runs import Runs
from core.sessions import Sessions
from core.stateless import StatelessThreads
from core.store_core import StoreCore
from core.thread_expiry import Expiry
from core.threads import Threads
from schemas import Tenant, ThreadHead
from state import Stores


class HostedNames(Protocol):
    """What the use cases must know of the installation's hosted graphs."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all hosted graphs."""

    @property
    def descriptions(self) -> Mapping[str, str]:
        """By name, where there is one."""


class Core(StoreCore):
    """Everything that a protocol may do for a principal."""

    threads: Threads
    runs: Runs

    def __init__(
        self,
        stores: Stores,
        ingress: Ingress,
        feed: Feed,
        options: CoreOptions,
        graphs: HostedNames,
    ) -> None:
        super().__init__(stores, options.quotas, trail=AuditWriter(stores.timers, ingress.send))
        self.sessions = Sessions(
            stores.credentials,
            self.trail,
            lifetime=timedelta(seconds=options.session_seconds),
            idle=timedelta(seconds=options.session_idle_seconds),
        )
        self.ingress, self.feed = ingress, feed
        self.assistants = Assistants(
            stores.assistants, self.quotas, graphs.names, graphs.descriptions, trail=self.trail
        )
        self.agents = Agents(self.tenants, self.assistants)
        self.streams = ThreadStreams(stores.journal, feed, self.access, heartbeat=options.heartbeat)
        self.changes = Changes(stores.journal, ingress, self.streams, seconds=options.apply_seconds)
        self.timers = Timers(stores.timers, every=options.timer_seconds)
        expiry = Expiry(self.timers, stores.journal, stores.directory, ingress)
        self.threads = Threads(stores.journal, self.changes, expiry, self.quotas)
        self.refused = RefusedRequests(self.trail)
        self.kept_audit = KeptAudit(self.timers, ingress.send)
        self.held = HeldInputs(self.timers, stores.directory, ingress)
        self.ended = EndedRuns(self.timers, stores, ingress)
        self.due_erasures = DueErasures(self.timers, stores, ingress)
        self.delayed = DelayedRuns(self.timers, stores.journal, stores.directory, ingress, most=options.delayed_runs)
        self.runs = Runs(stores.journal, ingress, self.changes, self.threads, self.agents, self.streams, self.delayed)
        self.answering = Answering(stores.journal, ingress, self.changes, self.threads, self.runs)
        self.stateless = StatelessThreads(
            self.runs, self.threads, most=options.stateless_runs, seconds=options.wait_seconds
        )

    async def start(self) -> None:
        """Begins to connect to Kafka; does not wait for it."""
        await self.ingress.start()
        await self.feed.start()
        await self.timers.start()
        await self.refused.start()

    async def stop(self) -> None:
        """Closes the connections to Kafka."""
        await self.refused.stop()
        await self.timers.stop()
        await self.stateless.stop()
        await self.feed.stop()
        await self.ingress.stop()

    async def tenant(self, principal: Principal) -> Tenant:
        """The principal's tenant. Raises `Refused` when it is paused or gone."""
        return await self.tenants.of(principal)

    async def assistant(self, principal: Principal, given: object) -> Assistant | None:
        """The assistant of a hosted graph that an id or a graph's name means."""
        return await self.assistants.find(principal, await self.tenant(principal), given)

    async def graph_of(self, principal: Principal, head: ThreadHead) -> str | None:
        """The hosted graph that a thread's state is of; None for a thread of agents."""
        if head.graph:
            return head.graph
        # A thread in which nothing ran yet may have been made for a graph.
        found = await self.assistant(principal, head.agent_id or head.metadata.get("graph_id"))
        return found.graph_id if found else None

    async def graph_of_run(self, principal: Principal, view: RunView, head: ThreadHead) -> str | None:
        """The hosted graph of a run; None for a run of an agent."""
        if view.kind is not None:
            return view.graph or None
        # An older version did not store it: which agent has this name now?
        if (await self.tenant(principal)).agent(view.agent_id) is not None:
            return None
        found = await self.assistant(principal, view.agent_id)
        return found.graph_id if found else head.graph or None

    def stream(self, principal: Principal, thread_id: str) -> ThreadStream:
        """Events of a thread, which the caller has checked to be the principal's."""
        require(principal, Operation.READ)
        principal.require_active()
        return self.streams.of(principal, thread_id)
