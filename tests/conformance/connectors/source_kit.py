"""What tests of event sources share: a doorbell, and a place where events begin runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from small_server import Doorbell

from connectors.connector import connectors
from connectors.event_source import EventSource, Inbox
from core.external_events import ExternalEvents
from core.ingress import Ingress
from schemas import RawRecord, Record, Tenant, Topic, decode
from schemas.common.section import Section
from state import Stores, open_stores
from streams.kafka_servers import Kafka, new_consumer


@dataclass(frozen=True)
class Outside:
    """A source's service that runs, and what the suite needs to know of that."""

    make: Callable[[Section], EventSource | None]
    settings: Section
    wrong_settings: Section
    happen: Callable[[str, str, str], Awaitable[None]]
    """Something happens for a user of a tenant, whose summary has this text."""

    def source(self) -> EventSource:
        made = self.make(self.settings)
        assert made
        return made


@asynccontextmanager
async def doorbell() -> AsyncIterator[Outside]:
    server, connector = Doorbell(), next(one for one in connectors() if one.name == "doorbell")

    async def happen(tenant: str, user: str, text: str) -> None:
        server.ring(tenant, user, text)

    assert connector.source
    settings: Any = connector.settings
    async with server.listening() as address:
        yield Outside(connector.source, settings(url=address), settings(url="http://127.0.0.1:1"), happen)


async def come(condition: Callable[[], Awaitable[bool]], seconds: float = 120) -> None:
    """Waits until something holds."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


class Place:
    """Stores, and a broker that takes events."""

    def __init__(self, stores: Stores, ingress: Ingress, kafka: Kafka) -> None:
        self.stores, self._kafka = stores, kafka
        self.events_of_source = ExternalEvents(stores, ingress)

    def inbox(self, source: EventSource) -> Inbox:
        return Inbox(source.id, self.events_of_source)

    async def events(self) -> list[Record]:
        """All records of `external.events`, the oldest of each partition first."""
        return await events_of(self._kafka)


async def events_of(kafka: Kafka) -> list[Record]:
    """All records of `external.events`."""
    consumer = new_consumer(
        Topic.EXTERNAL_EVENTS.value, bootstrap_servers=kafka, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        found: list[Record] = []
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=100)).values():
                found += [
                    decode(RawRecord(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, r.headers))
                    for r in batch
                ]
        return found
    finally:
        await consumer.stop()


@asynccontextmanager
async def place(kafka: Kafka, folder: Path) -> AsyncIterator[Place]:
    """A store of its own with the tenants acme and lumen; lumen is paused."""
    stores, ingress = open_stores(f"sqlite://{folder}"), Ingress(kafka, seconds=30)
    await stores.open()
    await stores.migrate()
    for name in ("acme", "lumen"):
        tenant = Tenant(tenant_id=name, created_at=datetime.now(UTC), paused=name == "lumen")
        await stores.directory.put_tenant(tenant, expected_version=0)
    await ingress.connect()
    try:
        yield Place(stores, ingress, kafka)
    finally:
        await ingress.stop()
        await stores.close()
