"""The group protocol one request at a time: what clients rely on without showing it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from kafka_access import KafkaAccess, unique, until
from kafka_wire import Wire
from wire_group import WireMember, commit, delete_group

Recruit = Callable[..., Awaitable[WireMember]]


@pytest.fixture
def group() -> str:
    return unique("group")


@pytest.fixture
async def recruit(kafka_address: str, group: str) -> AsyncIterator[Recruit]:
    """Makes members of one group that have not joined yet."""
    async with AsyncExitStack() as connections:

        async def make(**options: Any) -> WireMember:
            wire = await connections.enter_async_context(await Wire.connect(kafka_address))
            return WireMember(wire, group, **options)

        yield make


async def alone(recruit: Recruit, **options: Any) -> WireMember:
    """The only member of a stable group."""
    member = await recruit(**options)
    assert await member.join() == "NoError"
    assert await member.sync({member.id: b"everything"}) == ("NoError", b"everything")
    return member


async def joined_pair(recruit: Recruit) -> tuple[WireMember, WireMember]:
    """A leader and a follower who have joined and not synced yet."""
    leader, follower = await alone(recruit), await recruit()
    join = asyncio.create_task(follower.join())
    await until(leader.heartbeat, lambda error: error == "RebalanceInProgressError")
    assert await leader.join() == "NoError"
    assert await join == "NoError"
    return leader, follower


async def stays_unanswered(question: asyncio.Task[Any]) -> None:
    done, _ = await asyncio.wait([question], timeout=0.3)
    assert not done


async def test_a_member_without_an_id_is_given_one_to_join_with(recruit: Recruit) -> None:
    member = await recruit()
    error, given = await member.join_once("")
    assert error == "MemberIdRequired"
    assert given
    assert await member.join_once(given) == ("NoError", given)
    assert (member.leader, member.members) == (given, [given])


async def test_an_id_that_the_broker_did_not_give_is_refused(recruit: Recruit) -> None:
    member = await recruit()
    error, _ = await member.join_once("made-up")
    assert error == "UnknownMemberIdError"


async def test_a_static_member_joins_without_asking_for_an_id(recruit: Recruit) -> None:
    member = await recruit(instance="slot-1")
    error, given = await member.join_once("")
    assert (error, bool(given)) == ("NoError", True)


async def test_a_static_member_that_comes_back_takes_the_place_of_its_former_self(recruit: Recruit) -> None:
    former = await alone(recruit, instance="slot-1")
    present = await recruit(instance="slot-1")
    assert (await present.join_once(""))[0] == "NoError"
    assert present.id != former.id
    assert await former.heartbeat() != "NoError"
    assert await present.heartbeat() == "NoError"


async def test_a_join_waits_until_the_members_of_the_group_have_joined_again(recruit: Recruit) -> None:
    first, second = await alone(recruit), await recruit()
    join = asyncio.create_task(second.join())
    await until(first.heartbeat, lambda error: error == "RebalanceInProgressError")
    await stays_unanswered(join)
    assert await first.join() == "NoError"
    assert await join == "NoError"
    assert first.generation == second.generation
    assert (first.leader, second.leader) == (first.id, first.id)
    assert sorted(first.members) == sorted([first.id, second.id])
    assert second.members == []


async def test_a_member_that_does_not_join_again_in_time_is_left_out(recruit: Recruit) -> None:
    silent, second = await alone(recruit, rebalance_ms=1000), await recruit(rebalance_ms=1000)
    assert await second.join() == "NoError"
    assert second.members == [second.id]
    assert await silent.heartbeat() == "UnknownMemberIdError"


async def test_a_follower_waits_for_the_assignment_of_the_leader(recruit: Recruit) -> None:
    leader, follower = await joined_pair(recruit)
    waiting = asyncio.create_task(follower.sync())
    await stays_unanswered(waiting)
    assert await leader.sync({leader.id: b"one", follower.id: b"two"}) == ("NoError", b"one")
    assert await waiting == ("NoError", b"two")


async def test_a_follower_that_syncs_late_gets_its_assignment(recruit: Recruit) -> None:
    leader, follower = await joined_pair(recruit)
    await leader.sync({leader.id: b"one", follower.id: b"two"})
    assert await follower.sync() == ("NoError", b"two")


async def test_a_follower_that_waits_hears_of_the_next_rebalance(recruit: Recruit) -> None:
    leader, follower = await joined_pair(recruit)
    waiting = asyncio.create_task(follower.sync())
    await stays_unanswered(waiting)
    assert await leader.leave() == "NoError"
    assert (await waiting)[0] == "RebalanceInProgressError"


async def test_requests_of_another_generation_or_member_are_refused(recruit: Recruit) -> None:
    member = await alone(recruit)
    assert await member.heartbeat() == "NoError"
    assert await member.heartbeat(generation=member.generation + 5) == "IllegalGenerationError"
    assert await member.heartbeat(member="nobody") == "UnknownMemberIdError"


async def test_a_member_that_shares_no_protocol_with_the_group_is_refused(recruit: Recruit) -> None:
    await alone(recruit)
    stranger = await recruit(protocols=[("unheard-of", b"")])
    assert await stranger.join() == "InconsistentGroupProtocolError"


async def test_the_group_uses_a_protocol_that_all_members_know(recruit: Recruit) -> None:
    first = await alone(recruit, protocols=[("new", b"n"), ("range", b"r")])
    second = await recruit(protocols=[("range", b"r")])
    join = asyncio.create_task(second.join())
    await until(first.heartbeat, lambda error: error == "RebalanceInProgressError")
    assert await first.join() == "NoError"
    assert await join == "NoError"


async def test_a_member_that_has_left_is_unknown(recruit: Recruit) -> None:
    member = await alone(recruit)
    assert await member.leave() == "NoError"
    assert await member.heartbeat() == "UnknownMemberIdError"
    assert await member.leave() == "UnknownMemberIdError"


async def test_members_may_commit_until_the_rebalance_is_completed(recruit: Recruit, access: KafkaAccess) -> None:
    topic, first, second = await access.topic(), await alone(recruit), await recruit()
    join = asyncio.create_task(second.join())
    await until(first.heartbeat, lambda error: error == "RebalanceInProgressError")
    assert await first.commit(topic, 1) == "NoError"
    assert await first.join() == "NoError"
    assert await join == "NoError"
    assert await first.commit(topic, 2) == "RebalanceInProgressError"
    await first.sync({first.id: b"one", second.id: b"two"})
    assert await first.commit(topic, 3) == "NoError"


async def test_a_commit_of_another_generation_or_member_is_refused(
    recruit: Recruit, access: KafkaAccess, wire: Wire, group: str
) -> None:
    topic, member = await access.topic(), await alone(recruit)
    await member.commit(topic, 1)
    refused = {
        "IllegalGenerationError": (member.id, member.generation + 5),
        "UnknownMemberIdError": ("nobody", member.generation),
    }
    for error, (identity, generation) in refused.items():
        assert await commit(wire, group, topic, 9, member=identity, generation=generation) == error
    stored = await access.committed(group, topic)
    assert stored is not None
    assert stored.offset == 1


async def test_who_is_no_member_may_commit_for_a_group_without_members_only(
    recruit: Recruit, access: KafkaAccess, wire: Wire, group: str
) -> None:
    topic = await access.topic()
    assert await commit(wire, group, topic, 4) == "NoError"
    member = await alone(recruit)
    assert await commit(wire, group, topic, 5) == "UnknownMemberIdError"
    await member.leave()
    assert await commit(wire, group, topic, 6) == "NoError"


async def test_a_group_with_members_cannot_be_deleted(
    recruit: Recruit, access: KafkaAccess, wire: Wire, group: str
) -> None:
    topic, member = await access.topic(), await alone(recruit)
    await member.commit(topic, 3)
    assert await delete_group(wire, group) == "NonEmptyGroup"
    await member.leave()
    assert await delete_group(wire, group) == "NoError"
    assert await access.committed(group, topic) is None
    assert await delete_group(wire, group) == "GroupIdNotFound"
