"""Copies of threads: all that one says and knows in another, of the same person, or nothing."""

from __future__ import annotations

import json

import pytest
from graph_kit import Hosting, _fresh_graphs, events, run, say, told
from listed_threads import threads_of
from turns_kit import System, messages, record, system
from turns_kit import say as message

from processors.turns import copying
from schemas import ChangeThread, Record

__all__ = ["_fresh_graphs", "system"]


@pytest.fixture
async def hosting(system: System) -> Hosting:
    await system.tenant("scripted:")
    return Hosting(system)


def copy(source: str, thread: str = "t2", user_id: str = "u") -> Record:
    return record(ChangeThread(user_id=user_id, action="copy", source_thread=source), thread)


async def test_copy_has_messages_state_title_and_metadata_and_lives_by_itself(hosting: Hosting) -> None:
    processor = hosting.processor()
    await processor.process(record(ChangeThread(user_id="u", action="create", title="Mail", metadata={"a": 1})))
    await processor.process(run("chat", say("one")))
    asked = copy("t1")
    outputs = await processor.process(asked)
    assert told(outputs) == ["thread.changed"]
    (changed,) = events(outputs, "thread.changed")
    assert (changed["action"], changed["title"], changed["metadata"]) == ("copy", "Mail", {"a": 1})
    assert list(await hosting.processor().process(asked)) == list(outputs)

    state = await hosting.state("chat", thread="t2")
    assert state["values"] == (await hosting.state("chat"))["values"]
    await hosting.processor().process(run("chat", say("two"), thread="t2"))
    assert len((await hosting.state("chat", thread="t2"))["values"]["messages"]) == 4
    assert len((await hosting.state("chat"))["values"]["messages"]) == 2
    assert len((await hosting.stores.journal.hydrate("acme", "t2", window=10)).messages) == 4
    assert await messages(hosting.system) == ["user: one", "assistant: done done done done done"]


async def test_agent_goes_on_in_the_copy_of_its_thread(hosting: Hosting) -> None:
    processor = hosting.processor()
    await processor.process(message("hello"))
    await processor.process(copy("t1"))
    outputs = await processor.process(message("more", thread="t2"))
    assert told(outputs)[-1] == "run.completed"
    found = await hosting.stores.journal.hydrate("acme", "t2", window=10)
    assert [m.seq for m in found.messages] == [1, 2, 3, 4]


@pytest.mark.parametrize("source", ["not there", "of somebody else", "deleted", "too long"])
async def test_what_cannot_be_copied_leaves_no_thread_and_says_why(
    hosting: Hosting, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor, user_id = hosting.processor(), "u"
    if source != "not there":
        await processor.process(message("hello"))
    if source == "of somebody else":
        user_id = "v"
    if source == "deleted":
        await processor.process(record(ChangeThread(user_id="u", action="delete")))
    if source == "too long":
        monkeypatch.setattr(copying, "MOST_ROWS", 1)
    outputs = await processor.process(copy("t1", user_id=user_id))
    assert told(outputs) == ["input.refused"]
    assert json.loads(outputs[0].value)["reason"]
    assert (await hosting.head("t2")).deleted
    assert [t.thread_id for t in await threads_of(hosting.stores.journal, "acme", user_id)] in ([], ["t1"])


async def test_thread_that_exists_is_not_overwritten_by_a_copy(hosting: Hosting) -> None:
    processor = hosting.processor()
    await processor.process(message("one"))
    await processor.process(message("other", thread="t2"))
    assert told(await processor.process(copy("t1"))) == ["input.refused"]
    found = await hosting.stores.journal.hydrate("acme", "t2", window=10)
    assert found.messages[0].message.text == "other"
