"""What tenants and users flood a worker with is held within their shares, and nobody else waits behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from runtime_kit import QUICK, Answering, Chat, running, until

from schemas import RawRecord, Record
from streams.held_records import HeldRecord

OPTIONS = replace(QUICK, max_queued=200, max_queued_bytes=2_000_000)


class Gate:
    """Messages that say so take their time until the gate opens."""

    def __init__(self) -> None:
        self.opens = asyncio.Event()

    async def __call__(self, record: Record) -> None:
        if record.body.text == "slow":
            await self.opens.wait()


async def flood(
    chat: Chat, processor: Answering, threads: Sequence[tuple[str, str, str]], count: int, size: int
) -> list[str]:
    """So many messages for each tenant, user and thread, behind one that takes its time."""
    slow = [await chat.say(thread, "slow", user=user, tenant=tenant) for tenant, user, thread in threads]
    await until(lambda: all(processor.seen[message] == 1 for message in slow))
    behind = [
        chat.say(thread, f"{n} ".ljust(size, "x"), user=user, tenant=tenant)
        for n in range(count)
        for tenant, user, thread in threads
    ]
    return slow + list(await asyncio.gather(*behind))


@pytest.mark.parametrize(("count", "size"), [(10, 100_000), (30, 2_000)], ids=["bytes", "records"])
async def test_tenants_that_flood_all_budgets_hold_up_no_other_tenant(kafka: str, count: int, size: int) -> None:
    """Three tenants, each with more than the whole budget, behind threads that take their time."""
    gate = Gate()
    processor = Answering(then=gate)
    async with running(kafka, processor, options=OPTIONS) as worker, Chat(kafka) as chat:
        threads = [(f"-{t}", f"u{n}", f"loud{n}") for t in range(3) for n in range(4)]
        loud = await flood(chat, processor, threads, count, size)
        quiet = [await chat.say(f"quiet{n}", "y" * size) for n in range(8)]
        await chat.answered(quiet)
        holdings = worker.runtime("turns")._holdings
        assert chat.answers.total() == len(quiet), "the flood is still held"
        await until(lambda: {*loud, *quiet} <= processor.arrived_ids)
        assert holdings.records <= OPTIONS.max_queued * 3 / 4 + len(threads)
        assert holdings.bytes <= OPTIONS.max_queued_bytes * 3 / 4 + len(threads) * 10
        gate.opens.set()
        await chat.answered(loud)
        for tenant, _, thread in threads:
            order = chat.order[f"{chat.tenant}{tenant}:{thread}"]
            assert order == [message for message in loud if message in set(order)], (
                "a thread's messages keep their order"
            )
        assert (holdings.records, holdings.bytes, holdings.stubs, holdings._spilled) == (0, 0, 0, {})


async def test_user_who_floods_leaves_room_for_another_of_the_same_tenant(kafka: str) -> None:
    gate = Gate()
    processor = Answering(then=gate)
    async with running(kafka, processor, options=OPTIONS) as worker, Chat(kafka) as chat:
        spilled = worker.runtime("turns")._holdings._spilled
        loud = await flood(chat, processor, [("", "mallory", f"m{n}") for n in range(20)], 3, 100_000)
        await until(lambda: set(loud) <= processor.arrived_ids)
        assert {record.user for record in spilled.values()} == {"mallory"}
        quiet = await flood(chat, processor, [("", "bob", "b1"), ("", "bob", "b2")], 1, 50_000)
        await until(lambda: set(quiet) <= processor.arrived_ids)
        assert {record.user for record in spilled.values()} == {"mallory"}, "what Bob waits with is held"
        gate.opens.set()
        await chat.answered(loud + quiet)


@pytest.mark.parametrize(
    ("value", "user"),
    [
        (b'{"user_id":"ana","text":"hi"}', "ana"),
        (b'{ "user_id" : "ana" }', "ana"),
        (b'{"text":"\\"user_id\\":\\"boss\\"","user_id":"ana"}', "ana"),
        (b'{"text":"' + b"x" * 600 + b'","user_id":"ana"}', ""),
        (b"\xff\xfe", ""),
        (None, ""),
    ],
)
def test_share_of_a_record_is_that_of_the_user_whom_it_names(value: bytes | None, user: str) -> None:
    raw = RawRecord("chat.messages", 0, 0, 0, b"acme:t1", value, ())
    held = HeldRecord(None, None, raw, 0.0)  # type: ignore[arg-type]
    assert (held.tenant, held.user) == ("acme", user)
