"""Creates topics from the registry and reports where a cluster differs from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAuthorizationFailedError, for_code

from schemas import TOPICS, NotFound, PartitionSet, Topic, Unavailable
from streams.kafka_servers import Kafka, answering, new_admin, not_allowed

_TOPIC_ALREADY_EXISTS = 36
"""Kafka protocol error code; aiokafka's admin client reports codes and does not raise."""


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic in the cluster. `drift` describes where it differs from the registry."""

    topic: Topic
    partitions: int
    """0 when the topic does not exist."""
    wanted_partitions: int
    retention_ms: int | None
    wanted_retention_ms: int
    replication: int = 0
    drift: tuple[str, ...] = field(default=())

    @property
    def exists(self) -> bool:
        """Whether the cluster has the topic."""
        return self.partitions > 0


@dataclass(frozen=True, slots=True)
class TopicChange:
    """What `apply` did to a topic: `created`, `configured` or `unchanged`; `problem` is what it may not change."""

    topic: Topic
    action: str
    problem: str | None = None


async def show(bootstrap: Kafka, *, partitions: Mapping[PartitionSet, int]) -> list[TopicState]:
    """The state of every topic of the registry. Raises `Unavailable` when Kafka does not answer."""
    async with opened_admin(bootstrap) as admin:
        return await _states(admin, partitions)


async def apply(bootstrap: Kafka, *, partitions: Mapping[PartitionSet, int], replication: int = 1) -> list[TopicChange]:
    """Creates the topics that are missing and sets retention where it differs; safe to repeat.

    The number of partitions of an existing topic is not changed: keys move to other partitions then, which is for
    `streams.growth` to do in order. Such a difference is reported as a problem.
    """
    async with opened_admin(bootstrap) as admin:
        changes = []
        states = await _states(admin, partitions)
        missing = [s for s in states if not s.exists]
        if missing:
            answer = await admin.create_topics(
                [
                    NewTopic(
                        s.topic.value,
                        s.wanted_partitions,
                        replication,
                        topic_configs=_configs(s.wanted_retention_ms, replication),
                    )
                    for s in missing
                ]
            )
            for topic, code, *_ in answer.topic_errors:
                if code != _TOPIC_ALREADY_EXISTS:
                    _check(bootstrap, code, f"create the topic {topic}")
            changes += [TopicChange(s.topic, "created") for s in missing]
        for state in (s for s in states if s.exists):
            action = "unchanged"
            if state.retention_ms != state.wanted_retention_ms:
                configs = _configs(state.wanted_retention_ms, state.replication)
                resource = ConfigResource(ConfigResourceType.TOPIC, state.topic.value, configs)
                for answer in await admin.alter_configs([resource]):
                    for code, *_ in answer.resources:
                        _check(bootstrap, code, f"change the settings of the topic {state.topic.value}")
                action = "configured"
            problem = next((d for d in state.drift if "partitions" in d), None)
            changes.append(TopicChange(state.topic, action, problem))
        return changes


def _check(bootstrap: Kafka, code: int, action: str) -> None:
    """aiokafka returns the error codes of what was asked for, and does not raise them."""
    if code:
        error = for_code(code)()
        raise not_allowed(bootstrap, error) or Unavailable(f"Kafka did not {action}: {type(error).__name__}")


def _configs(retention_ms: int, replication: int) -> dict[str, str]:
    """All settings that the registry gives a topic; AlterConfigs puts back to its default what is not among them."""
    return {
        "retention.ms": str(retention_ms),
        "cleanup.policy": "delete",
        "min.insync.replicas": str(2 if replication >= 3 else 1),
    }


async def _states(admin: AIOKafkaAdminClient, partitions: Mapping[PartitionSet, int]) -> list[TopicState]:
    existing = set(await admin.list_topics())
    names = [t.value for t in TOPICS if t.value in existing]
    described = {d["topic"]: d["partitions"] for d in (await admin.describe_topics(names) if names else [])}
    retentions = await _retentions(admin, names)
    states = []
    for topic, spec in TOPICS.items():
        found = described.get(topic.value, [])
        wanted = partitions[spec.partition_set]
        retention = retentions.get(topic.value)
        drift = []
        if not found:
            drift.append("does not exist; create it with: cauce topics apply")
        elif len(found) != wanted:
            drift.append(f"has {len(found)} partitions, the settings say {wanted}")
        if found and retention != spec.retention_ms:
            drift.append(f"keeps records {retention} ms, the registry says {spec.retention_ms} ms")
        replication = min((len(p["replicas"]) for p in found), default=0)
        states.append(TopicState(topic, len(found), wanted, retention, spec.retention_ms, replication, tuple(drift)))
    return states


async def _retentions(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, int]:
    if not names:
        return {}
    found: dict[str, int] = {}
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    for answer in answers:
        for _error, _message, _kind, name, entries in answer.resources:
            for key, value, *_ in entries:
                if key == "retention.ms" and value is not None:
                    found[name] = int(value)
    return found


@asynccontextmanager
async def opened_admin(bootstrap: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client. Raises `Unavailable` when Kafka does not answer."""
    client = new_admin(bootstrap_servers=bootstrap, request_timeout_ms=15_000)
    try:
        async with answering(bootstrap):
            await client.start()
        yield client
    finally:
        await client.close()


async def described_topics(bootstrap: Kafka, admin: AIOKafkaAdminClient, names: list[str]) -> list[Any]:
    """The metadata of topics; one that does not exist has no partitions. Raises `Unavailable` where the user may not see one."""
    described: list[Any] = await admin.describe_topics(names)
    for one in described:
        if one["error_code"] == TopicAuthorizationFailedError.errno:
            _check(bootstrap, one["error_code"], f"describe the topic {one['topic']}")
    return described


async def partitions_of(bootstrap: Kafka, topics: Iterable[Topic]) -> list[TopicPartition]:
    """All partitions of these topics. Raises `NotFound` when a topic does not exist, `Unavailable` when Kafka does not answer."""
    async with opened_admin(bootstrap) as admin:
        described = await described_topics(bootstrap, admin, [topic.value for topic in topics])
    if missing := sorted(d["topic"] for d in described if not d["partitions"]):
        raise NotFound(f"there is no topic {', '.join(missing)}; create the topics with: cauce topics apply")
    return [TopicPartition(d["topic"], n) for d in described for n in sorted(p["partition"] for p in d["partitions"])]
