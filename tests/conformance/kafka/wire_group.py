"""A member of a consumer group that does only what a test tells it to (classic group protocol)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition
from aiokafka.protocol.admin import DeleteGroupsRequest_v1
from aiokafka.protocol.commit import OffsetCommitRequest_v3, OffsetFetchRequest_v3
from aiokafka.protocol.coordination import FindCoordinatorRequest_v1
from aiokafka.protocol.group import (
    HeartbeatRequest_v1,
    JoinGroupRequest_v5,
    LeaveGroupRequest_v1,
    SyncGroupRequest_v3,
)
from aiokafka.structs import OffsetAndMetadata
from kafka_wire import Wire, error_name

GROUP, TRANSACTION = 0, 1
_NOT_READY = frozenset({14, 15, 16})
"""The coordinator is loading, not available, or somewhere else: a broker says so while it makes its internal topics."""


async def ask_when_ready(
    wire: Wire,
    request: Any,
    also: frozenset[int] = frozenset(),
    code_of: Callable[[Any], int] = lambda answer: int(answer.error_code),
) -> Any:
    """Asks until the coordinator is ready; `also` are further errors after which a client asks again."""
    async with asyncio.timeout(120):
        while code_of(answer := await wire.ask(request)) in _NOT_READY | also:
            await asyncio.sleep(0.02)
        return answer


def first_partition(rows: list[Any]) -> int:
    """The error code in an answer that has one for each topic's partitions."""
    code: int = rows[0][1][0][1]
    return code


async def find_coordinator(wire: Wire, key: str, kind: int = GROUP) -> None:
    """Waits until there is a coordinator for a group or a transactional id."""
    answer = await ask_when_ready(wire, FindCoordinatorRequest_v1(key, kind))
    assert answer.error_code == 0, error_name(answer.error_code)


async def delete_group(wire: Wire, group: str) -> str:
    """The error's name."""
    await find_coordinator(wire, group)
    request = DeleteGroupsRequest_v1([group])
    answer = await ask_when_ready(wire, request, code_of=lambda answer: int(answer.results[0][1]))
    return error_name(answer.results[0][1])


async def commit(wire: Wire, group: str, topic: str, offset: int, *, member: str = "", generation: int = -1) -> str:
    """Commits an offset of partition 0, without arguments as a client that is no member of the group."""
    await find_coordinator(wire, group)
    request = OffsetCommitRequest_v3(group, generation, member, -1, [(topic, [(0, offset, "")])])
    answer = await ask_when_ready(wire, request, code_of=lambda answer: first_partition(answer.topics))
    return error_name(first_partition(answer.topics))


async def committed(wire: Wire, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
    """All offsets of a group with their metadata.

    aiokafka's admin client does not look at the error of the whole answer: while a coordinator loads after a restart, it
    reports that nothing is committed.
    """
    await find_coordinator(wire, group)
    answer = await ask_when_ready(wire, OffsetFetchRequest_v3(group, None))
    assert answer.error_code == 0, error_name(answer.error_code)
    return {
        TopicPartition(topic, number): OffsetAndMetadata(offset, metadata)
        for topic, rows in answer.topics
        for number, offset, metadata, _ in rows
    }


@dataclass
class WireMember:
    """A member with a connection of its own, because the broker answers JoinGroup and SyncGroup late."""

    wire: Wire
    group: str
    instance: str | None = None
    session_ms: int = 30_000
    rebalance_ms: int = 30_000
    protocols: list[tuple[str, bytes]] = field(default_factory=lambda: [("range", b"metadata")])
    id: str = ""
    generation: int = -1
    leader: str = ""
    members: list[str] = field(default_factory=list)
    """Filled for the leader only."""

    async def join_once(self, member_id: str) -> tuple[str, str]:
        """One JoinGroup request under this id; the error's name and the id that the broker gives."""
        await find_coordinator(self.wire, self.group)
        timings = (self.session_ms, self.rebalance_ms)
        request = JoinGroupRequest_v5(self.group, *timings, member_id, self.instance, "consumer", self.protocols)
        answer = await ask_when_ready(self.wire, request)
        if answer.error_code == 0:
            self.id, self.generation, self.leader = answer.member_id, answer.generation_id, answer.leader_id
            self.members = [row[0] for row in answer.members]
        return error_name(answer.error_code), answer.member_id

    async def join(self) -> str:
        """Joins as a client does, asking for an id first; the error's name."""
        error, given = await self.join_once(self.id)
        if error == "MemberIdRequired":
            error, _ = await self.join_once(given)
        return error

    async def sync(self, assignments: dict[str, bytes] | None = None) -> tuple[str, bytes]:
        """SyncGroup, with everybody's assignment if it is the leader that asks; the error's name and the own one."""
        rows = list((assignments or {}).items())
        request = SyncGroupRequest_v3(self.group, self.generation, self.id, self.instance, rows)
        answer = await self.wire.ask(request)
        return error_name(answer.error_code), bytes(answer.member_assignment)

    async def heartbeat(self, *, member: str | None = None, generation: int | None = None) -> str:
        """The error's name."""
        request = HeartbeatRequest_v1(
            self.group,
            self.generation if generation is None else generation,
            self.id if member is None else member,
        )
        return error_name((await self.wire.ask(request)).error_code)

    async def leave(self) -> str:
        """The error's name."""
        return error_name((await self.wire.ask(LeaveGroupRequest_v1(self.group, self.id))).error_code)

    async def commit(self, topic: str, offset: int) -> str:
        """Commits an offset of partition 0 as this member; the error's name."""
        return await commit(self.wire, self.group, topic, offset, member=self.id, generation=self.generation)
