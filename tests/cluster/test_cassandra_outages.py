"""Cassandra that is not there yet, goes away, comes back, or stands still."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from deploy.cluster import CassandraServer
from deploy.cluster.process import free_port
from schemas import Message, OutcomeUnknown, ServerTrouble, StoredMessage, ThreadHead, Unavailable
from state import AlreadyDone, Commit, Committed, Stale, Stores, open_stores

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
RECOVERY = 5.0
"""Seconds after the server answers again. Where the machine is busy it answers slowly: what opens only then says how slowly."""


def a_turn(n: int = 0) -> Commit:
    message = Message(message_id=f"m{n}", role="user", text="hello", run_id="r1", at=NOON)
    return Commit(
        input_id=f"i{n}",
        expected_version=n,
        head=ThreadHead(user_id="u1", created_at=NOON, updated_at=NOON),
        outputs=b"outputs",
        messages=(StoredMessage(seq=n + 1, message=message),),
    )


@asynccontextmanager
async def opened(server: CassandraServer, **options: object) -> AsyncIterator[Stores]:
    stores = open_stores(f"cassandra://{server.contact_point}:{server.port}/outages?rf=1", **options)
    await stores.open()
    await stores.migrate()
    try:
        yield stores
    finally:
        await stores.close()


@pytest.fixture
def cassandra(durable_cassandra: CassandraServer) -> CassandraServer:
    return durable_cassandra


@pytest.fixture
def tenant() -> str:
    return f"t-{secrets.token_hex(6)}"


async def seconds_of(work: Awaitable[object]) -> float:
    began = time.monotonic()
    await work
    return time.monotonic() - began


async def opening_takes(server: CassandraServer) -> float:
    """Seconds for opening stores anew and asking once."""

    async def anew() -> None:
        async with opened(server) as stores:
            await until_it_works(stores.ping)

    return await seconds_of(anew())


async def until_it_works(work: Callable[[], Awaitable[object]]) -> None:
    """Waits until `work` does not raise `Unavailable`."""
    async with asyncio.timeout(120):
        while True:
            try:
                await work()
            except Unavailable:
                await asyncio.sleep(0.05)
            else:
                return


async def test_store_opens_when_the_database_comes_up_after_it(
    cassandra: CassandraServer, tenant: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(cassandra):
        pass
    await asyncio.to_thread(cassandra.kill)
    stores = open_stores(f"cassandra://{cassandra.contact_point}:{cassandra.port}/outages?rf=1")
    opening = asyncio.create_task(stores.open())
    try:
        async with asyncio.timeout(120):
            while "waiting for Cassandra" not in caplog.text:
                await asyncio.wait([opening], timeout=0.05)
        assert not opening.done()
    finally:
        await asyncio.to_thread(cassandra.start)
    assert await seconds_of(asyncio.wait_for(opening, 120)) < RECOVERY + await opening_takes(cassandra)
    assert await stores.journal.commit(tenant, "th", a_turn()) == Committed(1)
    await stores.close()


async def test_opening_can_be_cancelled() -> None:
    stores = open_stores(f"cassandra://127.0.0.1:{free_port()}/outages")
    opening = asyncio.create_task(stores.open())
    await asyncio.wait([opening], timeout=0.3)
    opening.cancel()
    await asyncio.wait([opening], timeout=120)
    assert opening.cancelled()
    await stores.close()


async def test_service_is_back_within_seconds_of_an_outage_and_nothing_acknowledged_is_lost(
    cassandra: CassandraServer, tenant: str
) -> None:
    async with opened(cassandra) as stores:
        acknowledged: list[int] = []
        outcomes: dict[int, object] = {}

        async def write(n: int) -> None:
            try:
                outcomes[n] = await stores.journal.commit(tenant, f"th{n}", a_turn())
                acknowledged.append(n)
            except ServerTrouble as error:
                outcomes[n] = type(error)

        writes = [asyncio.create_task(write(n)) for n in range(400)]
        async with asyncio.timeout(120):
            while len(acknowledged) < 20:
                await asyncio.wait(writes, timeout=0.01)
        await asyncio.to_thread(cassandra.kill)
        try:
            async with asyncio.timeout(120):
                await asyncio.gather(*writes)
            with pytest.raises(Unavailable):
                await stores.journal.hydrate(tenant, "th0", window=1)
            with pytest.raises(Unavailable):
                await stores.ping()
        finally:
            await asyncio.to_thread(cassandra.start)

        assert await seconds_of(until_it_works(stores.ping)) < RECOVERY + await opening_takes(cassandra)
        for n, outcome in outcomes.items():
            version = (await stores.journal.hydrate(tenant, f"th{n}", window=1)).version
            possible = {Unavailable: (0,), OutcomeUnknown: (0, 1)}.get(outcome, (1,))  # type: ignore[call-overload]
            assert version in possible, (n, outcome, version)
        assert {Unavailable, OutcomeUnknown} & set(outcomes.values())
        assert await stores.journal.commit(tenant, "after", a_turn()) == Committed(1)


async def test_frozen_server_is_an_error_in_time_and_the_turn_is_decided_afterwards(
    cassandra: CassandraServer, tenant: str
) -> None:
    async with opened(cassandra, request_timeout=1.5) as stores:
        assert await stores.journal.commit(tenant, "th", a_turn(0)) == Committed(1)
        await stores.ledger.get(tenant, "c1")
        cassandra.pause()
        late, too_late = (asyncio.create_task(asyncio.sleep(seconds)) for seconds in (6, 60))
        try:
            turn = asyncio.create_task(stores.journal.commit(tenant, "th", a_turn(1)))
            with pytest.raises(Unavailable):
                await stores.ping()
            assert not late.done()  # it may take two seconds
            with pytest.raises(Unavailable):
                await stores.journal.hydrate(tenant, "th", window=1)
            with pytest.raises(OutcomeUnknown):
                await turn
            assert not too_late.done()
            with pytest.raises(Unavailable):
                await stores.ledger.get(tenant, "c1")
        finally:
            cassandra.resume()
            late.cancel()
            too_late.cancel()

        assert await seconds_of(until_it_works(stores.ping)) < RECOVERY + await opening_takes(cassandra)
        again = await stores.journal.commit(tenant, "th", a_turn(1))
        assert again in (Committed(2), AlreadyDone(b"outputs"))
        thread = await stores.journal.hydrate(tenant, "th", window=9)
        assert (thread.version, [m.seq for m in thread.messages]) == (2, [1, 2])
        assert await stores.journal.commit(tenant, "th", a_turn(0)) == AlreadyDone(b"outputs")


async def test_short_freeze_is_only_a_delay(cassandra: CassandraServer, tenant: str) -> None:
    async with opened(cassandra) as stores:
        await stores.journal.commit(tenant, "warm", a_turn())
        cassandra.pause()
        turns = [asyncio.create_task(stores.journal.commit(tenant, f"th{n}", a_turn())) for n in range(50)]
        await asyncio.wait(turns, timeout=1)
        cassandra.resume()
        assert await asyncio.gather(*turns) == [Committed(1)] * 50


async def test_rivals_for_one_version_are_decided_by_reads_when_the_server_gives_up_on_them(
    cassandra: CassandraServer, tenant: str
) -> None:
    """Two hundred conditional writes of one partition run into the server's limit for contention (CAS time-outs)."""
    async with opened(cassandra, request_timeout=20) as stores:
        rivals = [
            Commit(input_id=f"i{n}", expected_version=0, head=a_turn().head, outputs=str(n).encode())
            for n in range(200)
        ]
        results = await asyncio.gather(
            *(stores.journal.commit(tenant, "th", rival) for rival in rivals), return_exceptions=True
        )
        winners = [n for n, outcome in enumerate(results) if outcome == Committed(1)]
        stored = await stores.journal.hydrate(tenant, "th", window=1)
        assert stored.version == 1
        assert len(winners) <= 1
        assert all(outcome == Stale() or isinstance(outcome, Committed | OutcomeUnknown) for outcome in results)
        for n in winners:
            assert await stores.journal.outputs_of(tenant, "th", f"i{n}") == str(n).encode()
