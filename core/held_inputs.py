"""What came for a paused tenant and was held by a worker becomes a record again when the tenant is not paused any more."""

from __future__ import annotations

from datetime import datetime

from core.due_timers import Timers, later
from core.ingress import Ingress
from schemas import HeldInput, ThreadKey, Topic, body_type
from state import Directory, Timer

_LOOK_SECONDS, _SELDOM_SECONDS = 10.0, 60.0


class HeldInputs:
    """A record has the id that it had: an input is taken once, however often it is produced."""

    def __init__(self, timers: Timers, directory: Directory, ingress: Ingress) -> None:
        self._directory, self._ingress = directory, ingress
        timers.on(HeldInput.TYPE, self._resumes)

    async def _resumes(self, timer: Timer) -> datetime | None:
        tenant = await self._directory.tenant(timer.tenant_id)
        if tenant is None:
            return None
        if tenant.state == "paused":
            waited = (later(timer, _LOOK_SECONDS) - timer.due).total_seconds()
            return later(timer, _LOOK_SECONDS if waited <= _SELDOM_SECONDS else _SELDOM_SECONDS)
        held = HeldInput.model_validate_json(timer.body)
        topics = (Topic.CHAT_MESSAGES, Topic.EXTERNAL_EVENTS)
        kind = next(found for topic in topics if (found := body_type(topic, held.kind)))
        body = kind.model_validate_json(held.value)
        await self._ingress.produce(ThreadKey(timer.tenant_id, held.thread_id), held.record_id, body)
        return None
