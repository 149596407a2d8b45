"""Writing the audit trail: what principals do, by whom, with which credential, from where.

What turns and tool calls do is noted by their own records (`threads/draft.py`, `processors/tools`), which are as certain as the
turns are. The rest is written here. A gateway sends it to Kafka. Where there is no Kafka, as for commands of a system that does
not run, and where Kafka does not answer, it is kept as a timer that is due, and a gateway sends it on.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from core.due_timers import Timers, timer_of
from core.principal import Principal
from core.request_context import served
from schemas import (
    SYSTEM_TENANT,
    Action,
    AuditEvent,
    AuditWritten,
    CauceError,
    Envelope,
    Output,
    ServerTrouble,
    ThreadKey,
    Topic,
)
from schemas.common.clock import utc_now
from schemas.ids import new_id
from state import Timer, TimerStore

log = logging.getLogger("cauce.gateway")

SOURCE = "cauce/gateway"
COMMANDS = "cauce/command"
"""Source of what was done with the stores alone."""
Sends = Callable[[Output], Awaitable[None]]


class AuditWriter:
    """Appends to the audit trail what is done for a principal."""

    def __init__(self, timers: TimerStore, send: Sends | None = None) -> None:
        """`send` appends a record to its topic, where there is a Kafka; it raises `ServerTrouble` where that is away."""
        self._timers, self._send = timers, send

    async def write(self, by: Principal, action: Action, *, tenant_id: str | None = None, **fields: Any) -> None:
        """Tells what `by` has done, in their own tenant or another. `fields` are those of `AuditEvent`.

        Never raises: what was done is done. What cannot be kept anywhere is in the log, whole.
        """
        about = {"credential": by.credential, "actor": actor_of(by), **fields}
        await self.write_event(tenant_id or by.tenant_id, action, **about)

    async def write_event(self, tenant_id: str, action: Action, **fields: Any) -> None:
        """As `write`, for what nobody did who is known here: `fields` name the actor."""
        request = served()
        origin = {"request_id": request.request_id, "address": request.address or None} if request else {}
        event = AuditEvent(at=utc_now(), action=action, **{**origin, **fields})
        record_id = new_id("au")
        try:
            if self._send:
                await self._send(record_of(tenant_id, record_id, event, SOURCE))
                return
        except (ServerTrouble, RuntimeError) as error:  # the latter: a producer that was closed
            log.warning("the audit trail has to wait for Kafka: %s", error)
        except CauceError:
            log.exception("this is not in the audit trail of %s: %s", tenant_id, event.to_bytes().decode())
            return
        kept = AuditWritten(event=event, record_id=record_id, source=SOURCE if self._send else COMMANDS)
        try:
            await self._timers.put(timer_of(ThreadKey(tenant_id, ""), _NOBODY, record_id, kept, event.at))
        except CauceError:
            log.exception("this is not in the audit trail of %s: %s", tenant_id, event.to_bytes().decode())


_NOBODY = ""
"""Whose timers these are: those of a user go when the user is erased."""


class KeptAudit:
    """Sends on what was kept as timers. A record has the id that it was given: readers know it again (`AuditReader`)."""

    def __init__(self, timers: Timers, send: Sends) -> None:
        self._send = send
        timers.on(AuditWritten.TYPE, self._sends_on)

    async def _sends_on(self, timer: Timer) -> datetime | None:
        kept = AuditWritten.model_validate_json(timer.body)
        await self._send(record_of(timer.tenant_id, kept.record_id, kept.event, kept.source))
        return None


def actor_of(by: Principal) -> str:
    """As `AuditEvent.actor` names a principal."""
    if by.tenant_id != SYSTEM_TENANT:
        return f"user:{by.user_id}"
    return "operator" if by.kind == "operator" else f"operator:{by.user_id}"


def record_of(tenant_id: str, record_id: str, event: AuditEvent, source: str) -> Output:
    """The event as a record of `audit.events`."""
    return Output.of(
        Topic.AUDIT_EVENTS, tenant_id, event, Envelope(record_id, AuditEvent.TYPE, source, tenant_id, event.at)
    )
