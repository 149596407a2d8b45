"""Every sender keeps the rules of `connectors.sender`, over a socket."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from connector_folders import added_folder
from extending_page import example_files
from small_server import Pager

from connectors.connector import connectors
from connectors.sender import Notification, Sender
from schemas import CauceError
from schemas.common.section import Section

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Channel:
    """A sender whose service runs, and what the suite needs to know of that."""

    make: Callable[[Section], Sender | None]
    settings: Section
    wrong_settings: Section
    texts: Callable[[str], Awaitable[list[str]]]
    """What the user of acme with this id was told."""
    unreachable: str
    """A user who has no address."""
    lose_answer: Callable[[], Awaitable[None]]
    """The next notification is taken, and the answer lost."""
    busy: Callable[[], Awaitable[None]]
    """The next notification is refused, since there are too many."""


@asynccontextmanager
async def pager() -> AsyncIterator[Channel]:
    server, connector = Pager(), next(one for one in connectors() if one.name == "pager")

    async def texts(user_id: str) -> list[str]:
        return [row["text"] for row in await server.find(to=f"acme/{user_id}")]

    assert connector.sender
    settings: Any = connector.settings
    async with server.listening() as address:
        yield Channel(
            make=connector.sender,
            settings=settings(url=address),
            wrong_settings=settings(url="http://127.0.0.1:1"),
            texts=texts,
            unreachable="nobody",
            lose_answer=server.lose_answer,
            busy=server.be_busy,
        )


REACHED: dict[str, Callable[[], AbstractAsyncContextManager[Channel]]] = {"pager": pager}
"""By connector. A new sender gets a line."""


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The examples of docs/extending.md are installed."""
    with added_folder(tmp_path_factory.mktemp("example"), example_files("connectors/")):
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=REACHED)
async def channel(request: pytest.FixtureRequest, example: None) -> AsyncIterator[Channel]:
    async with REACHED[request.param]() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def sender(channel: Channel) -> AsyncIterator[Sender]:
    made = channel.make(channel.settings)
    assert made
    yield made
    await made.close()


@pytest.fixture
def user() -> str:
    return f"u{secrets.token_hex(6)}"


def notification(user_id: str, text: str = "The report is ready.") -> Notification:
    return Notification(notification_id=f"n{secrets.token_hex(6)}", text=text, tenant_id="acme", user_id=user_id)


async def test_every_sender_is_in_this_suite(example: None) -> None:
    there = {one.name for one in connectors() if one.sender}
    assert there == set(REACHED), "REACHED in this file has to say how each is reached"


async def test_a_notification_reaches_its_user(sender: Sender, channel: Channel, user: str) -> None:
    assert sender.id in REACHED
    assert (await sender.send(notification(user))).kind == "sent"
    assert await channel.texts(user) == ["The report is ready."]


async def test_a_notification_that_is_too_long_is_cut_and_sent(sender: Sender, channel: Channel, user: str) -> None:
    assert (await sender.send(notification(user, "x" * 100_000))).kind == "sent"
    (text,) = await channel.texts(user)
    assert text.startswith("xxx")


async def test_a_notification_whose_answer_was_lost_is_unknown_and_the_service_gets_the_same_id_again(
    sender: Sender, channel: Channel, user: str
) -> None:
    await channel.lose_answer()
    same = notification(user)
    assert (await sender.send(same)).kind == "unknown"
    assert (await sender.send(same)).kind == "sent"
    assert len(await channel.texts(user)) in (1, 2), "1 where the service takes an idempotency key"


async def test_too_many_is_for_later_and_was_not_sent(sender: Sender, channel: Channel, user: str) -> None:
    await channel.busy()
    assert (await sender.send(notification(user))).kind == "retry"
    assert await channel.texts(user) == []


async def test_a_user_without_an_address_is_unreachable(sender: Sender, channel: Channel) -> None:
    assert (await sender.send(notification(channel.unreachable))).kind == "unreachable"


async def test_looking_at_it_says_what_was_found(sender: Sender) -> None:
    assert await sender.check()


async def test_what_is_wrong_with_its_settings_is_said_and_no_send_raises(channel: Channel, user: str) -> None:
    wrong = channel.make(channel.wrong_settings)
    assert wrong
    with pytest.raises(CauceError):
        await wrong.check()
    assert (await wrong.send(notification(user))).kind in ("retry", "failed")
    assert await channel.texts(user) == []
    await wrong.close()
