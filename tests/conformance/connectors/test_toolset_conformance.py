"""Every toolset keeps the rules of `connectors.toolset`, over a socket."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from connector_folders import added_folder
from extending_page import example_files
from reached_toolsets import REACHED, READING, WEATHER, WRITING, Reached

from connectors.connector import connectors
from connectors.toolset import Call, Toolset
from connectors.toolsets import Toolsets
from schemas import CauceError

pytestmark = pytest.mark.asyncio(loop_scope="module")

those_that_write = pytest.mark.parametrize("reached", WRITING, indirect=True)
those_that_only_read = pytest.mark.parametrize("reached", READING, indirect=True)

NOT_CARRIED_OUT = {"retry", "halt", "tell_model", "needs_authorization", "refused", "failed"}


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The toolset of docs/extending.md is installed, and one that only reads."""
    with added_folder(tmp_path_factory.mktemp("example"), example_files("connectors/") | WEATHER):
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=REACHED)
async def reached(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, example: None
) -> AsyncIterator[Reached]:
    async with REACHED[request.param](tmp_path_factory.mktemp(request.param)) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def toolset(reached: Reached) -> AsyncIterator[Toolset]:
    made = reached.make(reached.settings)
    assert made
    yield made
    await made.close()


@pytest.fixture
def unique() -> str:
    return f"s{secrets.token_hex(6)}"


async def call_of(toolset: Toolset, name: str, arguments: dict[str, Any], **who: str) -> Call:
    about = {"call_id": f"r{secrets.token_hex(6)}.1.1", "tenant_id": "acme", "user_id": "ana", **who}
    return Call(tool=(await toolset.tools())[name], arguments=arguments, **about)


async def test_every_toolset_is_in_this_suite(example: None) -> None:
    there = {one.name for one in connectors() if one.toolset}
    assert there == set(REACHED), "REACHED in reached_toolsets.py has to say how each is reached"


async def test_its_tools_can_be_offered_and_are_its_own(toolset: Toolset) -> None:
    assert toolset.id in REACHED
    assert toolset.prefix in ("", f"{toolset.id}_")
    tools = await toolset.tools()
    assert tools
    for name, tool in tools.items():
        assert name == tool.name
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)
        assert tool.description
        assert tool.parameters["type"] == "object"
        assert tool.repeatable or tool.side_effects
    toolsets = Toolsets([toolset])
    assert (await toolsets.offer()).tools == tools
    assert (await toolsets.offer()).left_out == ()
    assert await toolset.tools() is tools, "the same object until they are read anew"


async def test_a_reading_call_has_a_value(toolset: Toolset, reached: Reached) -> None:
    call = await call_of(toolset, *reached.reading)
    assert call.tool.read_only
    assert (await toolset.call(call)).kind == "ok"


@those_that_write
async def test_a_writing_call_has_one_effect_and_is_found_by_a_read_or_not_told(
    toolset: Toolset, reached: Reached, unique: str
) -> None:
    since = datetime.now(UTC)
    call = await call_of(toolset, *reached.calling(unique))
    assert not call.tool.repeatable
    assert (await toolset.call(call)).kind == "ok"
    found = await toolset.reconcile(call, since)
    assert found is None or found.kind == "ok"
    assert await reached.effects(unique) == 1


@those_that_write
async def test_a_call_that_was_carried_out_and_whose_answer_was_lost_is_unknown(
    toolset: Toolset, reached: Reached, unique: str
) -> None:
    since = datetime.now(UTC)
    await reached.lose_answer()
    call = await call_of(toolset, *reached.calling(unique))
    assert (await toolset.call(call)).kind == "unknown"
    assert await reached.effects(unique) == 1
    found = await toolset.reconcile(call, since)
    assert found is None or found.kind == "ok"
    assert await reached.effects(unique) == 1, "finding out changes nothing"


@those_that_only_read
async def test_a_read_whose_answer_was_lost_is_unknown_and_can_be_made_again(
    toolset: Toolset, reached: Reached
) -> None:
    await reached.lose_answer()
    call = await call_of(toolset, *reached.reading)
    assert (await toolset.call(call)).kind == "unknown"
    assert call.tool.repeatable
    assert (await toolset.call(call)).kind == "ok"


async def test_what_was_never_called_is_not_found(toolset: Toolset, reached: Reached, unique: str) -> None:
    call = await call_of(toolset, *reached.calling(unique))
    found = await toolset.reconcile(call, datetime.now(UTC))
    assert found is None or found.kind in NOT_CARRIED_OUT


async def test_too_many_calls_is_for_later_and_was_not_carried_out(
    toolset: Toolset, reached: Reached, unique: str
) -> None:
    await reached.busy()
    call = await call_of(toolset, *reached.calling(unique))
    assert (await toolset.call(call)).kind == "retry"
    assert await reached.effects(unique) == 0
    assert (await toolset.call(call)).kind == "ok"
    assert await reached.effects(unique) == (1 if reached.writing else 0)


async def test_arguments_that_do_not_fit_are_told_to_the_model(toolset: Toolset, reached: Reached, unique: str) -> None:
    name, arguments = reached.calling(unique)
    call = await call_of(toolset, name, dict.fromkeys(arguments))
    outcome = await toolset.call(call)
    assert outcome.kind == "tell_model"
    assert outcome.message
    assert await reached.effects(unique) == 0


async def test_calls_at_once_are_all_made_once(toolset: Toolset, reached: Reached, unique: str) -> None:
    texts = [f"{unique}-{n}" for n in range(10)]
    calls = [await call_of(toolset, *reached.calling(text)) for text in texts]
    outcomes = await asyncio.gather(*map(toolset.call, calls))
    assert {outcome.kind for outcome in outcomes} == {"ok"}
    assert [await reached.effects(text) for text in texts] == [1 if reached.writing else 0] * 10


async def test_looking_at_it_says_what_was_found(toolset: Toolset) -> None:
    assert await toolset.check()


async def test_what_is_wrong_with_its_settings_is_said_and_no_call_raises(reached: Reached, unique: str) -> None:
    right, wrong = reached.make(reached.settings), reached.make(reached.wrong_settings)
    assert right
    assert wrong
    with pytest.raises(CauceError) as raised:
        await wrong.check()
    assert len(str(raised.value)) > 20
    call = await call_of(right, *reached.calling(unique))
    assert (await wrong.call(call)).kind in NOT_CARRIED_OUT
    assert await reached.effects(unique) == 0
    await right.close()
    await wrong.close()
