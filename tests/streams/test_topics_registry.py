"""The topic registry against a broker: made once, never shrunk, drift told."""

from __future__ import annotations

import pytest

from schemas import TOPICS, PartitionSet, Unavailable
from streams import topic_admin
from streams.embedded import EmbeddedBroker

WANTED = {PartitionSet.CONVERSATION: 4, PartitionSet.TENANT: 2}


async def test_applying_twice_changes_nothing(embedded: EmbeddedBroker) -> None:
    changes = await topic_admin.apply(embedded.bootstrap, partitions=WANTED)
    assert [c.action for c in changes] == ["unchanged"] * len(TOPICS)
    assert all(not s.drift for s in await topic_admin.show(embedded.bootstrap, partitions=WANTED))


async def test_other_partitions_are_told_and_never_made(embedded: EmbeddedBroker) -> None:
    more = {PartitionSet.CONVERSATION: 16, PartitionSet.TENANT: 2}
    changes = await topic_admin.apply(embedded.bootstrap, partitions=more)
    assert {c.problem for c in changes} == {None, "has 4 partitions, the settings say 16"}
    state = next(s for s in await topic_admin.show(embedded.bootstrap, partitions=more) if s.topic == "chat.messages")
    assert (state.partitions, state.drift) == (4, ("has 4 partitions, the settings say 16",))


async def test_retention_that_somebody_changed_is_set_again(embedded: EmbeddedBroker) -> None:
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

    admin = AIOKafkaAdminClient(bootstrap_servers=embedded.bootstrap)
    await admin.start()
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "chat.deltas", {"retention.ms": "5"})])
    await admin.close()
    drift = {s.topic: s.drift for s in await topic_admin.show(embedded.bootstrap, partitions=WANTED) if s.drift}
    assert list(drift) == ["chat.deltas"]
    changes = {c.topic: c.action for c in await topic_admin.apply(embedded.bootstrap, partitions=WANTED)}
    assert changes["chat.deltas"] == "configured"
    assert not [s for s in await topic_admin.show(embedded.bootstrap, partitions=WANTED) if s.drift]


async def test_a_broker_that_is_away_is_said_in_words(unused_tcp_port: int) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        await topic_admin.show(f"127.0.0.1:{unused_tcp_port}", partitions=WANTED)
