"""Consumer groups: the classic protocol with eager rebalances (JoinGroup, SyncGroup, Heartbeat, LeaveGroup).

empty ──join──> preparing ──all have joined──> completing ──the leader syncs──> stable
  ^                 ^                                                             │
  └── last leaves ──┴──────────── somebody joins, leaves or falls silent ─────────┘
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal

from schemas.ids import new_uuid
from streams.embedded.wire import Error, Request

FIRST_JOIN_SECONDS = 0.02
"""A new group waits so long for more members; enough for those of one process."""

SESSION_MS = (6_000, 1_800_000)
"""Apache Kafka's `group.min.session.timeout.ms` and `group.max.session.timeout.ms`."""

State = Literal["Empty", "PreparingRebalance", "CompletingRebalance", "Stable"]


@dataclass
class Member:
    """A member of a group. `joining` and `syncing` are answered when the group is ready for it."""

    id: str
    client_id: str
    instance_id: str | None
    session_seconds: float
    rebalance_seconds: float
    protocols: list[tuple[str, bytes]]
    assignment: bytes = b""
    joining: asyncio.Future[Error] | None = None
    syncing: asyncio.Future[tuple[Error, bytes]] | None = None
    expiry: asyncio.TimerHandle | None = None


@dataclass
class Group:
    """A group and its members, the oldest first."""

    name: str
    state: State = "Empty"
    generation: int = 0
    leader: str = ""
    protocol: str = ""
    protocol_type: str = ""
    members: dict[str, Member] = field(default_factory=dict)
    promised_ids: set[str] = field(default_factory=set)
    deadline: asyncio.TimerHandle | None = None
    gathering: bool = False
    """The first join of an empty group: it waits a little for others."""


class Groups:
    """All groups of the broker."""

    def __init__(self) -> None:
        self.by_name: dict[str, Group] = {}

    def get(self, name: str) -> Group:
        """The group of this name, made when it is not there."""
        return self.by_name.setdefault(name, Group(name))

    def commit_error(self, name: str, member_id: str, generation: int) -> Error:
        """Whether a member may commit offsets now."""
        group = self.get(name)
        if generation < 0 and not group.members:
            return Error.NONE
        error = _check(group, member_id, generation)
        if error is Error.NONE and group.state == "CompletingRebalance":
            return Error.REBALANCE_IN_PROGRESS
        if member_id in group.members:
            self._touch(group, group.members[member_id])
        return error

    async def join(self, request: Request) -> dict[str, Any]:
        """JoinGroup: answers once the rebalance that it takes part in has gathered everybody."""
        q = request.body
        group = self.get(q.group)
        protocols = [(name, bytes(metadata)) for name, metadata in q.group_protocols]
        member_id, instance = q.member_id, q.group_instance_id
        if not SESSION_MS[0] <= q.session_timeout <= SESSION_MS[1]:
            return _not_joined(Error.INVALID_SESSION_TIMEOUT, member_id)
        if not member_id and instance:
            self._replace_static(group, instance)
            member_id = f"{instance}-{new_uuid()}"
            group.promised_ids.add(member_id)
        elif not member_id:
            member_id = f"{request.client_id}-{new_uuid()}"
            group.promised_ids.add(member_id)
            return _not_joined(Error.MEMBER_ID_REQUIRED, member_id)
        if member_id not in group.members and member_id not in group.promised_ids:
            return _not_joined(Error.UNKNOWN_MEMBER, member_id)
        others = [m for m in group.members.values() if m.id != member_id]
        if others and not _common(others) & {name for name, _ in protocols}:
            return _not_joined(Error.INCONSISTENT_GROUP_PROTOCOL, member_id)
        member = group.members.get(member_id)
        settled = group.state in ("Stable", "CompletingRebalance")
        if member and settled and member.protocols == protocols and member_id != group.leader:
            self._touch(group, member)
            return self._joined(group, member)  # a repeated request: nothing has changed
        group.promised_ids.discard(member_id)
        timings = (q.session_timeout / 1000, q.rebalance_timeout / 1000)
        if member is None:
            member = Member(member_id, request.client_id, instance, *timings, protocols)
            group.members[member_id] = member
        member.session_seconds, member.rebalance_seconds = timings
        member.protocols, group.protocol_type = protocols, q.protocol_type
        self._touch(group, member)
        member.joining = joining = asyncio.get_running_loop().create_future()
        if group.state != "PreparingRebalance":
            self._prepare(group)
        self._complete_if_all_joined(group)
        error = await joining
        return self._joined(group, member) if error is Error.NONE else _not_joined(error, member_id)

    async def sync(self, request: Request) -> dict[str, Any]:
        """SyncGroup: the leader brings the assignments, everybody gets their own."""
        q = request.body
        group = self.get(q.group)
        error = _check(group, q.member_id, q.generation_id)
        if error is Error.NONE and group.state == "PreparingRebalance":
            error = Error.REBALANCE_IN_PROGRESS
        if error is not Error.NONE:
            return _synced(error, b"")
        member = group.members[q.member_id]
        self._touch(group, member)
        if group.state == "CompletingRebalance" and member.id == group.leader:
            for member_id, assignment in q.group_assignment:
                if member_id in group.members:
                    group.members[member_id].assignment = bytes(assignment)
            group.state = "Stable"
            for other in group.members.values():
                if other.syncing and not other.syncing.done():
                    other.syncing.set_result((Error.NONE, other.assignment))
                other.syncing = None
        elif group.state == "CompletingRebalance":
            member.syncing = asyncio.get_running_loop().create_future()
            return _synced(*await member.syncing)
        return _synced(Error.NONE, member.assignment)

    def heartbeat(self, request: Request) -> dict[str, Any]:
        """Heartbeat: says to a living member when it must join again."""
        q = request.body
        group = self.get(q.group)
        error = _check(group, q.member_id, q.generation_id)
        if q.member_id in group.members:
            self._touch(group, group.members[q.member_id])
        if error is Error.NONE and group.state == "PreparingRebalance":
            error = Error.REBALANCE_IN_PROGRESS
        return {"throttle_time_ms": 0, "error_code": error}

    def leave(self, request: Request) -> dict[str, Any]:
        """LeaveGroup: the others share what the member had."""
        q = request.body
        group = self.get(q.group)
        known = q.member_id in group.members
        self._remove(group, q.member_id)
        return {"throttle_time_ms": 0, "error_code": Error.NONE if known else Error.UNKNOWN_MEMBER}

    def _replace_static(self, group: Group, instance: str) -> None:
        """A static member came back under a new id: the old id is fenced, without waiting for its session to end."""
        for member in [m for m in group.members.values() if m.instance_id == instance]:
            self._remove(group, member.id, rebalance=False)

    def _touch(self, group: Group, member: Member) -> None:
        if member.expiry:
            member.expiry.cancel()
        loop = asyncio.get_running_loop()
        member.expiry = loop.call_later(member.session_seconds, self._expire, group, member)

    def _expire(self, group: Group, member: Member) -> None:
        if group.members.get(member.id) is not member:
            return
        if member.joining and not member.joining.done():
            self._touch(group, member)  # it waits for us, not we for it
        else:
            self._remove(group, member.id)

    def _remove(self, group: Group, member_id: str, *, rebalance: bool = True) -> None:
        member = group.members.pop(member_id, None)
        if member is None:
            return
        if member.expiry:
            member.expiry.cancel()
        if member.joining and not member.joining.done():
            member.joining.set_result(Error.UNKNOWN_MEMBER)
        if member.syncing and not member.syncing.done():
            member.syncing.set_result((Error.UNKNOWN_MEMBER, b""))
        if not group.members:
            group.state, group.generation = "Empty", group.generation + 1
            self._cancel_deadline(group)
        elif group.state == "PreparingRebalance":
            self._complete_if_all_joined(group)
        elif rebalance:
            self._prepare(group)

    def _prepare(self, group: Group) -> None:
        for member in group.members.values():
            if member.syncing and not member.syncing.done():
                member.syncing.set_result((Error.REBALANCE_IN_PROGRESS, b""))
            member.syncing = None
        group.gathering = group.state == "Empty"
        group.state = "PreparingRebalance"
        longest = max((m.rebalance_seconds for m in group.members.values()), default=1.0)
        self._cancel_deadline(group)
        loop = asyncio.get_running_loop()
        seconds = FIRST_JOIN_SECONDS if group.gathering else longest
        group.deadline = loop.call_later(seconds, self._complete, group)

    def _complete_if_all_joined(self, group: Group) -> None:
        waiting = group.state == "PreparingRebalance" and not group.gathering
        if waiting and all(m.joining is not None for m in group.members.values()):
            self._complete(group)

    def _complete(self, group: Group) -> None:
        """Ends the gathering: who has not joined by now is out."""
        if group.state != "PreparingRebalance":
            return
        self._cancel_deadline(group)
        group.gathering = False
        for member in [m for m in group.members.values() if m.joining is None]:
            del group.members[member.id]
            if member.expiry:
                member.expiry.cancel()
        if not group.members:
            group.state, group.generation = "Empty", group.generation + 1
            return
        group.generation += 1
        group.state = "CompletingRebalance"
        common = _common(list(group.members.values()))
        group.protocol = next(name for name, _ in next(iter(group.members.values())).protocols if name in common)
        if group.leader not in group.members:
            group.leader = next(iter(group.members))
        for member in group.members.values():
            joining, member.joining, member.assignment = member.joining, None, b""
            self._touch(group, member)
            if joining and not joining.done():
                joining.set_result(Error.NONE)

    def _cancel_deadline(self, group: Group) -> None:
        if group.deadline:
            group.deadline.cancel()
            group.deadline = None

    def _joined(self, group: Group, member: Member) -> dict[str, Any]:
        members = []
        if member.id == group.leader:
            members = [(m.id, m.instance_id, dict(m.protocols)[group.protocol]) for m in group.members.values()]
        return {
            "throttle_time_ms": 0,
            "error_code": Error.NONE,
            "generation_id": group.generation,
            "group_protocol": group.protocol,
            "leader_id": group.leader,
            "member_id": member.id,
            "members": members,
        }


def _common(members: list[Member]) -> set[str]:
    return set.intersection(*({name for name, _ in m.protocols} for m in members))


def _check(group: Group, member_id: str, generation: int) -> Error:
    if member_id not in group.members:
        return Error.UNKNOWN_MEMBER
    return Error.NONE if generation == group.generation else Error.ILLEGAL_GENERATION


def _not_joined(error: Error, member_id: str) -> dict[str, Any]:
    return {
        "throttle_time_ms": 0,
        "error_code": error,
        "generation_id": -1,
        "group_protocol": "",
        "leader_id": "",
        "member_id": member_id,
        "members": [],
    }


def _synced(error: Error, assignment: bytes) -> dict[str, Any]:
    return {"throttle_time_ms": 0, "error_code": error, "member_assignment": assignment}
