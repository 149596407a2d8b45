"""The topic registry: every topic's name, key, retention and who may write it.

Partition counts and replication come from the settings; topics of one `partition_set` always have the same count, so
that partition p of each belongs to one slot.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class Topic(StrEnum):
    """Names of all topics."""

    CHAT_MESSAGES = "chat.messages"
    EXTERNAL_EVENTS = "external.events"
    TOOL_REQUESTS = "tool.requests"
    TOOL_RESULTS = "tool.results"
    CHAT_RESPONSES = "chat.responses"
    CHAT_DELTAS = "chat.deltas"
    AUDIT_EVENTS = "audit.events"
    DEAD_LETTERS = "dead.letters"


class KeyKind(StrEnum):
    """What the key of a topic's records names."""

    THREAD = "thread"
    TENANT = "tenant"
    AS_SOURCE = "as the source record"


class PartitionSet(StrEnum):
    """Topics that share one partition count."""

    CONVERSATION = "conversation"
    TENANT = "tenant"


class Delivery(StrEnum):
    """How a processor's outputs to a topic are published."""

    TRANSACTION = "transaction"
    """With the offsets, in the slot's transaction: outside readers see each record once."""
    AT_ONCE = "at_once"
    """By an idempotent producer before the input counts as finished: the reader drops repeats by id."""
    BEST_EFFORT = "best_effort"
    """Never waited for."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One row of the registry. `retention_ms` is in milliseconds; no topic is compacted."""

    name: Topic
    key: KeyKind
    partition_set: PartitionSet
    retention_ms: int
    delivery: Delivery
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    about: str


TOPICS: dict[Topic, TopicSpec] = {
    spec.name: spec
    for spec in (
        TopicSpec(
            Topic.CHAT_MESSAGES,
            KeyKind.THREAD,
            PartitionSet.CONVERSATION,
            7 * DAY_MS,
            Delivery.AT_ONCE,
            ("gateway", "chat clients", "turns"),
            ("turns",),
            "Inputs of users: messages, decisions on approvals, cancellations.",
        ),
        TopicSpec(
            Topic.EXTERNAL_EVENTS,
            KeyKind.THREAD,
            PartitionSet.CONVERSATION,
            7 * DAY_MS,
            Delivery.AT_ONCE,
            ("connectors", "webhooks", "scheduler"),
            ("turns",),
            "What happens in connected accounts and when timers fire.",
        ),
        TopicSpec(
            Topic.TOOL_REQUESTS,
            KeyKind.THREAD,
            PartitionSet.CONVERSATION,
            7 * DAY_MS,
            Delivery.AT_ONCE,
            ("turns",),
            ("tools",),
            "Tool calls to make; the ledger makes each at most once.",
        ),
        TopicSpec(
            Topic.TOOL_RESULTS,
            KeyKind.THREAD,
            PartitionSet.CONVERSATION,
            7 * DAY_MS,
            Delivery.AT_ONCE,
            ("tools",),
            ("turns",),
            "Results of tool calls; the journal accepts each once.",
        ),
        TopicSpec(
            Topic.CHAT_RESPONSES,
            KeyKind.THREAD,
            PartitionSet.CONVERSATION,
            7 * DAY_MS,
            Delivery.TRANSACTION,
            ("turns",),
            ("gateway", "notifications", "chat clients"),
            "Run, message, tool and approval events, numbered per thread.",
        ),
        TopicSpec(
            Topic.CHAT_DELTAS,
            KeyKind.THREAD,
            PartitionSet.CONVERSATION,
            HOUR_MS,
            Delivery.BEST_EFFORT,
            ("turns",),
            ("gateway", "chat clients"),
            "Pieces of an answer as the model writes it.",
        ),
        TopicSpec(
            Topic.AUDIT_EVENTS,
            KeyKind.TENANT,
            PartitionSet.TENANT,
            30 * DAY_MS,
            Delivery.TRANSACTION,
            ("everyone",),
            ("audit", "outside consumers"),
            "What was done, changed, decided and refused, by whom, with which credential; `schemas/audit_actions.py` lists it.",
        ),
        TopicSpec(
            Topic.DEAD_LETTERS,
            KeyKind.AS_SOURCE,
            PartitionSet.TENANT,
            30 * DAY_MS,
            Delivery.TRANSACTION,
            ("the runtime",),
            ("operators",),
            "Records that could not be processed, as they were, with the reason.",
        ),
    )
}
