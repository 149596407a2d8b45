"""Every event source keeps the rules of `connectors.event_source`, over a socket, with the embedded broker and SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from connector_folders import added_folder
from extending_page import example_files
from source_kit import Outside, Place, come, doorbell, place

from connectors.connector import connectors
from connectors.event_source import Inbox, keep_running
from core.external_events import Begun, NewEvent
from core.principal import Principal
from schemas import CauceError, ExternalEvent, PartitionSet, Unavailable
from streams import topic_admin
from streams.embedded import EmbeddedBroker

REACHED: dict[str, Callable[[], AbstractAsyncContextManager[Outside]]] = {"doorbell": doorbell}
"""By connector. A new event source gets a line."""


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The examples of docs/extending.md are installed."""
    with added_folder(tmp_path_factory.mktemp("example"), example_files("connectors/")):
        yield


@pytest.fixture(params=REACHED)
async def outside(request: pytest.FixtureRequest, example: None) -> AsyncIterator[Outside]:
    async with REACHED[request.param]() as found:
        yield found


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Place]:
    async with EmbeddedBroker(tmp_path / "kafka") as broker:
        await topic_admin.apply(broker.bootstrap, partitions={PartitionSet.CONVERSATION: 2, PartitionSet.TENANT: 1})
        async with place(broker.bootstrap, tmp_path / "state") as found:
            yield found


@asynccontextmanager
async def running(outside: Outside, inbox: Inbox) -> AsyncIterator[None]:
    """The source runs for the block, and is killed at its end."""
    task = asyncio.create_task(keep_running(outside.source(), inbox))
    yield
    task.cancel()
    await asyncio.wait([task])


class DyingInbox(Inbox):
    """Its process dies before the n-th position is kept."""

    def __init__(self, inbox: Inbox, n: int) -> None:
        self.__dict__.update(inbox.__dict__)
        self.left, self.died = n, asyncio.Event()

    async def keep(self, position: str, of: Principal | None = None) -> None:
        self.left -= 1
        if self.left == 0:
            self.died.set()
            await asyncio.Event().wait()
        await super().keep(position, of)


class UnsureInbox(Inbox):
    """What it begins first is not certain."""

    def __init__(self, inbox: Inbox, *, after: bool) -> None:
        self.__dict__.update(inbox.__dict__)
        self.after, self.failed = after, False

    async def begin(self, principal: Principal, event: NewEvent) -> Begun:
        if self.failed:
            return await super().begin(principal, event)
        self.failed = True
        if self.after:
            await super().begin(principal, event)
        raise Unavailable("Kafka does not answer")


async def until_told(here: Place, *texts: str) -> list[ExternalEvent]:
    """The events, once there is one for each text."""

    async def told() -> bool:
        bodies = [record.body for record in await here.events()]
        return all(any(text in body.summary for body in bodies) for text in texts)

    await come(told)
    return [record.body for record in await here.events()]


def test_every_event_source_is_in_this_suite(example: None) -> None:
    there = {one.name for one in connectors() if one.source}
    assert there == set(REACHED), "REACHED in this file has to say how each is reached"


async def test_what_happens_begins_a_run_for_its_user_with_an_id_of_its_own(outside: Outside, here: Place) -> None:
    source = outside.source()
    assert source.id in REACHED
    for user, text in (("ana", "one"), ("eva", "two"), ("ana", "three")):
        await outside.happen("acme", user, text)
    async with running(outside, here.inbox(source)):
        told = await until_told(here, "one", "two", "three")
    assert {(body.user_id, word) for body in told for word in ("one", "two", "three") if word in body.summary} == {
        ("ana", "one"),
        ("eva", "two"),
        ("ana", "three"),
    }
    records = await here.events()
    assert len({record.envelope.id for record in records}) == 3
    assert {record.tenant_id for record in records} == {"acme"}
    for record in records:
        assert record.thread
        assert await here.stores.journal.accepted_ids(*record.thread) == [record.envelope.id]


async def test_a_source_that_dies_before_it_keeps_its_position_tells_the_same_event_again(
    outside: Outside, here: Place
) -> None:
    await outside.happen("acme", "ana", "one")
    await outside.happen("acme", "ana", "two")
    dying = DyingInbox(here.inbox(outside.source()), 2)
    async with running(outside, dying):
        await dying.died.wait()
    assert len(await here.events()) == 2
    async with running(outside, here.inbox(outside.source())):
        await outside.happen("acme", "ana", "three")
        await until_told(here, "three")
    records = await here.events()
    texts = {record.envelope.id: record.body.summary for record in records}
    assert len(records) == 4, "the second is told twice, the first not again"
    assert len(texts) == 3, "under the same id"
    assert sum("two" in record.body.summary for record in records) == 2


@pytest.mark.parametrize("after", [False, True], ids=["it was not taken", "it was taken"])
async def test_an_event_of_which_it_is_not_certain_that_it_was_taken_is_told_again(
    outside: Outside, here: Place, after: bool
) -> None:
    await outside.happen("acme", "ana", "one")
    await outside.happen("acme", "ana", "two")
    async with running(outside, UnsureInbox(here.inbox(outside.source()), after=after)):
        await until_told(here, "one", "two")
    assert len({record.envelope.id for record in await here.events()}) == 2


async def test_what_can_begin_no_run_holds_nothing_up(outside: Outside, here: Place) -> None:
    await outside.happen("lumen", "ana", "for a tenant that is paused")
    await outside.happen("nobody", "ana", "for nobody")
    await outside.happen("acme", "ana", "last")
    async with running(outside, here.inbox(outside.source())):
        told = await until_told(here, "last")
    assert len(told) == 1


async def test_a_source_whose_service_is_away_does_not_end(outside: Outside, here: Place) -> None:
    wrong = outside.make(outside.wrong_settings)
    assert wrong
    task = asyncio.create_task(keep_running(wrong, here.inbox(wrong)))
    done, _ = await asyncio.wait([task], timeout=0.5)
    assert not done
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_looking_at_it_says_what_was_found_or_what_is_wrong(outside: Outside) -> None:
    assert await outside.source().check()
    wrong = outside.make(outside.wrong_settings)
    assert wrong
    with pytest.raises(CauceError):
        await wrong.check()
