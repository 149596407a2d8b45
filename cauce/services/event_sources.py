"""Runs the configured event sources, whose events start runs."""

from __future__ import annotations

import asyncio

from cauce.running import ServiceNote
from cauce.service import Process, Service
from cauce.settings import Settings
from connectors.connector import connectors
from connectors.event_source import EventSource, Inbox, keep_running
from schemas import SettingsError
from schemas.common.serving import ServingTask


def _sources(settings: Settings) -> list[EventSource]:
    made = (one.source(settings.connectors[one.name]) for one in connectors() if one.source)
    return [source for source in made if source]


async def _run(process: Process) -> None:
    """Any number of processes may run the same sources: an event that two of them see starts one run."""
    from core.core_options import CoreOptions
    from core.external_events import ExternalEvents
    from core.ingress import Ingress

    settings = process.settings
    sources = _sources(settings)
    if not sources:
        raise SettingsError("no event source is configured: see the settings of connectors in docs/settings.md")
    ingress = Ingress(settings.kafka_servers, seconds=CoreOptions().produce_seconds)

    async def connected() -> str | None:
        return None if ingress.ready else "Kafka is not connected"

    process.health.ready["kafka"] = connected
    async with process.opened():
        await ingress.start()
        try:
            events = ExternalEvents(process.stores, ingress)
            inboxes = {source: Inbox(source.id, events) for source in sources}
            running = [_task(source, inbox) for source, inbox in inboxes.items()]
            for one in running:
                one.start()
            process.ready(ServiceNote(title="Event sources", health=process.health_address))
            await process.stop.wait()
            await asyncio.gather(*(one.stop() for one in running))
        finally:
            await ingress.stop()


def _task(source: EventSource, inbox: Inbox) -> ServingTask:
    return ServingTask(f"the event source {source.id}", lambda: keep_running(source, inbox))


SERVICE = Service(name="sources", run=_run, after=("broker",), wanted=lambda settings: bool(_sources(settings)))
