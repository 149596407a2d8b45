"""Calls of tools of several toolsets, with SQLite, Arcade's emulated engine and a toolset beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from emulated import Emulated
from listed_tools import ListedTools, tool
from tool_calls import Workers, die, request, result_of, send_mail

from connectors.arcade import ArcadeClient
from connectors.toolset import Call, ToolOutcome
from processors.tools.processor import ToolsProcessor
from schemas import Unavailable
from state import Stores


@pytest.fixture
async def arcade(emulated: Emulated) -> AsyncIterator[ArcadeClient]:
    client = ArcadeClient(emulated.base_url, emulated.api_key, timeout=120)
    yield client
    await client.close()


@pytest.fixture
def notes() -> ListedTools:
    return ListedTools(tool("notes_Add"), tool("notes_Find", read_only=True), id="notes", prefix="notes_")


async def test_each_call_goes_to_the_toolset_of_its_tool(
    stores: Stores, arcade: ArcadeClient, notes: ListedTools, emulated: Emulated, unique: str
) -> None:
    processor = Workers(stores, arcade, notes).processor()
    result = result_of(await processor.process(request("notes_Add", {"text": unique}, call_id="c2")))
    assert (result.status, result.content) == ("ok", "notes called notes_Add")
    assert result_of(await processor.process(send_mail(unique))).status == "ok"
    assert len(await emulated.effects(unique)) == 1
    (call,) = notes.calls
    assert (call.call_id, call.arguments, call.tenant_id, call.user_id) == ("c2", {"text": unique}, "acme", "u1")


async def test_a_call_from_before_a_toolset_was_installed_is_still_arcade_s(
    workers: Workers, stores: Stores, arcade: ArcadeClient, notes: ListedTools, emulated: Emulated, unique: str
) -> None:
    await die(workers, stores.ledger, send_mail(unique), "finish", after=False)
    result = result_of(await Workers(stores, arcade, notes).processor().process(send_mail(unique)))
    assert result.status == "ok"
    assert "found by a search" in result.content
    assert len(await emulated.effects(unique)) == 1
    assert notes.calls == []


async def test_what_became_of_a_call_is_asked_of_its_toolset_after_a_restart(
    stores: Stores, arcade: ArcadeClient, notes: ListedTools
) -> None:
    record = request("notes_Add", {"text": "x"})
    await die(Workers(stores, arcade, notes), stores.ledger, record, "finish", after=False)
    more = ListedTools(tool("no_Add"), id="no", prefix="no_")
    result = result_of(await Workers(stores, arcade, more, notes).processor().process(record))
    assert (result.status, result.content) == ("ok", "notes found notes_Add")
    assert len(notes.calls) == 1


async def test_a_toolset_that_is_gone_refuses_what_was_not_sent_and_says_unknown_of_what_may_have_been(
    workers: Workers, stores: Stores, arcade: ArcadeClient, notes: ListedTools
) -> None:
    sent, new = request("notes_Add", {}), request("notes_Add", {}, call_id="c2")
    await die(Workers(stores, arcade, notes), stores.ledger, sent, "finish", after=False)
    assert result_of(await workers.processor().process(sent)).status == "unknown"
    assert result_of(await workers.processor().process(new)).status == "refused"


async def test_a_toolset_that_is_away_holds_up_its_own_calls_alone(
    stores: Stores, arcade: ArcadeClient, notes: ListedTools, emulated: Emulated, unique: str
) -> None:
    notes.fails = Unavailable("the notes do not answer")
    processor = Workers(stores, arcade, notes).processor()
    with pytest.raises(Unavailable, match="the notes do not answer"):
        await processor.process(request("notes_Add", {}, call_id="c2"))
    assert result_of(await processor.process(send_mail(unique))).status == "ok"


async def test_a_call_that_raises_may_have_been_made_and_is_not_made_again(
    stores: Stores, arcade: ArcadeClient
) -> None:
    class Raising(ListedTools):
        async def call(self, call: Call) -> ToolOutcome:
            await super().call(call)
            raise RuntimeError("a bug in a toolset")

        async def reconcile(self, call: Call, since: object) -> ToolOutcome | None:
            return None

    broken = Raising(tool("notes_Add"), id="notes", prefix="notes_")
    record = request("notes_Add", {})

    def processor() -> ToolsProcessor:
        return Workers(stores, arcade, broken).processor()

    with pytest.raises(RuntimeError):
        await processor().process(record)
    assert result_of(await processor().process(record)).status == "unknown"
    assert len(broken.calls) == 1
