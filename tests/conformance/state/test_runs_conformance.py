from __future__ import annotations

from datetime import UTC, datetime, timedelta

from listed_threads import threads_of
from state_samples import NOON, accepted, at, commit, event, head, message, run

from schemas import FinishedRun, PendingCall, ToolCall
from state import Committed, Hydrated, Stale, Stores


async def test_runs_of_a_commit_are_read_back_in_order_of_their_ends(stores: Stores, tenant: str) -> None:
    first, second = run("z", 2, metadata={"a": [1]}), run("a", 4, outcome="failed", code="model_error", message="oh")
    await stores.journal.commit(tenant, "th", commit("i1", 0, runs=[first]))
    await stores.journal.commit(tenant, "th", commit("i2", 1, runs=[second]))

    assert await stores.journal.runs(tenant, "th") == [first, second]
    assert await stores.journal.runs(tenant, "th", limit=1) == [second]
    assert await stores.journal.runs(tenant, "th", run_id="z") == [first]
    assert await stores.journal.runs(tenant, "th", run_id="y") == []
    assert await stores.journal.runs(tenant, "other") == []


async def test_runs_of_a_commit_that_lost_its_race_are_not_kept(stores: Stores, tenant: str) -> None:
    await stores.journal.commit(tenant, "th", commit("i1", 0))
    assert await stores.journal.commit(tenant, "th", commit("i2", 0, runs=[run("r")])) == Stale()
    assert await stores.journal.runs(tenant, "th") == []


async def test_accepted_run_is_read_back_before_its_thread_exists(stores: Stores, tenant: str) -> None:
    late, early = accepted("a", 5, details={"kwargs": {"x": None}}), accepted("b", 1, metadata={"k": "v"})
    await stores.journal.accept(tenant, "th", late)
    await stores.journal.accept(tenant, "th", early)
    await stores.journal.accept(tenant, "th", early)

    assert await stores.journal.accepted(tenant, "th", run_id="a") == late
    without = late.model_copy(update={"details": {}})
    assert await stores.journal.accepted(tenant, "th", run_id="a", details=False) == without
    assert await stores.journal.accepted(tenant, "th", run_id="c") is None
    found = await stores.journal.promises(tenant, "th", ["b", "a", "c"])
    assert sorted(found, key=lambda one: one.at) == [early, without]
    assert await stores.journal.hydrate(tenant, "th", window=1) == Hydrated(0, None, ())


async def test_erasing_takes_everything_but_the_head_and_what_the_commit_brings(stores: Stores, tenant: str) -> None:
    await stores.journal.commit(
        tenant, "th", commit("i1", 0, messages=[message(1)], events=[event(1), event(2)], runs=[run("r")])
    )
    gone = head(updated=9).model_copy(update={"deleted": True, "next_event": 4, "next_message": 2})

    erasing = commit("i2", 1, thread=gone, events=[event(3)], erase=True, remove_messages_from=1)
    assert await stores.journal.commit(tenant, "th", erasing) == Committed(2)

    assert await stores.journal.hydrate(tenant, "th", window=10) == Hydrated(2, gone, ())
    assert await stores.journal.messages(tenant, "th") == []
    assert await stores.journal.events(tenant, "th") == [event(3)]
    assert await stores.journal.runs(tenant, "th") == []
    assert await threads_of(stores.journal, tenant, "u1") == []


async def test_list_says_which_threads_wait_for_their_user_and_which_failed(stores: Stores, tenant: str) -> None:
    call = PendingCall(call=ToolCall(call_id="c", name="x"), state="approval")
    waiting = head(running=True).model_copy(update={"pending": (call,), "metadata": {"graph_id": "agent"}})
    await stores.journal.commit(tenant, "th", commit("i1", 0, thread=head(running=True)))
    await stores.journal.commit(tenant, "th", commit("i2", 1, thread=waiting))
    (line,) = await threads_of(stores.journal, tenant, "u1")
    assert (line.condition, line.metadata) == ("approval", {"graph_id": "agent"})

    failed = head(updated=3).model_copy(update={"last": FinishedRun(run_id="r1", outcome="failed")})
    await stores.journal.commit(tenant, "th", commit("i3", 2, thread=failed))
    (line,) = await threads_of(stores.journal, tenant, "u1")
    assert (line.condition, line.metadata, line.created_at, line.updated_at) == ("failed", {}, NOON, at(3))


async def test_run_that_a_later_commit_hides_is_the_same_run_and_stays_in_its_place(
    stores: Stores, tenant: str
) -> None:
    first, second = run("z", 2), run("a", 4)
    await stores.journal.commit(tenant, "th", commit("i1", 0, runs=[first]))
    await stores.journal.commit(tenant, "th", commit("i2", 1, runs=[second]))
    hidden = first.model_copy(update={"hidden": True})
    await stores.journal.commit(tenant, "th", commit("i3", 2, runs=[hidden]))
    assert await stores.journal.runs(tenant, "th") == [hidden, second]


async def test_run_that_is_to_begin_later_is_read_back_with_its_time(stores: Stores, tenant: str) -> None:
    for run_id, seconds in (("soon", 1), ("late", 300 * 86_400)):
        one = accepted(run_id, begins_at=at(seconds))
        await stores.journal.accept(tenant, "th", one)
        assert await stores.journal.accepted(tenant, "th", run_id=run_id) == one


async def test_accepted_runs_that_may_begin_last_come_first(stores: Stores, tenant: str) -> None:
    now = datetime.now(UTC)
    for run_id, hours in (("soon", 1), ("late", 500), ("now", 0)):
        await stores.journal.accept(tenant, "th", accepted(run_id, begins_at=now + timedelta(hours=hours)))
    assert await stores.journal.accepted_ids(tenant, "th") == ["late", "soon", "now"]
    assert await stores.journal.accepted_ids(tenant, "th", limit=2) == ["late", "soon"]


async def test_runs_come_in_pages_of_so_many_rows_and_bytes(stores: Stores, tenant: str) -> None:
    many = [run(f"r{n}", 2 * n, message="x" * 10_000) for n in range(1, 41)]
    for n in range(0, 40, 10):
        await stores.journal.commit(tenant, "th", commit(f"i{n}", n // 10, runs=many[n : n + 10]))

    async def paged(**bounds: int) -> list[list[str]]:
        found, before, more = [], None, True
        while more:
            page = await stores.journal.runs(tenant, "th", before=before, **bounds)
            found.append([one.run_id for one in page])
            before, more = page.next, page.next is not None
        return found

    newest_first = [one.run_id for one in reversed(many)]
    for bounds, most in (({"limit": 15}, 15), ({"max_bytes": 100_000}, 9), ({"max_bytes": 1}, 1)):
        pages = await paged(**bounds)
        assert max(len(page) for page in pages) == most
        assert [run_id for page in pages for run_id in reversed(page)] == newest_first
    assert await stores.journal.ended(tenant, "th", ["r1", "r40", "r41"]) == {"r1", "r40"}
    assert await stores.journal.ended(tenant, "th", [f"q{n}" for n in range(250)] + ["r7"]) == {"r7"}


async def test_page_that_follows_a_deletion_goes_on_where_the_page_before_ended(stores: Stores, tenant: str) -> None:
    many = [run(f"r{n}", 2 * n) for n in range(1, 7)]
    await stores.journal.commit(tenant, "th", commit("i1", 0, runs=many))
    page = await stores.journal.runs(tenant, "th", limit=2)
    assert [one.run_id for one in page] == ["r5", "r6"]
    await stores.journal.commit(tenant, "th", commit("i2", 1, erase=True))
    again = await stores.journal.runs(tenant, "th", before=page.next, limit=2)
    assert (list(again), again.next) == ([], None)
