"""What the operator does to Kafka itself, noted in the audit trail of the installation (the tenant `system`)."""

from __future__ import annotations

import logging
from typing import Any

from core.audit_writer import COMMANDS, actor_of, record_of
from core.principal import OPERATOR
from schemas import SYSTEM_TENANT, Action, AuditEvent, ServerTrouble
from schemas.common.clock import utc_now
from schemas.ids import new_id
from streams.kafka_servers import Kafka
from streams.record_producer import RecordProducer

log = logging.getLogger("cauce")

_SECONDS = 15.0


async def note(kafka: Kafka, action: Action, *, subject: str | None = None, **details: Any) -> None:
    """Appends to the trail. What was done is done: where that fails, the log has it."""
    about = {"actor": actor_of(OPERATOR), "credential": OPERATOR.credential}
    event = AuditEvent(at=utc_now(), action=action, subject=subject, details=details, **about)
    producer = RecordProducer(kafka, seconds=_SECONDS)
    try:
        await producer.connect()
        await producer.send(record_of(SYSTEM_TENANT, new_id("au"), event, COMMANDS))
    except ServerTrouble as error:
        log.warning("this is not in the audit trail (%s): %s", error, event.to_bytes().decode())
    finally:
        await producer.stop()
