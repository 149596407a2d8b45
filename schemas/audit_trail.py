"""The one way in which audit events are written."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from schemas.audit_actions import Action
from schemas.audit_events import AuditEvent
from schemas.ids import derived_id
from schemas.records import Envelope, Output
from schemas.topics import Topic


def audit_output(
    *,
    tenant_id: str,
    at: datetime,
    action: Action,
    actor: str,
    source: str,
    id_parts: tuple[object, ...],
    traceparent: str | None = None,
    **fields: Any,
) -> Output:
    """An audit event as an output to `audit.events`.

    `id_parts` say which event of which input it is: the same parts give the same id, so that a replay is the same event.
    `fields` are those of `AuditEvent`: outcome, credential, user_id, thread_id, run_id, subject, reason, details and others.
    """
    event = AuditEvent(at=at, action=action, actor=actor, **fields)
    record_id = derived_id("au", tenant_id, source, action, *id_parts)
    envelope = Envelope(record_id, AuditEvent.TYPE, source, tenant_id, at, traceparent)
    return Output.of(Topic.AUDIT_EVENTS, tenant_id, event, envelope)
