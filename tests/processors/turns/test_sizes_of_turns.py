"""Sizes are bound before anything is kept: what was journaled can be published, and what cannot be is told in words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_foreign_text_of_models import _Model
from turns_kit import System, kinds, messages, opened_stores, record, requests, result_of, say

from schemas import MAX_BODY_BYTES, ApprovalDecision, RawRecord, Record, TooLarge, Topic, Unreadable, decode
from schemas.records import most_bytes


@pytest.fixture
async def system(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[System]:
    async with opened_stores(request, tmp_path, "sqlite") as stores:
        system = System(stores)
        await system.tenant("scripted:")
        yield system


def all_fit(outputs: Any) -> bool:
    return all(len(output.value) <= most_bytes(output.topic) for output in outputs)


@pytest.mark.parametrize("size", [200_000, 899_000, 899_700, 950_000, 3_000_000])
async def test_a_call_whose_arguments_are_too_large_goes_back_to_the_model_as_a_failed_one(
    system: System, size: int
) -> None:
    system.models["scripted:"] = _Model(call={"text": "x" * size})
    outputs = await system.processor().process(say("look"))
    assert all_fit(outputs)
    if asked := requests(outputs):
        assert size < MAX_BODY_BYTES, "what fits is asked for"
        outputs = await system.processor().process(result_of(asked[0]))
    else:
        said = await messages(system)
        assert f"{size + 12:,} bytes" in said[2]
    assert kinds(outputs)[-1] == "run.completed"
    assert all_fit(outputs)


@pytest.mark.parametrize("size", [60_000, 120_000, 240_000, 400_000])
async def test_calls_that_are_too_large_together_are_told_to_the_model_and_the_run_goes_on(
    system: System, size: int
) -> None:
    system.models["scripted:"] = _Model(call={"text": "x" * size}, calls=4)
    outputs = await system.processor().process(say("look"))
    assert all_fit(outputs)
    for request in requests(outputs):
        outputs = await system.processor().process(result_of(request))
    assert kinds(outputs)[-1] == "run.completed"


@pytest.mark.parametrize("letter", ["x", "ä", "😀", "\x01", '"'])
async def test_an_answer_of_any_length_is_kept_as_far_as_it_fits(system: System, letter: str) -> None:
    system.models["scripted:"] = _Model(pieces=(letter * 1_500_000,))
    outputs = await system.processor().process(say("hi"))
    assert all_fit(outputs)
    assert kinds(outputs)[-1] == "run.completed"
    said = (await messages(system))[-1]
    assert len(said) > 40_000


async def test_an_edit_that_is_too_large_for_a_call_is_refused_and_the_call_still_waits(system: System) -> None:
    await system.tenant("scripted:tool=Bench_Echo")
    asked = await system.processor().process(say("do it"))
    assert kinds(asked)[-1] == "run.paused"
    head = (await system.stores.journal.hydrate("acme", "t1", window=0)).head
    assert head
    call_id = head.pending[0].call.call_id
    fits = MAX_BODY_BYTES - 200  # the decision is read, and the request that would come of it is larger
    decision = ApprovalDecision(user_id="u", call_id=call_id, decision="edit", arguments={"t": "x" * fits})
    decision = decision.model_copy(
        update={"arguments": {"t": "x" * (fits - len(decision.to_bytes()) + MAX_BODY_BYTES)}}
    )
    assert len(decision.to_bytes()) == MAX_BODY_BYTES
    outputs = await system.processor().process(record(decision))
    assert kinds(outputs) == ["input.refused"]
    approved = ApprovalDecision(user_id="u", call_id=call_id, decision="approve")
    assert len(requests(await system.processor().process(record(approved)))) == 1


class _SmallStore:
    """A journal that takes less in one batch, as another store may."""

    def __init__(self, journal: Any, most: int) -> None:
        self._journal, self._most = journal, most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def commit(self, tenant_id: str, thread_id: str, commit: Any) -> Any:
        if len(commit.outputs) > self._most:
            raise TooLarge(f"the batch has {len(commit.outputs):,} bytes, and {self._most:,} are taken")
        return await self._journal.commit(tenant_id, thread_id, commit)


async def test_what_the_store_does_not_take_fails_its_run_visibly_and_the_thread_goes_on(system: System) -> None:
    system.stores.journal = _SmallStore(system.stores.journal, 20_000)
    message = say("x" * 30_000)
    outputs = await system.processor().process(message)
    assert kinds(outputs) == ["run.failed"]
    assert b"too large to be kept" in outputs[0].value
    assert list(await system.processor().process(message)) == list(outputs), "it is journaled like any other turn"
    assert kinds(await system.processor().process(say("hi")))[-1] == "run.completed"


async def test_a_message_with_as_much_metadata_as_it_may_have_starts_whether_it_had_to_wait_or_not(
    system: System,
) -> None:
    system.models["scripted:"] = _Model(call={"text": "x"})
    processor, metadata = system.processor(), {"kept": "m" * 880_000}
    (asked,) = requests(await processor.process(say("first", metadata=metadata)))
    queued = await processor.process(say("second", metadata=metadata))
    assert kinds(queued) == ["run.queued"]
    assert all_fit(queued)
    done = await processor.process(result_of(asked))
    begun = await processor.process(following(done))
    assert kinds(begun)[0] == "run.started"
    assert all_fit(begun)
    head = (await system.stores.journal.hydrate("acme", "t1", window=1)).head
    assert head
    assert head.run
    assert head.run.metadata == metadata


async def test_a_queued_input_whose_beginning_no_event_holds_fails_and_the_next_one_starts(system: System) -> None:
    """As an older version may have queued it, which told less of it."""
    system.models["scripted:"] = _Model(call={"text": "x"})
    processor, journal = system.processor(), system.stores.journal
    (asked,) = requests(await processor.process(say("first")))
    for text in ("second", "third"):
        await processor.process(say(text))
    done = await processor.process(result_of(asked))
    hydrate = journal.hydrate

    async def grown(*args: Any, **more: Any) -> Any:
        found = await hydrate(*args, **more)
        first, *rest = found.head.queued
        large = first.model_copy(update={"metadata": {"m": "x" * 1_100_000}})
        return replace(found, head=found.head.model_copy(update={"queued": (large, *rest)}))

    journal.hydrate = grown  # type: ignore[method-assign]
    failed = await system.processor().process(following(done))
    journal.hydrate = hydrate  # type: ignore[method-assign]
    assert kinds(failed) == ["run.failed"]
    assert b"too large to be kept" in failed[0].value
    assert "run.started" in kinds(await processor.process(following(failed)))


def following(outputs: Any) -> Record:
    """The record that the thread sends itself to start the next queued input."""
    (note,) = [output for output in outputs if output.topic is Topic.CHAT_MESSAGES]
    return decode(RawRecord(note.topic.value, 0, 0, 0, note.key.encode(), note.value, note.headers))


def unreadable(value: bytes, kind: Any, *, id: str = "m1", thread: str = "t1") -> Unreadable:
    good = record(kind, thread, id=id)
    with pytest.raises(Unreadable) as raised:
        decode(RawRecord(good.raw.topic, 0, 7, 0, good.raw.key, value, good.raw.headers))
    return raised.value


async def test_a_message_that_cannot_be_read_ends_its_run_visibly(system: System) -> None:
    body = say("x", run_id="r1").body
    large = body.model_copy(update={"metadata": {"v": "x" * MAX_BODY_BYTES}}).to_bytes()
    told = unreadable(large, body)
    outputs = await system.processor().give_up(told.record, str(told))
    assert kinds(outputs) == ["run.failed"]
    assert b'"run_id":"r1"' in outputs[0].value
    assert b"more than the 900,000 allowed" in outputs[0].value
    (run,) = await system.stores.journal.runs("acme", "t1")
    assert (run.run_id, run.outcome) == ("r1", "failed")
    assert kinds(await system.processor().process(say("hi")))[-1] == "run.completed", "the thread goes on"


async def test_unreadable_input_of_an_existing_thread_ends_visibly(system: System) -> None:
    await system.processor().process(say("hi"))
    told = unreadable(b"nonsense", say("x").body, id="m2")
    assert kinds(await system.processor().give_up(told.record, str(told))) == ["run.failed"]
    decision = ApprovalDecision(user_id="u", call_id="c", decision="approve")
    told = unreadable(b"{}", decision, id="m3")
    assert kinds(await system.processor().give_up(told.record, str(told))) == ["input.refused"]


@pytest.mark.parametrize("value", [b"nonsense", b"{}", b"[" * 100_000, b'{"user_id": "a b"}'])
async def test_where_nobody_can_be_told_nothing_is_made(system: System, value: bytes) -> None:
    told = unreadable(value, say("x").body, thread="nowhere")
    assert list(await system.processor().give_up(told.record, str(told))) == []
    assert (await system.stores.journal.hydrate("acme", "nowhere", window=0)).head is None
