"""Refusals in the audit trail: the first of a kind within a minute immediately, the others as one event with their count.

Refusals are what somebody without any right can cause as many of as they like. So they cost the trail little, and whoever is
refused does not wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.audit_writer import AuditWriter
from core.request_context import served
from schemas import Action
from schemas.common.serving import ItemFailures, ServingTask, is_order

WINDOW_SECONDS = 60.0
MOST_KINDS = 2_000
"""Kinds of refusals within a window that are kept apart: beyond it, those of a tenant are one."""
VARIOUS = "various"


@dataclass(slots=True)
class _Window:
    tenant_id: str
    action: Action
    about: dict[str, Any]
    ends: float
    more: int = 0
    """Refusals after the first."""
    written: bool = False


class RefusedRequests:
    """Writes what was refused to the trail. `note` never waits."""

    def __init__(self, trail: AuditWriter, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._trail, self._clock = trail, clock
        self._windows: dict[tuple[str, ...], _Window] = {}
        self._look = asyncio.Event()
        self._task = ServingTask("the trail of refusals", self._run)
        self._failures = ItemFailures("the trail of refusals")

    async def start(self) -> None:
        """Begins to write."""
        self._task.start()

    async def stop(self) -> None:
        """Writes what is left."""
        await self._task.stop()
        await self.write_due(everything=True)

    def note(self, tenant_id: str, action: Action, *, actor: str, reason: str, **about: Any) -> None:
        """Something was refused. `reason` is the code of the answer; `about` are fields of `AuditEvent`."""
        request = served()
        if request:
            about = {"request_id": request.request_id, "address": request.address or None, **about}
        kind: tuple[str, ...] = (tenant_id, action, actor, reason, about.get("address") or "")
        if kind not in self._windows and len(self._windows) >= MOST_KINDS:
            kind, about = (tenant_id, action, VARIOUS, reason), {**about, "address": None}
            actor = "anonymous" if actor == "anonymous" else VARIOUS
        if found := self._windows.get(kind):
            found.more += 1
            return
        fields = {"actor": actor, "reason": reason, "outcome": "refused", **about}
        self._windows[kind] = _Window(tenant_id, action, fields, self._clock() + WINDOW_SECONDS)
        self._look.set()

    async def _run(self) -> None:
        while True:
            await self.write_due()
            ends = min((one.ends for one in self._windows.values()), default=None)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), None if ends is None else max(0.0, ends - self._clock()))
            self._look.clear()

    async def write_due(self, *, everything: bool = False) -> None:
        """Writes what is new, and the counts of what is over; with `everything` all counts."""
        for kind, window in list(self._windows.items()):
            if not window.written:
                window.written = True
                await self._write(window, {})
            if everything or window.ends <= self._clock():
                del self._windows[kind]
                if window.more:
                    await self._write(window, {"more": window.more, "within_seconds": WINDOW_SECONDS})

    async def _write(self, window: _Window, details: dict[str, Any]) -> None:
        about = {**window.about, "details": {**window.about.get("details", {}), **details}}
        try:
            await self._trail.write_event(window.tenant_id, window.action, **about)
        except BaseException as error:
            if is_order(error):
                raise
            self._failures.note(f"a refusal in {window.tenant_id}", error)
