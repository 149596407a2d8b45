"""Brokers for the runtime's tests: what holds on Apache Kafka must hold on the embedded broker, and the other way round."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas import PartitionSet
from streams import topic_admin
from streams.embedded import EmbeddedBroker

PARTITIONS = {PartitionSet.CONVERSATION: 4, PartitionSet.TENANT: 2}


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[EmbeddedBroker]:
    """An embedded broker of this test's own, with all topics."""
    async with EmbeddedBroker(tmp_path / "kafka") as broker:
        await topic_admin.apply(broker.bootstrap, partitions=PARTITIONS)
        yield broker


@pytest.fixture(params=["embedded", "apache"])
def kafka(request: pytest.FixtureRequest) -> str:
    """The address of a broker with all topics; Apache Kafka is shared, so tests read only what they sent."""
    if request.param == "embedded":
        bootstrap: str = request.getfixturevalue("embedded").bootstrap
        return bootstrap
    bootstrap = request.getfixturevalue("apache_kafka").bootstrap
    asyncio.run(topic_admin.apply(bootstrap, partitions=PARTITIONS))
    return bootstrap
