"""What each role needs to be allowed on a Kafka with access control lists, from the topic registry; and setting it there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import CreateAclsRequest

from schemas import TOPICS, Topic, Unavailable
from streams.growth import GROUP as GROWTH
from streams.growth import NOTED_AT
from streams.kafka_servers import Kafka
from streams.topic_admin import opened_admin

EVERY = "*"


class Resource(IntEnum):
    """Numbers of the protocol (`org.apache.kafka.common.resource.ResourceType`)."""

    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5


class Operation(IntEnum):
    """Numbers of the protocol (`org.apache.kafka.common.acl.AclOperation`)."""

    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11


_ALLOW, _LITERAL, _PREFIXED = 3, 3, 4
_CLUSTER = "kafka-cluster"


@dataclass(frozen=True, slots=True)
class Rule:
    """Operations that are allowed on a resource; with `prefix`, on all whose names begin so."""

    resource: Resource
    name: str
    operations: tuple[Operation, ...]
    prefix: bool = False


def roles(groups: Iterable[str]) -> list[str]:
    """All roles. Each processor group is one."""
    return [*groups, "gateway", "sources", "chat-client", "operator"]


def rules(role: str, reads: Mapping[str, Sequence[Topic]]) -> list[Rule]:
    """What the role needs. `reads` are the topics that each processor group reads.

    A group's Read is what joining it and committing need; it may look at where another growth of topics stands (`Describe` of
    that group and of the topic that it is noted at), and write with the transactional ids of its slots. Idempotent writing needs
    nothing else since Kafka 3.
    """
    if role == "operator":
        return list(_OPERATOR)
    known = _IN_REGISTRY.get(role, {role, "the runtime", "everyone"} if role in reads else set())
    readable = reads.get(role) or [topic for topic, spec in TOPICS.items() if known & set(spec.readers)]
    writable = [topic for topic, spec in TOPICS.items() if known & set(spec.writers)]
    found = [
        Rule(Resource.TOPIC, topic.value, tuple(op for op, of in _USES if topic in of(readable, writable)))
        for topic in TOPICS
        if topic in readable or topic in writable
    ]
    if (
        role in reads and NOTED_AT not in readable and NOTED_AT not in writable
    ):  # offsets are given for what may be described
        found.append(Rule(Resource.TOPIC, NOTED_AT.value, (Operation.DESCRIBE,)))
    if role in reads:
        found += [
            Rule(Resource.GROUP, role, (Operation.READ,)),
            Rule(Resource.GROUP, GROWTH, (Operation.DESCRIBE,)),
            Rule(Resource.TRANSACTIONAL_ID, f"{role}-", (Operation.WRITE, Operation.DESCRIBE), prefix=True),
        ]
    return found


_USES = ((Operation.READ, lambda readable, _: readable), (Operation.WRITE, lambda _, writable: writable))
_IN_REGISTRY: Mapping[str, set[str]] = {
    "gateway": {"gateway", "everyone"},
    "sources": {"connectors", "webhooks", "scheduler", "notifications", "everyone"},
    "chat-client": {"chat clients"},
}
"""By role: what the registry calls it. Processor groups are called there by their names."""
_OPERATOR = [
    Rule(
        Resource.TOPIC,
        EVERY,
        (
            *(Operation.READ, Operation.WRITE, Operation.CREATE, Operation.ALTER),
            *(Operation.DESCRIBE, Operation.DESCRIBE_CONFIGS, Operation.ALTER_CONFIGS),
        ),
    ),
    Rule(Resource.GROUP, EVERY, (Operation.READ, Operation.DESCRIBE)),
    Rule(Resource.CLUSTER, _CLUSTER, (Operation.CREATE, Operation.ALTER, Operation.DESCRIBE)),
]
"""Creates and grows topics, replays dead letters, recovers a store, and sets these lists."""


async def allow(kafka: Kafka, principals: Mapping[str, Sequence[Rule]]) -> int:
    """Allows each principal (`User:turns`) the operations of its rules, from every host. Safe to repeat; takes nothing away.

    Returns the number of entries. Raises `Unavailable` when Kafka does not answer, or has no access control lists.
    """
    entries = [
        (rule.resource, rule.name, _PREFIXED if rule.prefix else _LITERAL, principal, "*", operation, _ALLOW)
        for principal, found in principals.items()
        for rule in found
        for operation in rule.operations
    ]
    async with opened_admin(kafka) as admin:
        for entry in entries:
            await _create(admin, entry)
    return len(entries)


async def _create(admin: Any, entry: tuple[Any, ...]) -> None:
    # aiokafka has the request and no method for it; the controller takes it, as other changes of the cluster.
    try:
        answer = await admin._send_to_controller(CreateAclsRequest(*entry))
        for code, message in answer.creation_responses:
            if code:
                raise for_code(code)(message or "")
    except KafkaError as error:
        raise Unavailable(
            f"Kafka does not take the access control list: {error}. The user needs Alter on the cluster, and the servers "
            "an authorizer (authorizer.class.name)"
        ) from error
