from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from listed_threads import threads_of
from state_samples import at, commit, event, head, message, until_none
from stored_cells import marked

from schemas import ToolCall
from state import AlreadyDone, Committed, Hydrated, Stale, Stores

NUL = "\x00"
ODD_TEXTS = [
    """'single' "double" `back` -- ; DROP TABLE threads; /* */ $1 ? %s {0} :name""",
    "żółć 你好 שלום 👩‍👩‍👧‍👦 \u202e\ufeff\u2028",
    f"a{NUL}b",
    "\r\n\t\\ \\u0041 \x7f\x85",
    "",
]


async def test_thread_that_does_not_exist_has_version_zero_and_nothing_else(stores: Stores, tenant: str) -> None:
    assert await stores.journal.hydrate(tenant, "th", window=10, input_id="i1") == Hydrated(0, None, ())
    assert await stores.journal.outputs_of(tenant, "th", "i1") is None
    assert await stores.journal.messages(tenant, "th") == []
    assert await stores.journal.events(tenant, "th") == []


async def test_first_commit_creates_the_thread_and_everything_is_read_back(stores: Stores, tenant: str) -> None:
    call = ToolCall(call_id="c1", name="Gmail_SendEmail", arguments={"to": ["ana@example.org"], "cc": None, "n": 1.5})
    messages = (message(1), message(2, role="assistant", tool_calls=(call,)))
    first = commit("i1", 0, messages=messages, events=[event(1, '{"a":1}'), event(2)])

    assert await stores.journal.commit(tenant, "th", first) == Committed(1)

    expected = Hydrated(1, first.head, messages, b"outputs of i1")
    assert await stores.journal.hydrate(tenant, "th", window=10, input_id="i1") == expected
    assert await stores.journal.hydrate(tenant, "th", window=10, input_id="i2") == replace(expected, outputs=None)
    assert await stores.journal.hydrate(tenant, "th", window=10) == replace(expected, outputs=None)
    assert await stores.journal.outputs_of(tenant, "th", "i1") == b"outputs of i1"
    assert await stores.journal.outputs_of(tenant, "th", "i2") is None
    assert await stores.journal.messages(tenant, "th") == list(messages)
    assert await stores.journal.events(tenant, "th") == [event(1, '{"a":1}'), event(2)]


async def test_later_commit_replaces_the_head_and_appends_the_rows(stores: Stores, tenant: str) -> None:
    await stores.journal.commit(tenant, "th", commit("i1", 0, messages=[message(1)], events=[event(1)]))
    second = commit("i2", 1, messages=[message(2)], events=[event(2)], thread=head(updated=5, title="Mails"))

    assert await stores.journal.commit(tenant, "th", second) == Committed(2)

    thread = await stores.journal.hydrate(tenant, "th", window=10)
    assert thread == Hydrated(2, second.head, (message(1), message(2)))
    assert await stores.journal.events(tenant, "th") == [event(1), event(2)]


@pytest.mark.parametrize("expected_version", [0, 1, 3])
async def test_lost_race_is_stale_and_writes_nothing(stores: Stores, tenant: str, expected_version: int) -> None:
    await stores.journal.commit(tenant, "th", commit("i1", 0, messages=[message(1)]))
    await stores.journal.commit(tenant, "th", commit("i2", 1, messages=[message(2)]))
    before = await stores.journal.hydrate(tenant, "th", window=10)
    listed = await threads_of(stores.journal, tenant, "u1")
    late = commit(
        "i3",
        expected_version,
        messages=[message(1, "overwritten"), message(3)],
        events=[event(1)],
        thread=head(updated=99, title="wrong"),
        remove_messages_from=1,
    )

    assert await stores.journal.commit(tenant, "th", late) == Stale()

    assert await stores.journal.hydrate(tenant, "th", window=10) == before
    assert await stores.journal.events(tenant, "th") == []
    assert await stores.journal.outputs_of(tenant, "th", "i3") is None
    assert await threads_of(stores.journal, tenant, "u1") == listed


@pytest.mark.parametrize("expected_version", [1, 2])
async def test_commit_to_a_thread_that_does_not_exist_is_stale(
    stores: Stores, tenant: str, expected_version: int
) -> None:
    assert await stores.journal.commit(tenant, "th", commit("i1", expected_version, messages=[message(1)])) == Stale()
    assert await stores.journal.hydrate(tenant, "th", window=10, input_id="i1") == Hydrated(0, None, ())
    assert await threads_of(stores.journal, tenant, "u1") == []


async def test_thread_that_another_user_made_first_is_not_listed_for_the_loser(stores: Stores, tenant: str) -> None:
    await stores.journal.commit(tenant, "th", commit("i1", 0, thread=head(user_id="u1", title="hers")))
    late = commit("i2", 0, thread=head(user_id="u2", title="his"))
    assert await stores.journal.commit(tenant, "th", late) == Stale()
    assert await threads_of(stores.journal, tenant, "u2") == []
    assert [t.title for t in await threads_of(stores.journal, tenant, "u1")] == ["hers"]


@pytest.mark.parametrize("expected_version", [0, 1, 2, 7], ids=lambda v: f"version_{v}")
async def test_replay_of_an_input_returns_its_stored_outputs_under_any_version(
    stores: Stores, tenant: str, expected_version: int
) -> None:
    outputs = bytes(range(256))
    await stores.journal.commit(tenant, "th", commit("i1", 0, outputs=outputs, messages=[message(1)]))
    await stores.journal.commit(tenant, "th", commit("i2", 1, messages=[message(2)]))
    before = await stores.journal.hydrate(tenant, "th", window=10)
    replay = commit("i1", expected_version, outputs=b"other bytes", messages=[message(3)], events=[event(9)])

    assert await stores.journal.commit(tenant, "th", replay) == AlreadyDone(outputs)

    assert await stores.journal.hydrate(tenant, "th", window=10) == before
    assert await stores.journal.events(tenant, "th") == []
    assert await stores.journal.outputs_of(tenant, "th", "i1") == outputs


async def test_empty_outputs_are_outputs(stores: Stores, tenant: str) -> None:
    await stores.journal.commit(tenant, "th", commit("i1", 0, outputs=b""))
    assert (await stores.journal.hydrate(tenant, "th", window=1, input_id="i1")).outputs == b""
    assert await stores.journal.outputs_of(tenant, "th", "i1") == b""
    assert await stores.journal.commit(tenant, "th", commit("i1", 1)) == AlreadyDone(b"")


async def test_of_fifty_concurrent_commits_of_one_version_exactly_one_is_committed(stores: Stores, tenant: str) -> None:
    await stores.journal.commit(tenant, "th", commit("first", 0, messages=[message(1)]))
    rivals = [commit(f"i{n}", 1, messages=[message(2, f"of {n}")], events=[event(1, str(n))]) for n in range(50)]

    results = await asyncio.gather(*(stores.journal.commit(tenant, "th", rival) for rival in rivals))

    winners = [n for n, outcome in enumerate(results) if outcome == Committed(2)]
    assert len(winners) == 1
    assert all(outcome == Stale() for n, outcome in enumerate(results) if n not in winners)
    assert (await stores.journal.hydrate(tenant, "th", window=9)).messages == (
        message(1),
        message(2, f"of {winners[0]}"),
    )
    assert await stores.journal.events(tenant, "th") == [event(1, str(winners[0]))]


async def test_of_concurrent_commits_of_one_input_one_is_committed_and_all_have_its_outputs(
    stores: Stores, tenant: str
) -> None:
    rivals = [commit("i1", 0, outputs=f"by {n}".encode()) for n in range(20)]

    results = await asyncio.gather(*(stores.journal.commit(tenant, "th", rival) for rival in rivals))

    (winner,) = [n for n, outcome in enumerate(results) if outcome == Committed(1)]
    assert all(outcome == AlreadyDone(f"by {winner}".encode()) for n, outcome in enumerate(results) if n != winner)


async def test_threads_do_not_hold_each_other_up_or_mix(stores: Stores, tenant: str) -> None:
    threads = [f"th{n}" for n in range(40)]
    results = await asyncio.gather(
        *(stores.journal.commit(tenant, t, commit("i1", 0, messages=[message(1, t)])) for t in threads)
    )
    assert results == [Committed(1)] * 40
    read = await asyncio.gather(*(stores.journal.hydrate(tenant, t, window=5, input_id="i1") for t in threads))
    assert [thread.messages for thread in read] == [(message(1, t),) for t in threads]


async def test_window_holds_the_newest_messages_oldest_first(stores: Stores, tenant: str) -> None:
    await stores.journal.commit(tenant, "th", commit("i1", 0, messages=[message(n) for n in range(1, 31)]))
    for window, seqs in ((1, [30]), (7, list(range(24, 31))), (30, list(range(1, 31))), (99, list(range(1, 31)))):
        thread = await stores.journal.hydrate(tenant, "th", window=window)
        assert [m.seq for m in thread.messages] == seqs
        assert thread.version == 1
    nothing = await stores.journal.hydrate(tenant, "th", window=0)
    assert (nothing.version, nothing.messages, nothing.head is None) == (1, (), False)


async def test_messages_are_paged_backwards_without_gap_or_overlap(stores: Stores, tenant: str) -> None:
    await stores.journal.commit(
        tenant, "th", commit("i1", 0, messages=[message(n) for n in (*range(1, 9), 300, 70000)])
    )
    pages, before = [], None
    while page := await stores.journal.messages(tenant, "th", before=before, limit=4):
        pages.append([m.seq for m in page])
        before = page[0].seq
    assert pages == [[7, 8, 300, 70000], [3, 4, 5, 6], [1, 2]]
    assert await stores.journal.messages(tenant, "th", limit=0) == []
    assert await stores.journal.messages(tenant, "th", before=1) == []


async def test_events_since_a_number_come_in_order_and_in_pages(stores: Stores, tenant: str) -> None:
    await stores.journal.commit(tenant, "th", commit("i1", 0, events=[event(n) for n in range(1, 13)]))
    assert [e.seq for e in await stores.journal.events(tenant, "th", limit=5)] == [1, 2, 3, 4, 5]
    assert [e.seq for e in await stores.journal.events(tenant, "th", since=5, limit=5)] == [6, 7, 8, 9, 10]
    assert [e.seq for e in await stores.journal.events(tenant, "th", since=10)] == [11, 12]
    assert await stores.journal.events(tenant, "th", since=12) == []
    assert await stores.journal.events(tenant, "th", limit=0) == []


async def test_rollback_removes_messages_before_it_adds_its_own(stores: Stores, tenant: str) -> None:
    await stores.journal.commit(tenant, "th", commit("i1", 0, messages=[message(n) for n in range(1, 7)]))
    again = commit("i2", 1, messages=[message(7, "instead"), message(8)], remove_messages_from=3)

    assert await stores.journal.commit(tenant, "th", again) == Committed(2)

    kept = [message(1), message(2), message(7, "instead"), message(8)]
    assert await stores.journal.messages(tenant, "th") == kept
    assert (await stores.journal.hydrate(tenant, "th", window=9)).messages == tuple(kept)


async def test_rollback_may_use_the_removed_numbers_again(stores: Stores, tenant: str) -> None:
    await stores.journal.commit(tenant, "th", commit("i1", 0, messages=[message(n) for n in range(1, 9)]))
    again = commit("i2", 1, messages=[message(3, "new"), message(5, "new")], remove_messages_from=3)
    await stores.journal.commit(tenant, "th", again)
    assert await stores.journal.messages(tenant, "th") == [message(1), message(2), message(3, "new"), message(5, "new")]


async def test_rollback_of_everything_leaves_an_empty_thread_with_its_head(stores: Stores, tenant: str) -> None:
    await stores.journal.commit(tenant, "th", commit("i1", 0, messages=[message(1), message(2)], events=[event(1)]))
    await stores.journal.commit(tenant, "th", commit("i2", 1, thread=head(title="kept"), remove_messages_from=1))
    assert await stores.journal.hydrate(tenant, "th", window=9) == Hydrated(2, head(title="kept"), ())
    assert await stores.journal.events(tenant, "th") == [event(1)]
    assert await stores.journal.outputs_of(tenant, "th", "i1") == b"outputs of i1"


async def test_processed_input_is_forgotten_after_its_time_and_the_thread_is_not(state_url: str, tenant: str) -> None:
    stores = marked(state_url, input_ttl=2)
    await stores.open()
    first = commit("i1", 0, messages=[message(1)], events=[event(1)])
    await stores.journal.commit(tenant, "th", first)
    assert await stores.journal.commit(tenant, "th", first) == AlreadyDone(b"outputs of i1")

    await until_none(lambda: stores.journal.outputs_of(tenant, "th", "i1"))

    assert await stores.journal.hydrate(tenant, "th", window=9, input_id="i1") == Hydrated(1, first.head, (message(1),))
    assert await stores.journal.events(tenant, "th") == [event(1)]
    assert await stores.journal.commit(tenant, "th", commit("i1", 0)) == Stale()
    assert await stores.journal.commit(tenant, "th", commit("i1", 1, outputs=b"new")) == Committed(2)
    assert await stores.journal.commit(tenant, "th", commit("i1", 2)) == AlreadyDone(b"new")
    await stores.close()


async def test_threads_of_a_user_come_last_changed_first(stores: Stores, tenant: str) -> None:
    for n in range(5):
        thread = head(user_id="ana", updated=10 * n, title=f"thread {n}")
        await stores.journal.commit(tenant, f"th{n}", commit("i1", 0, thread=thread))
    await stores.journal.commit(tenant, "th9", commit("i1", 0, thread=head(user_id="ben", updated=1)))
    await stores.journal.commit(
        tenant, "th1", commit("i2", 1, thread=head(user_id="ana", updated=99, title="thread 1"))
    )

    threads = await threads_of(stores.journal, tenant, "ana")

    assert [t.thread_id for t in threads] == ["th1", "th4", "th3", "th2", "th0"]
    assert threads[0].model_dump() == {
        "thread_id": "th1",
        "user_id": "ana",
        "title": "thread 1",
        "created_at": at(0),
        "updated_at": at(99),
        "condition": "idle",
        "metadata": {},
        "agent_id": "",
    }
    assert [t.thread_id for t in await threads_of(stores.journal, tenant, "ana", limit=2)] == ["th1", "th4"]
    assert [t.thread_id for t in await threads_of(stores.journal, tenant, "ben")] == ["th9"]
    assert await threads_of(stores.journal, tenant, "eve") == []


async def test_new_title_is_listed_while_the_run_still_goes_on(stores: Stores, tenant: str) -> None:
    await stores.journal.commit(tenant, "th", commit("i1", 0, thread=head(running=True)))
    await stores.journal.commit(tenant, "th", commit("i2", 1, thread=head(running=True, title="Mails of May")))
    assert [t.title for t in await threads_of(stores.journal, tenant, "u1")] == ["Mails of May"]


@pytest.mark.parametrize("text", ODD_TEXTS, ids=["quotes", "scripts", "nul", "controls", "empty"])
async def test_odd_text_is_kept_to_the_letter(stores: Stores, tenant: str, text: str) -> None:
    odd = commit(
        "i1",
        0,
        outputs=text.encode(),
        messages=[message(1, text, tool_name=text)],
        events=[event(1, text)],
        thread=head(title=text),
    )
    await stores.journal.commit(tenant, "th", odd)
    thread = await stores.journal.hydrate(tenant, "th", window=9, input_id="i1")
    assert thread == Hydrated(1, odd.head, odd.messages, text.encode())
    assert await stores.journal.events(tenant, "th") == [event(1, text)]
    assert [t.title for t in await threads_of(stores.journal, tenant, "u1")] == [text]


async def test_messages_of_200_kb_and_outputs_of_900_kb_are_kept(stores: Stores, tenant: str) -> None:
    large = [message(n, "€" * 66_000 + str(n)) for n in range(1, 6)]
    outputs = b"x" * 900_000
    await stores.journal.commit(tenant, "th", commit("i1", 0, outputs=outputs, messages=large))
    thread = await stores.journal.hydrate(tenant, "th", window=9, input_id="i1")
    assert thread.messages == tuple(large)
    assert thread.outputs == outputs


async def test_caller_that_is_cancelled_leaves_the_store_usable(stores: Stores, tenant: str) -> None:
    async def turn(n: int) -> None:
        await stores.journal.commit(tenant, f"th{n}", commit("i1", 0, messages=[message(1)]))
        await stores.journal.hydrate(tenant, f"th{n}", window=5, input_id="i1")

    tasks = [asyncio.create_task(turn(n)) for n in range(60)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::2])
    assert outcomes[1::2] == [None] * 30
    assert await stores.journal.commit(tenant, "after", commit("i1", 0)) == Committed(1)


async def test_conversation_that_went_back_is_read_as_its_branch(stores: Stores, tenant: str) -> None:
    written = [message(n) for n in range(1, 31)]
    await stores.journal.commit(tenant, "th", commit("i1", 0, messages=written[:8]))
    # 9 to 20 follow 3, 21 to 30 follow 15.
    forks = ((9, 3), (21, 15))
    on_it = head().model_copy(update={"forks": forks, "next_message": 31})
    await stores.journal.commit(tenant, "th", commit("i2", 1, messages=written[8:], thread=on_it))
    conversation = [message(n) for n in (1, 2, 3, *range(9, 16), *range(21, 31))]

    for window in (0, 1, 9, 10, 11, 12, 17, 18, 19, 20, 21, 100):
        thread = await stores.journal.hydrate(tenant, "th", window=window)
        assert (thread.head, list(thread.messages)) == (
            on_it,
            conversation[len(conversation) - window :] if window < 20 else conversation,
        )
        spans = on_it.branch
        found = await stores.journal.messages(tenant, "th", limit=window, spans=spans)
        assert found == list(thread.messages)
        for before in (31, 25, 21, 18, 9, 3, 1):
            older = [m for m in conversation if m.seq < before]
            found = await stores.journal.messages(tenant, "th", before=before, limit=window, spans=spans)
            assert found == (older[max(0, len(older) - window) :] if window else [])
    assert await stores.journal.messages(tenant, "th", limit=100) == written
    assert await stores.journal.messages(tenant, "th", limit=100, spans=()) == []

    empty = on_it.model_copy(update={"forks": (*forks, (31, 0))})
    await stores.journal.commit(tenant, "th", commit("i3", 2, thread=empty))
    assert (await stores.journal.hydrate(tenant, "th", window=100)).messages == ()
