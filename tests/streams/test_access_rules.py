"""Who may read and write what: as the registry has it, and nobody more."""

from __future__ import annotations

import json

import pytest
from forked_commands import run_command
from running_system import clean_environment

from processors.groups import GROUPS
from schemas import TOPICS, Topic
from streams.access_rules import Operation, Resource, roles, rules

READS = {name: group.reads for name, group in GROUPS.items()}


def _may(operation: Operation, topic: Topic) -> set[str]:
    """The roles that may do this to a topic, the operator aside."""
    return {
        role
        for role in roles(GROUPS)
        if role != "operator"
        for rule in rules(role, READS)
        if rule.resource is Resource.TOPIC and rule.name == topic and operation in rule.operations
    }


@pytest.mark.parametrize(
    ("topic", "writers", "readers"),
    [
        (Topic.CHAT_MESSAGES, {"gateway", "chat-client", "turns"}, {"turns"}),
        (Topic.EXTERNAL_EVENTS, {"sources"}, {"turns"}),
        (Topic.TOOL_REQUESTS, {"turns"}, {"tools"}),
        (Topic.TOOL_RESULTS, {"tools"}, {"turns"}),
        (Topic.CHAT_RESPONSES, {"turns"}, {"gateway", "sources", "chat-client"}),
        (Topic.CHAT_DELTAS, {"turns"}, {"gateway", "chat-client"}),
        (Topic.AUDIT_EVENTS, {"gateway", "sources", "turns", "tools", "audit"}, {"audit"}),
        (Topic.DEAD_LETTERS, {"turns", "tools", "audit"}, set()),
    ],
)
def test_a_topic_has_these_writers_and_readers_and_no_others(
    topic: Topic, writers: set[str], readers: set[str]
) -> None:
    assert (_may(Operation.WRITE, topic), _may(Operation.READ, topic)) == (writers, readers)


def test_every_writer_and_reader_of_the_registry_is_a_role() -> None:
    """A new name there has to get its role here, or nobody could write as it."""
    known = {"gateway", "everyone", "connectors", "webhooks", "scheduler", "notifications", "chat clients", *GROUPS}
    others = {"the runtime", "operators", "outside consumers"}
    assert {name for spec in TOPICS.values() for name in (*spec.writers, *spec.readers)} <= known | others


def test_groups_have_their_group_and_their_transactional_ids_and_others_have_none() -> None:
    for role in roles(GROUPS):
        theirs = {(r.resource, r.name, r.prefix) for r in rules(role, READS) if r.resource is not Resource.TOPIC}
        if role in GROUPS:
            assert (Resource.GROUP, role, False) in theirs
            assert (Resource.TRANSACTIONAL_ID, f"{role}-", True) in theirs
        elif role != "operator":
            assert not theirs


def test_every_group_may_see_where_the_growth_of_topics_is_noted() -> None:
    may = {operation: _may(operation, Topic.CHAT_MESSAGES) for operation in (Operation.READ, Operation.DESCRIBE)}
    assert set(GROUPS) <= may[Operation.READ] | may[Operation.DESCRIBE]


def test_command_prints_them_for_the_principals_that_are_given() -> None:
    options = ("--role", "turns", "--role", "tools", "--principal", "turns=User:CN=w", "--principal", "tools=User:CN=w")
    done = run_command(("topics", "acls", "--json", *options), clean_environment())
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {one["principal"] for one in found} == {"User:CN=w"}
    assert {"tool.requests", "tool.results", "turns-", "tools-"} <= {one["name"] for one in found}
    wrong = run_command(("topics", "acls", "--role", "turn"), clean_environment())
    assert wrong.returncode == 2
    assert "the roles are turns, tools, audit, gateway" in wrong.stderr
