"""Several toolsets as one: what is offered, and where calls go."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from listed_tools import ListedTools, tool

from connectors.toolset import Call, ToolSpec
from connectors.toolsets import Toolsets
from schemas import SettingsError, Unavailable


def call_of(spec: ToolSpec) -> Call:
    return Call(call_id="r1.1.1", tool=spec, arguments={}, tenant_id="acme", user_id="ana")


def arcade(*names: str) -> ListedTools:
    return ListedTools(*map(tool, names), id="arcade")


def notes(*names: str) -> ListedTools:
    return ListedTools(*map(tool, names), id="notes", prefix="notes_")


async def test_agents_are_offered_the_tools_of_all() -> None:
    offer = await Toolsets([arcade("Gmail_SendEmail"), notes("notes_Add", "notes_Find")]).offer()
    assert list(offer.tools) == ["Gmail_SendEmail", "notes_Add", "notes_Find"]
    assert (offer.missing, offer.left_out) == ((), ())


@pytest.mark.parametrize("turned", [False, True])
async def test_a_call_goes_to_the_toolset_that_offered_the_tool(turned: bool) -> None:
    both = [arcade("Gmail_SendEmail"), notes("notes_Add")]
    toolsets = Toolsets(both[::-1] if turned else both)
    for one, name in zip(both, ["Gmail_SendEmail", "notes_Add"], strict=True):
        spec = await toolsets.find(name)
        assert spec
        call = call_of(spec)
        assert (await toolsets.call(call)).value == f"{one.id} called {name}"
        found = await toolsets.reconcile(call, datetime.now(UTC))
        assert found
        assert found.value == f"{one.id} found {name}"
        assert one.calls == [call]


async def test_a_call_from_before_another_toolset_was_installed_goes_where_it_would_have_gone() -> None:
    assert Toolsets([arcade()]).owner("Gmail_SendEmail").id == "arcade"  # type: ignore[union-attr]
    later = Toolsets([notes(), arcade(), ListedTools(id="Gmail", prefix="Gmail2_")])
    assert later.owner("Gmail_SendEmail").id == "arcade"  # type: ignore[union-attr]


async def test_the_longest_prefix_says_whose_a_tool_is() -> None:
    toolsets = Toolsets([notes(), ListedTools(id="shared", prefix="notes_shared_")])
    owners = {name: toolsets.owner(name) for name in ("notes_Add", "notes_shared_Add", "Gmail_SendEmail")}
    assert [one.id if one else None for one in owners.values()] == ["notes", "shared", None]
    assert await toolsets.find("Gmail_SendEmail") is None


def test_two_toolsets_whose_names_begin_alike_are_refused_in_words() -> None:
    with pytest.raises(SettingsError, match=r"tools of arcade and of other have no prefix, .* use only one of the two"):
        Toolsets([arcade(), notes(), ListedTools(id="other")])
    with pytest.raises(SettingsError, match=r"tools of notes and of more begin with 'notes_'"):
        Toolsets([notes(), arcade(), ListedTools(id="more", prefix="notes_")])


async def test_a_tool_with_the_name_of_another_toolset_is_not_offered_and_that_is_said() -> None:
    toolsets = Toolsets([arcade("Gmail_SendEmail", "notes_Add"), notes("notes_Find", "Gmail_Odd")])
    offer = await toolsets.offer()
    assert list(offer.tools) == ["Gmail_SendEmail", "notes_Find"]
    assert offer.left_out == (
        "1 tools of arcade are not offered, such as notes_Add: names that begin with 'notes_' are tools of notes",
        "1 tools of notes are not offered, such as Gmail_Odd: names without a known prefix are tools of arcade",
    )
    assert await toolsets.find("notes_Add") is None
    assert await toolsets.find("Gmail_Odd") is None


async def test_a_toolset_that_cannot_be_read_keeps_nobody_from_using_the_others() -> None:
    one, other = arcade("Gmail_SendEmail"), notes("notes_Add")
    toolsets, one.fails = Toolsets([one, other]), Unavailable("Arcade does not answer")
    offer = await toolsets.offer()
    assert (list(offer.tools), offer.missing) == (["notes_Add"], ("arcade",))
    assert await toolsets.find("notes_Add")
    with pytest.raises(Unavailable):
        await toolsets.find("Gmail_SendEmail")
    one.fails = None
    offer = await toolsets.offer()
    assert (list(offer.tools), offer.missing) == (["Gmail_SendEmail", "notes_Add"], ())


async def test_what_is_offered_is_the_same_object_until_a_toolset_was_read_anew() -> None:
    one, other = arcade("Gmail_SendEmail"), notes("notes_Add")
    toolsets = Toolsets([one, other])
    before = await toolsets.offer()
    assert await toolsets.offer() is before
    other.listed = {**other.listed, "notes_Find": tool("notes_Find")}
    assert "notes_Find" in (await toolsets.offer()).tools


async def test_all_are_closed() -> None:
    both = [arcade(), notes()]
    await Toolsets(both).close()
    assert [one.closed for one in both] == [True, True]
